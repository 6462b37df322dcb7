-- Constraints beside the key, what collides on them, and values that change places.
CREATE SCHEMA tor_constraints;
--# unique_value_taken_by_a_new_row | tor_constraints.ranks
--# seen_as F11
CREATE TABLE tor_constraints.ranks (id int PRIMARY KEY, pos int UNIQUE, sym text UNIQUE);
INSERT INTO tor_constraints.ranks SELECT i, i, 's' || i FROM generate_series(1, 10) i;
--# refused merge | have the values of another row | ranks_sym_key
--# damage
DELETE FROM tor_constraints.ranks WHERE id = 3;
INSERT INTO tor_constraints.ranks VALUES (30, 30, 's3');
--# unique_values_permuted | tor_constraints.permuted
CREATE TABLE tor_constraints.permuted (id int PRIMARY KEY, pos int UNIQUE, v text);
INSERT INTO tor_constraints.permuted SELECT i, i, 'v' || i FROM generate_series(1, 10) i;
--# damage
UPDATE tor_constraints.permuted SET pos = -pos;
UPDATE tor_constraints.permuted SET pos = 11 - id;
--# unique_values_shifted_and_a_row_gone | tor_constraints.shifted
CREATE TABLE tor_constraints.shifted (id int PRIMARY KEY, pos int UNIQUE NOT NULL, v text);
INSERT INTO tor_constraints.shifted SELECT i, i, 'v' || i FROM generate_series(1, 10) i;
--# refused merge | have the values of another row | shifted_pos_key
--# damage
DELETE FROM tor_constraints.shifted WHERE id = 1;
UPDATE tor_constraints.shifted SET pos = -pos;
UPDATE tor_constraints.shifted SET pos = -pos - 1;
--# deferrable_unique_permuted | tor_constraints.deferred
CREATE TABLE tor_constraints.deferred (id int PRIMARY KEY, pos int UNIQUE DEFERRABLE INITIALLY IMMEDIATE, v text);
INSERT INTO tor_constraints.deferred SELECT i, i, 'v' || i FROM generate_series(1, 10) i;
--# damage
UPDATE tor_constraints.deferred SET pos = 11 - pos;
--# unique_of_several_with_included | tor_constraints.several
CREATE TABLE tor_constraints.several (id int PRIMARY KEY, a int, b text, c int, UNIQUE (a, b) INCLUDE (c));
INSERT INTO tor_constraints.several SELECT i, i % 3, 'b' || i, i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_constraints.several WHERE id <= 3;
UPDATE tor_constraints.several SET c = -1 WHERE id = 5;
--# nulls_not_distinct | tor_constraints.nulls
CREATE TABLE tor_constraints.nulls (id int PRIMARY KEY, a int, UNIQUE NULLS NOT DISTINCT (a));
INSERT INTO tor_constraints.nulls VALUES (1, NULL), (2, 2), (3, 3);
--# refused merge | have the values of another row | nulls_a_key
--# damage
DELETE FROM tor_constraints.nulls WHERE id = 1;
INSERT INTO tor_constraints.nulls VALUES (9, NULL);
--# partial_unique_index | tor_constraints.partial_unique
CREATE TABLE tor_constraints.partial_unique (id int PRIMARY KEY, a int, open boolean);
CREATE UNIQUE INDEX one_open ON tor_constraints.partial_unique (a) WHERE open;
INSERT INTO tor_constraints.partial_unique SELECT i, i / 2, i % 2 = 0 FROM generate_series(1, 10) i;
--# refused merge | have the values of another row | one_open
--# damage
DELETE FROM tor_constraints.partial_unique WHERE id = 4;
INSERT INTO tor_constraints.partial_unique VALUES (40, 2, true);
--# expression_unique_index | tor_constraints.expression_unique
CREATE TABLE tor_constraints.expression_unique (id int PRIMARY KEY, code text);
CREATE UNIQUE INDEX any_case ON tor_constraints.expression_unique (lower(code));
INSERT INTO tor_constraints.expression_unique SELECT i, 'C' || i FROM generate_series(1, 10) i;
--# refused merge | have the values of another row | any_case
--# damage
DELETE FROM tor_constraints.expression_unique WHERE id = 4;
INSERT INTO tor_constraints.expression_unique VALUES (40, 'c4');
--# exclusion_of_overlaps | tor_constraints.bookings
CREATE TABLE tor_constraints.bookings (id int PRIMARY KEY, room int, during int4range,
  CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO tor_constraints.bookings SELECT i, 1, int4range(i * 10, i * 10 + 10) FROM generate_series(1, 10) i;
--# refused merge | have the values of another row | no_overlap
--# damage
DELETE FROM tor_constraints.bookings WHERE id = 4;
INSERT INTO tor_constraints.bookings VALUES (40, 1, '[45,46)');
--# exclusion_where_and_deferred | tor_constraints.slots
CREATE TABLE tor_constraints.slots (id int PRIMARY KEY, during int4range, live boolean,
  EXCLUDE USING gist (during WITH &&) WHERE (live) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO tor_constraints.slots SELECT i, int4range(i * 10, i * 10 + 10), true FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_constraints.slots WHERE id = 4;
UPDATE tor_constraints.slots SET live = false WHERE id = 5;
--# check_not_valid | tor_constraints.not_valid
CREATE TABLE tor_constraints.not_valid (id int PRIMARY KEY, qty int);
INSERT INTO tor_constraints.not_valid SELECT i, i - 3 FROM generate_series(1, 10) i;
ALTER TABLE tor_constraints.not_valid ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;
--# refused merge replace | do not meet | qty_positive
--# damage
DELETE FROM tor_constraints.not_valid WHERE id <= 4;
--# check_added_since | tor_constraints.checked_since
CREATE TABLE tor_constraints.checked_since (id int PRIMARY KEY, qty int);
INSERT INTO tor_constraints.checked_since SELECT i, i - 3 FROM generate_series(1, 10) i;
--# refused merge replace | do not meet | qty_positive
--# damage
DELETE FROM tor_constraints.checked_since WHERE id <= 4;
ALTER TABLE tor_constraints.checked_since ADD CONSTRAINT qty_positive CHECK (qty > 0);
--# check_that_reads_a_function | tor_constraints.by_function
CREATE FUNCTION tor_constraints.known(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN $1 LIKE ''v%''; END';
CREATE TABLE tor_constraints.by_function (id int PRIMARY KEY, v text CHECK (tor_constraints.known(v)));
INSERT INTO tor_constraints.by_function SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_constraints.by_function WHERE id <= 3;
UPDATE tor_constraints.by_function SET v = 'vx' WHERE id = 5;
--# names_of_constraints_that_are_odd | tor_constraints.odd
CREATE TABLE tor_constraints.odd (id int CONSTRAINT "it's ""the"" key" PRIMARY KEY, v text CONSTRAINT "v: %s" UNIQUE,
  CONSTRAINT "检查" CHECK (id > 0) NO INHERIT);
INSERT INTO tor_constraints.odd SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_constraints.odd WHERE id <= 3;
UPDATE tor_constraints.odd SET v = 'spoilt' WHERE id = 5;
--# replica_identity_and_cluster | tor_constraints.identified
CREATE TABLE tor_constraints.identified (id int PRIMARY KEY, code text NOT NULL UNIQUE);
ALTER TABLE tor_constraints.identified REPLICA IDENTITY USING INDEX identified_code_key, CLUSTER ON identified_code_key;
INSERT INTO tor_constraints.identified SELECT i, 'c' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_constraints.identified WHERE id <= 3;
