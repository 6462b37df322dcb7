-- Sequences of whatever owner: rows come back, and no number is given out twice.
CREATE SCHEMA tor_seq;
--# owned_by_a_text_column | tor_seq.order_nos
--# seen_as F12
CREATE SEQUENCE tor_seq.ord;
CREATE TABLE tor_seq.order_nos (no text PRIMARY KEY DEFAULT 'ORD' || nextval('tor_seq.ord'), v text);
ALTER SEQUENCE tor_seq.ord OWNED BY tor_seq.order_nos.no;
INSERT INTO tor_seq.order_nos (v) SELECT 'v' || i FROM generate_series(1, 10) i;
--# sequences tor_seq.ord
--# damage
DELETE FROM tor_seq.order_nos WHERE no IN ('ORD1', 'ORD2', 'ORD3');
--# counts_down | tor_seq.down
CREATE SEQUENCE tor_seq.downwards INCREMENT -2 START -1;
CREATE TABLE tor_seq.down (id bigint PRIMARY KEY DEFAULT nextval('tor_seq.downwards'), v text);
ALTER SEQUENCE tor_seq.downwards OWNED BY tor_seq.down.id;
INSERT INTO tor_seq.down (v) SELECT 'v' || i FROM generate_series(1, 10) i;
--# sequences tor_seq.downwards
--# damage
DELETE FROM tor_seq.down WHERE id >= -5;
--# goes_round | tor_seq.round
CREATE SEQUENCE tor_seq.cycle MAXVALUE 20 CYCLE;
CREATE TABLE tor_seq.round (at int PRIMARY KEY, id int DEFAULT nextval('tor_seq.cycle'));
ALTER SEQUENCE tor_seq.cycle OWNED BY tor_seq.round.id;
INSERT INTO tor_seq.round (at) SELECT generate_series(1, 25);
--# sequences tor_seq.cycle
--# damage
DELETE FROM tor_seq.round WHERE at <= 3;
--# shared_by_two_tables_and_owned_by_none | tor_seq.first
CREATE SEQUENCE tor_seq.shared;
CREATE TABLE tor_seq.first (id int PRIMARY KEY DEFAULT nextval('tor_seq.shared'), v text);
CREATE TABLE tor_seq.second (id int PRIMARY KEY DEFAULT nextval('tor_seq.shared'), v text);
INSERT INTO tor_seq.first (v) SELECT 'v' || i FROM generate_series(1, 10) i;
INSERT INTO tor_seq.second (v) SELECT 'v' || i FROM generate_series(1, 10) i;
--# sequences tor_seq.shared
--# damage
DELETE FROM tor_seq.first WHERE id <= 3;
--# odd_name_and_number_of_two_bytes | tor_seq.odd
CREATE SEQUENCE tor_seq."Nr. ""序""" AS smallint START 30000;
CREATE TABLE tor_seq.odd (id smallint PRIMARY KEY DEFAULT nextval('tor_seq."Nr. ""序"""'), v text);
ALTER SEQUENCE tor_seq."Nr. ""序""" OWNED BY tor_seq.odd.id;
INSERT INTO tor_seq.odd (v) SELECT 'v' || i FROM generate_series(1, 10) i;
--# sequences tor_seq."Nr. ""序"""
--# damage
DELETE FROM tor_seq.odd WHERE id <= 30003;
--# went_on_since | tor_seq.ahead
CREATE TABLE tor_seq.ahead (id bigserial PRIMARY KEY, v text);
INSERT INTO tor_seq.ahead (v) SELECT 'v' || i FROM generate_series(1, 10) i;
--# sequences tor_seq.ahead_id_seq
--# damage
INSERT INTO tor_seq.ahead (v) SELECT 'later' FROM generate_series(1, 1000);
DELETE FROM tor_seq.ahead WHERE id <= 3;
--# was_set_back_by_hand | tor_seq.back
CREATE TABLE tor_seq.back (id bigserial PRIMARY KEY, v text);
INSERT INTO tor_seq.back (v) SELECT 'v' || i FROM generate_series(1, 100) i;
--# sequences tor_seq.back_id_seq
--# damage
DELETE FROM tor_seq.back WHERE id > 3;
SELECT setval('tor_seq.back_id_seq', 3);
--# never_used | tor_seq.unused
CREATE TABLE tor_seq.unused (id int PRIMARY KEY, n bigserial);
ALTER TABLE tor_seq.unused ALTER n DROP NOT NULL;
INSERT INTO tor_seq.unused SELECT i, NULL FROM generate_series(1, 10) i;
--# sequences tor_seq.unused_n_seq
--# damage
DELETE FROM tor_seq.unused WHERE id <= 3;
