-- Tables that are part of others: partitions, inheritance, hypertables, types, views upon them.
CREATE SCHEMA tor_kin;
--# partition_of_a_range | tor_kin.p_2026
CREATE TABLE tor_kin.by_range (day date, id int, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE tor_kin.p_2025 PARTITION OF tor_kin.by_range FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE tor_kin.p_2026 PARTITION OF tor_kin.by_range FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE tor_kin.p_rest PARTITION OF tor_kin.by_range DEFAULT;
CREATE INDEX ON tor_kin.by_range (v);
INSERT INTO tor_kin.by_range SELECT date '2025-06-01' + i * 30, i, 'v' || i FROM generate_series(1, 30) i;
--# damage
DELETE FROM tor_kin.p_2026 WHERE id % 3 = 0;
UPDATE tor_kin.p_2026 SET v = 'spoilt' WHERE id % 3 = 1;
--# partitioned_table_as_one | tor_kin.by_list
CREATE TABLE tor_kin.by_list (market text, id int, v text, PRIMARY KEY (market, id)) PARTITION BY LIST (market);
CREATE TABLE tor_kin.l_sh PARTITION OF tor_kin.by_list FOR VALUES IN ('SH', 'SZ');
CREATE TABLE tor_kin.l_hk PARTITION OF tor_kin.by_list FOR VALUES IN ('HK') PARTITION BY HASH (id);
CREATE TABLE tor_kin.l_hk0 PARTITION OF tor_kin.l_hk FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE tor_kin.l_hk1 PARTITION OF tor_kin.l_hk FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO tor_kin.by_list SELECT (ARRAY['SH', 'SZ', 'HK'])[1 + i % 3], i, 'v' || i FROM generate_series(1, 30) i;
--# damage
DELETE FROM tor_kin.by_list WHERE id % 4 = 0;
UPDATE tor_kin.by_list SET v = 'spoilt' WHERE id % 4 = 1;
--# partition_that_was_detached_since | tor_kin.d_1
CREATE TABLE tor_kin.detaching (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE tor_kin.d_1 PARTITION OF tor_kin.detaching FOR VALUES FROM (0) TO (100);
INSERT INTO tor_kin.detaching SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# only merge replace
--# damage
ALTER TABLE tor_kin.detaching DETACH PARTITION tor_kin.d_1;
DELETE FROM tor_kin.d_1 WHERE id <= 3;
--# partition_of_another_column_order_with_triggers_and_keys | tor_kin.o_1
CREATE TABLE tor_kin.sides (side text PRIMARY KEY);
INSERT INTO tor_kin.sides VALUES ('buy'), ('sell');
CREATE FUNCTION tor_kin.loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v || '!'; RETURN NEW; END $$;
CREATE TABLE tor_kin.ordered (id int, side text REFERENCES tor_kin.sides, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE tor_kin.o_1 (v text, gone int, side text, id int NOT NULL);
ALTER TABLE tor_kin.o_1 DROP COLUMN gone;
ALTER TABLE tor_kin.ordered ATTACH PARTITION tor_kin.o_1 FOR VALUES FROM (0) TO (100);
INSERT INTO tor_kin.ordered SELECT i, 'buy', 'v' || i FROM generate_series(1, 20) i;
CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON tor_kin.ordered FOR EACH ROW EXECUTE FUNCTION tor_kin.loud();
--# damage
DELETE FROM tor_kin.o_1 WHERE id <= 5;
UPDATE tor_kin.o_1 SET v = 'spoilt' WHERE id = 7;
--# partitioned_with_identity_and_a_child | tor_kin.numbered
CREATE TABLE tor_kin.numbered (day date, id int, code text, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE tor_kin.n_1 PARTITION OF tor_kin.numbered FOR VALUES FROM ('2026-01-01') TO ('2026-01-11');
CREATE TABLE tor_kin.n_2 PARTITION OF tor_kin.numbered FOR VALUES FROM ('2026-01-11') TO ('2026-02-01');
CREATE TABLE tor_kin.of_numbered (n int PRIMARY KEY, day date, id int, FOREIGN KEY (day, id) REFERENCES tor_kin.numbered ON DELETE CASCADE);
INSERT INTO tor_kin.numbered SELECT date '2026-01-01' + i, i, 'c' || i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO tor_kin.of_numbered SELECT i, date '2026-01-01' + i, i FROM generate_series(6, 20) i;
--# same tor_kin.of_numbered
--# damage
DELETE FROM tor_kin.numbered WHERE id <= 5;
UPDATE tor_kin.numbered SET v = 'spoilt' WHERE id BETWEEN 8 AND 14;
--# partitioned_that_lost_a_partition | tor_kin.by_year
CREATE TABLE tor_kin.by_year (day date, id int, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE tor_kin.y_2025 PARTITION OF tor_kin.by_year FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE tor_kin.y_2026 PARTITION OF tor_kin.by_year FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO tor_kin.by_year SELECT date '2025-06-01' + i * 30, i, 'v' || i FROM generate_series(1, 15) i;
--# refused merge replace | has lost partitions | y_2025
--# damage
DROP TABLE tor_kin.y_2025;
--# partition_of_a_partition_that_partitions_refer_to | tor_kin.deep_12
CREATE TABLE tor_kin.deep (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE tor_kin.deep_1 PARTITION OF tor_kin.deep FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
CREATE TABLE tor_kin.deep_11 PARTITION OF tor_kin.deep_1 FOR VALUES FROM (0) TO (50);
CREATE TABLE tor_kin.deep_12 PARTITION OF tor_kin.deep_1 FOR VALUES FROM (50) TO (100);
CREATE TABLE tor_kin.of_deep (n int PRIMARY KEY, id int, CONSTRAINT "Up" FOREIGN KEY (id) REFERENCES tor_kin.deep ON DELETE CASCADE) PARTITION BY RANGE (n);
CREATE TABLE tor_kin.of_deep_1 PARTITION OF tor_kin.of_deep FOR VALUES FROM (0) TO (1000);
INSERT INTO tor_kin.deep SELECT i, 'v' || i FROM generate_series(1, 90) i;
INSERT INTO tor_kin.of_deep SELECT i, i FROM generate_series(41, 60) i;
--# same tor_kin.of_deep
--# damage
DELETE FROM tor_kin.deep_12 WHERE id > 70;
UPDATE tor_kin.deep_12 SET v = 'spoilt' WHERE id BETWEEN 55 AND 65;
--# partition_that_is_partitioned | tor_kin.branch
CREATE TABLE tor_kin.trunk (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE INDEX "trunk, by v" ON tor_kin.trunk (v);
CREATE TABLE tor_kin.branch PARTITION OF tor_kin.trunk FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
CREATE TABLE tor_kin.twig PARTITION OF tor_kin.branch FOR VALUES FROM (0) TO (50) PARTITION BY HASH (id);
CREATE TABLE tor_kin.leaf_1 PARTITION OF tor_kin.twig FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE tor_kin.leaf_2 PARTITION OF tor_kin.twig FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE tor_kin.twig_rest PARTITION OF tor_kin.branch DEFAULT;
INSERT INTO tor_kin.trunk SELECT i, 'v' || i FROM generate_series(1, 90) i;
--# damage
DELETE FROM tor_kin.branch WHERE id % 3 = 0;
UPDATE tor_kin.branch SET v = 'spoilt' WHERE id % 3 = 1;
--# inherits_from_two | tor_kin.child
CREATE TABLE tor_kin.mother (id int NOT NULL, a text CONSTRAINT a_there CHECK (a <> ''));
CREATE TABLE tor_kin.father (b text DEFAULT 'b');
CREATE TABLE tor_kin.child (c text, PRIMARY KEY (id)) INHERITS (tor_kin.mother, tor_kin.father);
INSERT INTO tor_kin.child SELECT i, 'a' || i, 'b' || i, 'c' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_kin.child WHERE id <= 3;
UPDATE tor_kin.child SET a = 'spoilt' WHERE id = 5;
--# has_heirs_with_rows_of_their_own | tor_kin.elder
CREATE TABLE tor_kin.elder (id int PRIMARY KEY, v text);
CREATE TABLE tor_kin.heir (extra int, PRIMARY KEY (id)) INHERITS (tor_kin.elder);
INSERT INTO tor_kin.elder SELECT i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO tor_kin.heir SELECT i, 'heir ' || i, i FROM generate_series(5, 20) i;
--# rows_by_only
--# lost heir
--# damage
DELETE FROM ONLY tor_kin.elder WHERE id <= 6;
UPDATE ONLY tor_kin.elder SET v = 'spoilt' WHERE id = 8;
--# table_of_a_type | tor_kin.typed
CREATE TYPE tor_kin.row_type AS (id int, v text);
CREATE TABLE tor_kin.typed OF tor_kin.row_type (PRIMARY KEY (id), v WITH OPTIONS DEFAULT 'd');
INSERT INTO tor_kin.typed SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_kin.typed WHERE id <= 3;
UPDATE tor_kin.typed SET v = 'spoilt' WHERE id = 5;
--# unlogged | tor_kin.unlogged
CREATE UNLOGGED TABLE tor_kin.unlogged (id int PRIMARY KEY, v text);
INSERT INTO tor_kin.unlogged SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused merge replace beside drop | is unlogged
--# damage
DELETE FROM tor_kin.unlogged;
--# unlogged_partition | tor_kin.half_logged
CREATE TABLE tor_kin.half_logged (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE tor_kin.half_1 PARTITION OF tor_kin.half_logged FOR VALUES FROM (0) TO (6);
CREATE UNLOGGED TABLE tor_kin.half_2 PARTITION OF tor_kin.half_logged FOR VALUES FROM (6) TO (20);
INSERT INTO tor_kin.half_logged SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused merge replace beside drop | no backup holds the rows | half_2
--# damage
DELETE FROM tor_kin.half_logged WHERE id < 3;
--# views_and_functions_upon_it | tor_kin.viewed
CREATE TABLE tor_kin.viewed (id int PRIMARY KEY, v text);
INSERT INTO tor_kin.viewed SELECT i, 'v' || i FROM generate_series(1, 10) i;
CREATE VIEW tor_kin.view_1 AS SELECT * FROM tor_kin.viewed;
CREATE MATERIALIZED VIEW tor_kin.view_2 AS SELECT count(*) AS n FROM tor_kin.view_1;
CREATE FUNCTION tor_kin.rows_of_it() RETURNS SETOF tor_kin.viewed LANGUAGE sql AS 'SELECT * FROM tor_kin.viewed';
--# lost view_1 view_2 rows_of_it
--# damage
DELETE FROM tor_kin.viewed WHERE id <= 3;
UPDATE tor_kin.viewed SET v = 'spoilt' WHERE id = 5;
--# hypertable | tor_kin.ticks
CREATE TABLE tor_kin.ticks (at timestamptz NOT NULL, symbol text, price numeric, PRIMARY KEY (at, symbol));
SELECT count(*) FROM create_hypertable('tor_kin.ticks', 'at', chunk_time_interval => interval '7 days');
CREATE INDEX ON tor_kin.ticks (symbol, at DESC);
INSERT INTO tor_kin.ticks SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 day', 's' || i % 3, i / 10.0 FROM generate_series(1, 40) i;
--# damage
DELETE FROM tor_kin.ticks WHERE symbol = 's0';
UPDATE tor_kin.ticks SET price = -1 WHERE symbol = 's1' AND at < '2026-01-10 00:00:00Z';
--# hypertable_of_dates_before_2000_and_after_now | tor_kin.days
CREATE TABLE tor_kin.days (day date NOT NULL, symbol text, v numeric, PRIMARY KEY (day, symbol));
SELECT count(*) FROM create_hypertable('tor_kin.days', 'day', chunk_time_interval => interval '10 years');
INSERT INTO tor_kin.days SELECT date '1931-03-01' + i * 1500, 's' || i % 2, i / 4.0 FROM generate_series(1, 60) i;
--# damage
DELETE FROM tor_kin.days WHERE symbol = 's0';
UPDATE tor_kin.days SET v = -v WHERE day < '2000-01-01';
--# hypertable_of_integers_and_space | tor_kin.blocks
CREATE TABLE tor_kin.blocks (height bigint, node int, v text, PRIMARY KEY (height, node));
SELECT count(*) FROM create_hypertable('tor_kin.blocks', 'height', 'node', 2, chunk_time_interval => 100);
CREATE FUNCTION tor_kin.height_now() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 1000::bigint';
SELECT set_integer_now_func('tor_kin.blocks', 'tor_kin.height_now');
INSERT INTO tor_kin.blocks SELECT i * 10, i % 4, 'v' || i FROM generate_series(1, 60) i;
--# damage
DELETE FROM tor_kin.blocks WHERE node = 0;
UPDATE tor_kin.blocks SET v = 'spoilt' WHERE node = 1;
--# hypertable_with_infinity | tor_kin.valid_to
CREATE TABLE tor_kin.valid_to (at timestamptz NOT NULL, until timestamptz, id int, PRIMARY KEY (at, id));
SELECT count(*) FROM create_hypertable('tor_kin.valid_to', 'at');
INSERT INTO tor_kin.valid_to SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 day', 'infinity', i FROM generate_series(1, 20) i;
--# damage
DELETE FROM tor_kin.valid_to WHERE id <= 3;
UPDATE tor_kin.valid_to SET until = '-infinity' WHERE id = 5;
--# hypertable_with_an_odd_name_and_column | "Tor Kin"."Τικς, ""all"""
CREATE SCHEMA "Tor Kin";
CREATE TABLE "Tor Kin"."Τικς, ""all""" ("at ""time""" timestamptz NOT NULL, "id.1" int, v text, PRIMARY KEY ("at ""time""", "id.1"));
SELECT count(*) FROM create_hypertable('"Tor Kin"."Τικς, ""all"""', 'at "time"');
INSERT INTO "Tor Kin"."Τικς, ""all""" SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 day', i, 'v' || i FROM generate_series(1, 20) i;
--# damage
DELETE FROM "Tor Kin"."Τικς, ""all""" WHERE "id.1" <= 3;
UPDATE "Tor Kin"."Τικς, ""all""" SET v = 'spoilt' WHERE "id.1" = 5;
--# parent_of_a_hypertable_whose_chunks_are_elsewhere | tor_kin.venues
CREATE TABLE tor_kin.venues (venue text PRIMARY KEY, v text);
INSERT INTO tor_kin.venues SELECT 'x' || i, 'v' || i FROM generate_series(0, 9) i;
--# only merge replace beside
--# same tor_kin.pieced
--# damage
DELETE FROM tor_kin.venues WHERE venue > 'x5';
UPDATE tor_kin.venues SET v = 'spoilt' WHERE venue < 'x2';
--# hypertable_whose_chunks_have_a_schema_and_names_of_their_own | tor_kin.pieced
CREATE TABLE tor_kin.pieced (at timestamptz NOT NULL, venue text REFERENCES tor_kin.venues, v text, PRIMARY KEY (at, venue));
CREATE SCHEMA "Tor Pieces";
SELECT count(*) FROM create_hypertable('tor_kin.pieced', 'at', associated_schema_name => 'Tor Pieces', associated_table_prefix => 'tor piece', chunk_time_interval => interval '7 days');
INSERT INTO tor_kin.pieced SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 day', 'x' || i % 3, 'v' || i FROM generate_series(1, 40) i;
CREATE VIEW tor_kin.upon_pieced AS SELECT venue, count(*) AS n FROM tor_kin.pieced GROUP BY 1;
--# lost upon_pieced
--# damage
DELETE FROM tor_kin.pieced WHERE venue = 'x0';
UPDATE tor_kin.pieced SET v = 'spoilt' WHERE venue = 'x1' AND at < '2026-01-10 00:00:00Z';
--# hypertable_whose_chunks_stand_beside_it | tor_kin.nearby
CREATE TABLE tor_kin.nearby (height bigint, node int, v text, PRIMARY KEY (height, node));
SELECT count(*) FROM create_hypertable('tor_kin.nearby', 'height', 'node', 2, associated_schema_name => 'tor_kin', chunk_time_interval => 100);
INSERT INTO tor_kin.nearby SELECT i * 10, i % 4, 'v' || i FROM generate_series(1, 60) i;
--# damage
DELETE FROM tor_kin.nearby WHERE node = 0;
UPDATE tor_kin.nearby SET v = 'spoilt' WHERE node = 1;
--# only_a_view_by_that_name | tor_kin.just_a_view
CREATE VIEW tor_kin.just_a_view AS SELECT 1 AS id;
--# refused merge replace beside drop | has no table
--# drop
DROP VIEW tor_kin.just_a_view;
--# only_a_materialized_view | tor_kin.just_a_matview
CREATE MATERIALIZED VIEW tor_kin.just_a_matview AS SELECT 1 AS id;
--# refused merge replace beside drop | has no table
--# drop
DROP MATERIALIZED VIEW tor_kin.just_a_matview;
--# foreign_table | tor_kin.foreign_rows
CREATE SERVER tor_files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE tor_kin.foreign_rows (v text) SERVER tor_files OPTIONS (filename '/etc/hostname');
--# refused merge replace beside drop | is a foreign table
--# drop
DROP FOREIGN TABLE tor_kin.foreign_rows;
