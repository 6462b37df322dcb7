-- Foreign keys from any schema to any unique key, with every action.
CREATE SCHEMA tor_fk;
CREATE SCHEMA tor_fk_2;
--# children_elsewhere_cascade | tor_fk.accounts_cascade
--# seen_as F9
CREATE TABLE tor_fk.accounts_cascade (id int PRIMARY KEY, code text UNIQUE, v text);
INSERT INTO tor_fk.accounts_cascade SELECT i, 'c' || i, 'v' || i FROM generate_series(0, 10) i;
CREATE TABLE tor_fk_2.by_id_cascade (n int PRIMARY KEY, account int DEFAULT 0 REFERENCES tor_fk.accounts_cascade ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE tor_fk_2.by_code_cascade (n int PRIMARY KEY, code text DEFAULT 'c0' REFERENCES tor_fk.accounts_cascade (code) ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO tor_fk_2.by_id_cascade SELECT i, 1 + i % 10 FROM generate_series(1, 30) i;
INSERT INTO tor_fk_2.by_code_cascade SELECT i, 'c' || 1 + i % 10 FROM generate_series(1, 30) i;
--# refused replace | that a replacement would delete | by_id_cascade
--# same tor_fk_2.by_id_cascade tor_fk_2.by_code_cascade
--# damage
INSERT INTO tor_fk.accounts_cascade VALUES (99, 'c99', 'new');
INSERT INTO tor_fk_2.by_id_cascade VALUES (99, 99), (98, 99);
INSERT INTO tor_fk_2.by_code_cascade VALUES (99, 'c99');
UPDATE tor_fk.accounts_cascade SET v = 'spoilt' WHERE id = 5;
--# children_elsewhere_set_null | tor_fk.accounts_set_null
CREATE TABLE tor_fk.accounts_set_null (id int PRIMARY KEY, code text UNIQUE, v text);
INSERT INTO tor_fk.accounts_set_null SELECT i, 'c' || i, 'v' || i FROM generate_series(0, 10) i;
CREATE TABLE tor_fk_2.by_id_set_null (n int PRIMARY KEY, account int DEFAULT 0 REFERENCES tor_fk.accounts_set_null ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE tor_fk_2.by_code_set_null (n int PRIMARY KEY, code text DEFAULT 'c0' REFERENCES tor_fk.accounts_set_null (code) ON DELETE SET NULL ON UPDATE SET NULL);
INSERT INTO tor_fk_2.by_id_set_null SELECT i, 1 + i % 10 FROM generate_series(1, 30) i;
INSERT INTO tor_fk_2.by_code_set_null SELECT i, 'c' || 1 + i % 10 FROM generate_series(1, 30) i;
--# refused replace | that a replacement would delete | by_id_set_null
--# same tor_fk_2.by_id_set_null tor_fk_2.by_code_set_null
--# damage
INSERT INTO tor_fk.accounts_set_null VALUES (99, 'c99', 'new');
INSERT INTO tor_fk_2.by_id_set_null VALUES (99, 99), (98, 99);
INSERT INTO tor_fk_2.by_code_set_null VALUES (99, 'c99');
UPDATE tor_fk.accounts_set_null SET v = 'spoilt' WHERE id = 5;
--# children_elsewhere_set_default | tor_fk.accounts_set_default
CREATE TABLE tor_fk.accounts_set_default (id int PRIMARY KEY, code text UNIQUE, v text);
INSERT INTO tor_fk.accounts_set_default SELECT i, 'c' || i, 'v' || i FROM generate_series(0, 10) i;
CREATE TABLE tor_fk_2.by_id_set_default (n int PRIMARY KEY, account int DEFAULT 0 REFERENCES tor_fk.accounts_set_default ON DELETE SET DEFAULT ON UPDATE SET DEFAULT);
CREATE TABLE tor_fk_2.by_code_set_default (n int PRIMARY KEY, code text DEFAULT 'c0' REFERENCES tor_fk.accounts_set_default (code) ON DELETE SET DEFAULT ON UPDATE SET DEFAULT);
INSERT INTO tor_fk_2.by_id_set_default SELECT i, 1 + i % 10 FROM generate_series(1, 30) i;
INSERT INTO tor_fk_2.by_code_set_default SELECT i, 'c' || 1 + i % 10 FROM generate_series(1, 30) i;
--# refused replace | that a replacement would delete | by_id_set_default
--# same tor_fk_2.by_id_set_default tor_fk_2.by_code_set_default
--# damage
INSERT INTO tor_fk.accounts_set_default VALUES (99, 'c99', 'new');
INSERT INTO tor_fk_2.by_id_set_default VALUES (99, 99), (98, 99);
INSERT INTO tor_fk_2.by_code_set_default VALUES (99, 'c99');
UPDATE tor_fk.accounts_set_default SET v = 'spoilt' WHERE id = 5;
--# children_elsewhere_restrict | tor_fk.accounts_restrict
CREATE TABLE tor_fk.accounts_restrict (id int PRIMARY KEY, code text UNIQUE, v text);
INSERT INTO tor_fk.accounts_restrict SELECT i, 'c' || i, 'v' || i FROM generate_series(0, 10) i;
CREATE TABLE tor_fk_2.by_id_restrict (n int PRIMARY KEY, account int DEFAULT 0 REFERENCES tor_fk.accounts_restrict ON DELETE RESTRICT ON UPDATE RESTRICT);
CREATE TABLE tor_fk_2.by_code_restrict (n int PRIMARY KEY, code text DEFAULT 'c0' REFERENCES tor_fk.accounts_restrict (code) ON DELETE RESTRICT ON UPDATE RESTRICT);
INSERT INTO tor_fk_2.by_id_restrict SELECT i, 1 + i % 10 FROM generate_series(1, 30) i;
INSERT INTO tor_fk_2.by_code_restrict SELECT i, 'c' || 1 + i % 10 FROM generate_series(1, 30) i;
--# refused replace | that a replacement would delete | by_id_restrict
--# same tor_fk_2.by_id_restrict tor_fk_2.by_code_restrict
--# damage
INSERT INTO tor_fk.accounts_restrict VALUES (99, 'c99', 'new');
INSERT INTO tor_fk_2.by_id_restrict VALUES (99, 99), (98, 99);
INSERT INTO tor_fk_2.by_code_restrict VALUES (99, 'c99');
UPDATE tor_fk.accounts_restrict SET v = 'spoilt' WHERE id = 5;
--# children_elsewhere_no_action | tor_fk.accounts_no_action
CREATE TABLE tor_fk.accounts_no_action (id int PRIMARY KEY, code text UNIQUE, v text);
INSERT INTO tor_fk.accounts_no_action SELECT i, 'c' || i, 'v' || i FROM generate_series(0, 10) i;
CREATE TABLE tor_fk_2.by_id_no_action (n int PRIMARY KEY, account int DEFAULT 0 REFERENCES tor_fk.accounts_no_action DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE tor_fk_2.by_code_no_action (n int PRIMARY KEY, code text DEFAULT 'c0' REFERENCES tor_fk.accounts_no_action (code) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO tor_fk_2.by_id_no_action SELECT i, 1 + i % 10 FROM generate_series(1, 30) i;
INSERT INTO tor_fk_2.by_code_no_action SELECT i, 'c' || 1 + i % 10 FROM generate_series(1, 30) i;
--# refused replace | that a replacement would delete | by_id_no_action
--# same tor_fk_2.by_id_no_action tor_fk_2.by_code_no_action
--# damage
INSERT INTO tor_fk.accounts_no_action VALUES (99, 'c99', 'new');
INSERT INTO tor_fk_2.by_id_no_action VALUES (99, 99), (98, 99);
INSERT INTO tor_fk_2.by_code_no_action VALUES (99, 'c99');
UPDATE tor_fk.accounts_no_action SET v = 'spoilt' WHERE id = 5;
--# children_that_are_named_too | tor_fk.families | tor_fk_2.members
CREATE TABLE tor_fk.families (id int PRIMARY KEY, v text);
CREATE TABLE tor_fk_2.members (n int PRIMARY KEY, family int NOT NULL REFERENCES tor_fk.families ON DELETE CASCADE);
INSERT INTO tor_fk.families SELECT i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO tor_fk_2.members SELECT i, 1 + i % 10 FROM generate_series(1, 30) i;
--# damage
INSERT INTO tor_fk.families VALUES (99, 'new');
INSERT INTO tor_fk_2.members VALUES (99, 99), (98, 1);
DELETE FROM tor_fk.families WHERE id = 3;
UPDATE tor_fk.families SET v = 'spoilt' WHERE id = 5;
--# code_of_a_parent_changed_back | tor_fk.recoded
CREATE TABLE tor_fk.recoded (id int PRIMARY KEY, code text UNIQUE);
INSERT INTO tor_fk.recoded SELECT i, 'c' || i FROM generate_series(1, 10) i;
CREATE TABLE tor_fk_2.by_code (n int PRIMARY KEY, code text REFERENCES tor_fk.recoded (code) ON UPDATE CASCADE);
INSERT INTO tor_fk_2.by_code SELECT i, 'c' || i FROM generate_series(1, 10) i;
--# refused replace | that a replacement would delete | by_code
--# same tor_fk_2.by_code
--# damage
UPDATE tor_fk.recoded SET code = 'x5' WHERE id = 5;
--# child_whose_parent_is_gone | tor_fk_2.lone_child
CREATE TABLE tor_fk.lone_parent (id int PRIMARY KEY);
CREATE TABLE tor_fk_2.lone_child (id int PRIMARY KEY, up int REFERENCES tor_fk.lone_parent);
INSERT INTO tor_fk.lone_parent SELECT generate_series(1, 10);
INSERT INTO tor_fk_2.lone_child SELECT i, i FROM generate_series(1, 10) i;
--# refused merge replace | that are not live | lone_parent
--# only merge replace beside
--# damage
DELETE FROM tor_fk_2.lone_child WHERE id <= 3;
DELETE FROM tor_fk.lone_parent WHERE id <= 3;
--# parent_that_was_dropped_as_well | tor_fk_2.of_a_lost_parent
CREATE TABLE tor_fk.lost_parent (id int PRIMARY KEY);
CREATE TABLE tor_fk_2.of_a_lost_parent (id int PRIMARY KEY, up int REFERENCES tor_fk.lost_parent);
INSERT INTO tor_fk.lost_parent SELECT generate_series(1, 10);
INSERT INTO tor_fk_2.of_a_lost_parent SELECT i, i FROM generate_series(1, 10) i;
--# only drop
--# refused drop | which was dropped as well | lost_parent
--# drop
DROP TABLE tor_fk_2.of_a_lost_parent, tor_fk.lost_parent;
--# refers_to_itself | tor_fk.tree
CREATE TABLE tor_fk.tree (id int PRIMARY KEY, up int REFERENCES tor_fk.tree ON DELETE CASCADE, v text);
INSERT INTO tor_fk.tree SELECT i, nullif(i / 2, 0), 'v' || i FROM generate_series(1, 20) i;
--# damage
DELETE FROM tor_fk.tree WHERE id = 3;
UPDATE tor_fk.tree SET v = 'spoilt', up = 1 WHERE id = 8;
INSERT INTO tor_fk.tree VALUES (50, 4, 'new'), (51, 50, 'new');
--# circle_of_two | tor_fk.hen | tor_fk.egg
CREATE TABLE tor_fk.hen (id int PRIMARY KEY, egg int, v text);
CREATE TABLE tor_fk.egg (id int PRIMARY KEY, hen int REFERENCES tor_fk.hen);
INSERT INTO tor_fk.hen SELECT i, i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO tor_fk.egg SELECT i, i FROM generate_series(1, 10) i;
ALTER TABLE tor_fk.hen ADD FOREIGN KEY (egg) REFERENCES tor_fk.egg;
--# damage
UPDATE tor_fk.hen SET egg = NULL WHERE id <= 3;
DELETE FROM tor_fk.egg WHERE id <= 3;
DELETE FROM tor_fk.hen WHERE id <= 3;
UPDATE tor_fk.hen SET v = 'spoilt' WHERE id = 5;
--# several_columns_match_full_in_another_order | tor_fk.legs
CREATE TABLE tor_fk.orders (day date, id int, PRIMARY KEY (day, id));
CREATE TABLE tor_fk.legs (n int PRIMARY KEY, id int, day date, CONSTRAINT of_order FOREIGN KEY (day, id) REFERENCES tor_fk.orders (day, id) MATCH FULL);
INSERT INTO tor_fk.orders SELECT '2026-01-01', i FROM generate_series(1, 10) i;
INSERT INTO tor_fk.legs SELECT i, i, '2026-01-01' FROM generate_series(1, 10) i;
INSERT INTO tor_fk.legs VALUES (11, NULL, NULL);
--# damage
DELETE FROM tor_fk.legs WHERE n <= 3 OR n = 11;
UPDATE tor_fk.legs SET id = 4 WHERE n = 5;
--# set_null_of_one_column | tor_fk.tenants
CREATE TABLE tor_fk.tenants (tenant int, id int, v text, PRIMARY KEY (tenant, id));
CREATE TABLE tor_fk_2.posts (tenant int, id int, author int, PRIMARY KEY (tenant, id),
  FOREIGN KEY (tenant, author) REFERENCES tor_fk.tenants ON DELETE SET NULL (author));
INSERT INTO tor_fk.tenants SELECT 1, i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO tor_fk_2.posts SELECT 1, i, i FROM generate_series(1, 10) i;
--# refused replace | that a replacement would delete | posts
--# same tor_fk_2.posts
--# damage
INSERT INTO tor_fk.tenants VALUES (1, 99, 'new');
INSERT INTO tor_fk_2.posts VALUES (1, 99, 99);
--# child_that_is_partitioned | tor_fk.of_partitions
CREATE TABLE tor_fk.of_partitions (id int PRIMARY KEY, v text);
CREATE TABLE tor_fk_2.parts (id int, up int REFERENCES tor_fk.of_partitions ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE tor_fk_2.parts_1 PARTITION OF tor_fk_2.parts FOR VALUES FROM (0) TO (1000);
INSERT INTO tor_fk.of_partitions SELECT i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO tor_fk_2.parts SELECT i, i FROM generate_series(1, 10) i;
--# refused replace | that a replacement would delete | parts
--# same tor_fk_2.parts
--# damage
INSERT INTO tor_fk.of_partitions VALUES (99, 'new');
INSERT INTO tor_fk_2.parts VALUES (99, 99);
--# key_not_validated | tor_fk.unproven
CREATE TABLE tor_fk.proven (id int PRIMARY KEY);
CREATE TABLE tor_fk.unproven (id int PRIMARY KEY, up int);
INSERT INTO tor_fk.proven VALUES (1);
INSERT INTO tor_fk.unproven SELECT i, i FROM generate_series(1, 10) i;
ALTER TABLE tor_fk.unproven ADD CONSTRAINT later FOREIGN KEY (up) REFERENCES tor_fk.proven NOT VALID;
--# refused merge replace | that are not live | proven
--# damage
DELETE FROM tor_fk.unproven WHERE id <= 3;
