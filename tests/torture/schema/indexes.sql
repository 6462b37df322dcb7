-- Indexes of every method, and statistics: a dropped table has them again.
CREATE SCHEMA tor_indexes;
--# every_method | tor_indexes.methods
CREATE TABLE tor_indexes.methods (id int PRIMARY KEY, t text, r int4range, j jsonb, v tsvector, p point, a int[]);
CREATE INDEX ON tor_indexes.methods USING hash (t);
CREATE INDEX ON tor_indexes.methods USING gist (r);
CREATE INDEX ON tor_indexes.methods USING spgist (p);
CREATE INDEX ON tor_indexes.methods USING gin (j jsonb_path_ops, a);
CREATE INDEX ON tor_indexes.methods USING gin (t gin_trgm_ops) WITH (fastupdate = off);
CREATE INDEX ON tor_indexes.methods USING brin (id) WITH (pages_per_range = 4);
CREATE INDEX ON tor_indexes.methods USING gist (v tsvector_ops (siglen = 64));
INSERT INTO tor_indexes.methods SELECT i, 't' || i, int4range(i, i + 2), '{"a": 1}', 'a b', point(i, i), ARRAY[i] FROM generate_series(1, 50) i;
--# damage
DELETE FROM tor_indexes.methods WHERE id <= 10;
UPDATE tor_indexes.methods SET t = 'spoilt' WHERE id = 15;
--# partial_expression_include_and_order | tor_indexes.shapes
CREATE TABLE tor_indexes.shapes (id int PRIMARY KEY, a text, b int, c date);
CREATE INDEX "Shapes: ""partial""" ON tor_indexes.shapes (b DESC NULLS LAST, a COLLATE "C" text_pattern_ops) INCLUDE (c) WHERE b > 3;
CREATE INDEX shapes_expr ON tor_indexes.shapes (lower(a), (b % 2)) WITH (fillfactor = 50, deduplicate_items = off);
ALTER INDEX tor_indexes.shapes_expr ALTER COLUMN 2 SET STATISTICS 500;
COMMENT ON INDEX tor_indexes.shapes_expr IS 'by expression';
INSERT INTO tor_indexes.shapes SELECT i, 'a' || i, i % 5, '2026-01-01' FROM generate_series(1, 50) i;
--# damage
DELETE FROM tor_indexes.shapes WHERE id <= 10;
--# extended_statistics | tor_indexes.statistics
CREATE TABLE tor_indexes.statistics (id int PRIMARY KEY, a int, b int);
CREATE STATISTICS tor_indexes.ab (ndistinct, dependencies, mcv) ON a, b FROM tor_indexes.statistics;
CREATE STATISTICS tor_indexes.expr ON (a % 2), (b % 3) FROM tor_indexes.statistics;
ALTER STATISTICS tor_indexes.ab SET STATISTICS 77;
COMMENT ON STATISTICS tor_indexes.ab IS 'both';
INSERT INTO tor_indexes.statistics SELECT i, i % 3, i % 3 FROM generate_series(1, 50) i;
--# damage
DELETE FROM tor_indexes.statistics WHERE id <= 10;
--# statistics_in_another_schema | tor_indexes.elsewhere
CREATE SCHEMA tor_indexes_2;
CREATE TABLE tor_indexes.elsewhere (id int PRIMARY KEY, a int, b int);
CREATE STATISTICS tor_indexes_2.ab ON a, b FROM tor_indexes.elsewhere;
INSERT INTO tor_indexes.elsewhere SELECT i, i, i FROM generate_series(1, 50) i;
--# damage
DELETE FROM tor_indexes.elsewhere WHERE id <= 10;
--# invalid_index | tor_indexes.invalid
CREATE TABLE tor_indexes.invalid (id int PRIMARY KEY, a int);
INSERT INTO tor_indexes.invalid SELECT i, 1 FROM generate_series(1, 10) i;
CREATE INDEX left_behind ON tor_indexes.invalid (a);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tor_indexes.left_behind'::regclass;
--# damage
DELETE FROM tor_indexes.invalid WHERE id <= 3;
