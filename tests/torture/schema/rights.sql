-- Owners, grants, publications: who may do what with a table, and who hears of it.
CREATE SCHEMA tor_rights;
GRANT USAGE ON SCHEMA tor_rights TO tor_reader;
--# owner_and_grants | tor_rights.owned
CREATE TABLE tor_rights.owned (id int PRIMARY KEY, v text, secret text);
INSERT INTO tor_rights.owned SELECT i, 'v' || i, 's' || i FROM generate_series(1, 10) i;
ALTER TABLE tor_rights.owned OWNER TO tor_owner;
GRANT SELECT, INSERT ON tor_rights.owned TO tor_reader WITH GRANT OPTION;
GRANT ALL ON tor_rights.owned TO "tor Größe ""读""";
GRANT SELECT ON tor_rights.owned TO PUBLIC;
--# damage
DELETE FROM tor_rights.owned WHERE id <= 3;
UPDATE tor_rights.owned SET v = 'spoilt' WHERE id = 5;
--# grants_by_column | tor_rights.by_column
CREATE TABLE tor_rights.by_column (id int PRIMARY KEY, v text, secret text);
INSERT INTO tor_rights.by_column SELECT i, 'v' || i, 's' || i FROM generate_series(1, 10) i;
GRANT SELECT (id, v), UPDATE (v) ON tor_rights.by_column TO tor_reader;
REVOKE INSERT ON tor_rights.by_column FROM postgres;
--# damage
DELETE FROM tor_rights.by_column WHERE id <= 3;
UPDATE tor_rights.by_column SET v = 'spoilt' WHERE id = 5;
--# default_privileges_of_the_schema | tor_rights.defaulted
CREATE TABLE tor_rights.defaulted (id int PRIMARY KEY, v text);
INSERT INTO tor_rights.defaulted SELECT i, 'v' || i FROM generate_series(1, 10) i;
ALTER DEFAULT PRIVILEGES IN SCHEMA tor_rights GRANT ALL ON TABLES TO tor_reader;
--# damage
DELETE FROM tor_rights.defaulted WHERE id <= 3;
UPDATE tor_rights.defaulted SET v = 'spoilt' WHERE id = 5;
--# sequence_with_grants | tor_rights.with_sequence
CREATE TABLE tor_rights.with_sequence (id bigserial PRIMARY KEY, v text);
INSERT INTO tor_rights.with_sequence (v) SELECT 'v' || i FROM generate_series(1, 10) i;
GRANT USAGE ON SEQUENCE tor_rights.with_sequence_id_seq TO tor_reader;
COMMENT ON SEQUENCE tor_rights.with_sequence_id_seq IS 'numbers';
ALTER TABLE tor_rights.with_sequence OWNER TO tor_owner;
--# damage
DELETE FROM tor_rights.with_sequence WHERE id <= 3;
UPDATE tor_rights.with_sequence SET v = 'spoilt' WHERE id = 5;
--# member_of_publications | tor_rights.published
CREATE TABLE tor_rights.published (id int PRIMARY KEY, v text, secret text);
INSERT INTO tor_rights.published SELECT i, 'v' || i, 's' || i FROM generate_series(1, 10) i;
CREATE PUBLICATION tor_columns FOR TABLE tor_rights.published (id, v) WHERE (id < 100) WITH (publish = 'insert, update');
CREATE PUBLICATION tor_whole FOR TABLE tor_rights.published;
CREATE PUBLICATION tor_schema FOR TABLES IN SCHEMA tor_rights;
--# damage
DELETE FROM tor_rights.published WHERE id <= 3;
UPDATE tor_rights.published SET v = 'spoilt' WHERE id = 5;
--# published_without_replica_identity | tor_rights.no_identity
CREATE TABLE tor_rights.no_identity (id int PRIMARY KEY, v text);
INSERT INTO tor_rights.no_identity SELECT i, 'v' || i FROM generate_series(1, 10) i;
ALTER TABLE tor_rights.no_identity REPLICA IDENTITY NOTHING;
CREATE PUBLICATION tor_no_identity FOR TABLE tor_rights.no_identity WITH (publish = 'insert');
--# refused replace | replica identity
--# damage
ALTER TABLE tor_rights.no_identity REPLICA IDENTITY DEFAULT;
DELETE FROM tor_rights.no_identity WHERE id <= 3;
UPDATE tor_rights.no_identity SET v = 'spoilt' WHERE id = 5;
ALTER TABLE tor_rights.no_identity REPLICA IDENTITY NOTHING;
--# owner_that_is_gone | tor_rights.orphaned
CREATE TABLE tor_rights.orphaned (id int PRIMARY KEY, v text);
INSERT INTO tor_rights.orphaned SELECT i, 'v' || i FROM generate_series(1, 10) i;
ALTER TABLE tor_rights.orphaned OWNER TO tor_going;
--# two_servers
--# only drop
--# refused drop | not everything comes back | tor_going
--# armed
ALTER ROLE tor_going RENAME TO tor_gone;
--# disarmed
ALTER ROLE tor_gone RENAME TO tor_going;
