-- Keys of every type that can be one, values that are equal and look different among them.
CREATE SCHEMA tor_keys;
CREATE TYPE tor_keys.side AS ENUM ('sell', 'buy', 'both');
CREATE TYPE tor_keys.pair AS (a int, b text);
CREATE COLLATION tor_keys.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN tor_keys.code AS text CHECK (length(VALUE) < 9);
--# enum_key | tor_keys.enum_key
CREATE TABLE tor_keys.enum_key (k tor_keys.side PRIMARY KEY, v text);
INSERT INTO tor_keys.enum_key VALUES ('sell', 'v0'), ('buy', 'v1'), ('both', 'v2');
--# damage
DELETE FROM tor_keys.enum_key WHERE v = 'v0';
UPDATE tor_keys.enum_key SET v = 'spoilt' WHERE v = 'v1';
--# composite_key | tor_keys.composite_key
CREATE TABLE tor_keys.composite_key (k tor_keys.pair PRIMARY KEY, v text);
INSERT INTO tor_keys.composite_key VALUES ('(1,a)', 'v0'), ('(1,)', 'v1'), ('(,b)', 'v2');
--# damage
DELETE FROM tor_keys.composite_key WHERE v = 'v0';
UPDATE tor_keys.composite_key SET v = 'spoilt' WHERE v = 'v1';
--# domain_key | tor_keys.domain_key
CREATE TABLE tor_keys.domain_key (k tor_keys.code PRIMARY KEY, v text);
INSERT INTO tor_keys.domain_key VALUES ('a', 'v0'), ('B', 'v1'), ('', 'v2');
--# damage
DELETE FROM tor_keys.domain_key WHERE v = 'v0';
UPDATE tor_keys.domain_key SET v = 'spoilt' WHERE v = 'v1';
--# nondeterministic_key | tor_keys.nondeterministic_key
CREATE TABLE tor_keys.nondeterministic_key (k text COLLATE tor_keys.any_case PRIMARY KEY, v text);
INSERT INTO tor_keys.nondeterministic_key VALUES ('Abc', 'v0'), ('äbc', 'v1'), ('x', 'v2');
--# damage
DELETE FROM tor_keys.nondeterministic_key WHERE v = 'v0';
UPDATE tor_keys.nondeterministic_key SET v = 'spoilt' WHERE v = 'v1';
--# case_insensitive_key | tor_keys.case_insensitive_key
CREATE TABLE tor_keys.case_insensitive_key (k citext PRIMARY KEY, v text);
INSERT INTO tor_keys.case_insensitive_key VALUES ('Abc', 'v0'), ('B', 'v1'), ('c', 'v2');
--# damage
DELETE FROM tor_keys.case_insensitive_key WHERE v = 'v0';
UPDATE tor_keys.case_insensitive_key SET v = 'spoilt' WHERE v = 'v1';
--# numeric_key_of_other_scale | tor_keys.numeric_key_of_other_scale
CREATE TABLE tor_keys.numeric_key_of_other_scale (k numeric PRIMARY KEY, v text);
INSERT INTO tor_keys.numeric_key_of_other_scale VALUES (1.0, 'v0'), (2.50, 'v1'), ('NaN', 'v2');
--# damage
DELETE FROM tor_keys.numeric_key_of_other_scale WHERE v = 'v0';
UPDATE tor_keys.numeric_key_of_other_scale SET v = 'spoilt' WHERE v = 'v1';
--# float_key_with_nan | tor_keys.float_key_with_nan
CREATE TABLE tor_keys.float_key_with_nan (k float8 PRIMARY KEY, v text);
INSERT INTO tor_keys.float_key_with_nan VALUES ('NaN', 'v0'), (0.1, 'v1'), ('Infinity', 'v2');
--# damage
DELETE FROM tor_keys.float_key_with_nan WHERE v = 'v0';
UPDATE tor_keys.float_key_with_nan SET v = 'spoilt' WHERE v = 'v1';
--# infinite_time_key | tor_keys.infinite_time_key
CREATE TABLE tor_keys.infinite_time_key (k timestamptz PRIMARY KEY, v text);
INSERT INTO tor_keys.infinite_time_key VALUES ('infinity', 'v0'), ('-infinity', 'v1'), ('2026-01-01 00:00:00+08', 'v2');
--# damage
DELETE FROM tor_keys.infinite_time_key WHERE v = 'v0';
UPDATE tor_keys.infinite_time_key SET v = 'spoilt' WHERE v = 'v1';
--# date_key | tor_keys.date_key
CREATE TABLE tor_keys.date_key (k date PRIMARY KEY, v text);
INSERT INTO tor_keys.date_key VALUES ('infinity', 'v0'), ('0044-03-15 BC', 'v1'), ('2026-01-01', 'v2');
--# damage
DELETE FROM tor_keys.date_key WHERE v = 'v0';
UPDATE tor_keys.date_key SET v = 'spoilt' WHERE v = 'v1';
--# interval_key | tor_keys.interval_key
CREATE TABLE tor_keys.interval_key (k interval PRIMARY KEY, v text);
INSERT INTO tor_keys.interval_key VALUES ('1 day', 'v0'), ('1 mon', 'v1'), ('-1 hour', 'v2');
--# damage
DELETE FROM tor_keys.interval_key WHERE v = 'v0';
UPDATE tor_keys.interval_key SET v = 'spoilt' WHERE v = 'v1';
--# range_key | tor_keys.range_key
CREATE TABLE tor_keys.range_key (k int8range PRIMARY KEY, v text);
INSERT INTO tor_keys.range_key VALUES ('[1,2)', 'v0'), ('empty', 'v1'), ('(,)', 'v2');
--# damage
DELETE FROM tor_keys.range_key WHERE v = 'v0';
UPDATE tor_keys.range_key SET v = 'spoilt' WHERE v = 'v1';
--# array_key | tor_keys.array_key
CREATE TABLE tor_keys.array_key (k int[] PRIMARY KEY, v text);
INSERT INTO tor_keys.array_key VALUES ('{1,2}', 'v0'), ('{}', 'v1'), ('{NULL}', 'v2');
--# damage
DELETE FROM tor_keys.array_key WHERE v = 'v0';
UPDATE tor_keys.array_key SET v = 'spoilt' WHERE v = 'v1';
--# bytes_key | tor_keys.bytes_key
CREATE TABLE tor_keys.bytes_key (k bytea PRIMARY KEY, v text);
INSERT INTO tor_keys.bytes_key VALUES ('\x00', 'v0'), ('\x', 'v1'), ('\xff', 'v2');
--# damage
DELETE FROM tor_keys.bytes_key WHERE v = 'v0';
UPDATE tor_keys.bytes_key SET v = 'spoilt' WHERE v = 'v1';
--# uuid_key | tor_keys.uuid_key
CREATE TABLE tor_keys.uuid_key (k uuid PRIMARY KEY, v text);
INSERT INTO tor_keys.uuid_key VALUES ('00000000-0000-0000-0000-000000000000', 'v0'), ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'v1'), ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'v2');
--# damage
DELETE FROM tor_keys.uuid_key WHERE v = 'v0';
UPDATE tor_keys.uuid_key SET v = 'spoilt' WHERE v = 'v1';
--# address_key | tor_keys.address_key
CREATE TABLE tor_keys.address_key (k inet PRIMARY KEY, v text);
INSERT INTO tor_keys.address_key VALUES ('10.0.0.1', 'v0'), ('10.0.0.1/8', 'v1'), ('::1', 'v2');
--# damage
DELETE FROM tor_keys.address_key WHERE v = 'v0';
UPDATE tor_keys.address_key SET v = 'spoilt' WHERE v = 'v1';
--# boolean_key | tor_keys.boolean_key
CREATE TABLE tor_keys.boolean_key (k boolean PRIMARY KEY, v text);
INSERT INTO tor_keys.boolean_key VALUES (true, 'v0'), (false, 'v1');
--# damage
DELETE FROM tor_keys.boolean_key WHERE v = 'v0';
UPDATE tor_keys.boolean_key SET v = 'spoilt' WHERE v = 'v1';
--# jsonb_key | tor_keys.jsonb_key
CREATE TABLE tor_keys.jsonb_key (k jsonb PRIMARY KEY, v text);
INSERT INTO tor_keys.jsonb_key VALUES ('{"a": 1}', 'v0'), ('1.0', 'v1'), ('null', 'v2');
--# damage
DELETE FROM tor_keys.jsonb_key WHERE v = 'v0';
UPDATE tor_keys.jsonb_key SET v = 'spoilt' WHERE v = 'v1';
--# padded_key | tor_keys.padded_key
CREATE TABLE tor_keys.padded_key (k char(4) PRIMARY KEY, v text);
INSERT INTO tor_keys.padded_key VALUES ('a', 'v0'), (' b', 'v1'), ('', 'v2');
--# damage
DELETE FROM tor_keys.padded_key WHERE v = 'v0';
UPDATE tor_keys.padded_key SET v = 'spoilt' WHERE v = 'v1';
--# bit_key | tor_keys.bit_key
CREATE TABLE tor_keys.bit_key (k bit(3) PRIMARY KEY, v text);
INSERT INTO tor_keys.bit_key VALUES (B'000', 'v0'), (B'001', 'v1'), (B'111', 'v2');
--# damage
DELETE FROM tor_keys.bit_key WHERE v = 'v0';
UPDATE tor_keys.bit_key SET v = 'spoilt' WHERE v = 'v1';
--# money_key | tor_keys.money_key
CREATE TABLE tor_keys.money_key (k money PRIMARY KEY, v text);
INSERT INTO tor_keys.money_key VALUES ('1.00', 'v0'), ('-1.00', 'v1'), ('0', 'v2');
--# damage
DELETE FROM tor_keys.money_key WHERE v = 'v0';
UPDATE tor_keys.money_key SET v = 'spoilt' WHERE v = 'v1';
--# text_key_of_c | tor_keys.text_key_of_c
CREATE TABLE tor_keys.text_key_of_c (k text COLLATE "C" PRIMARY KEY, v text);
INSERT INTO tor_keys.text_key_of_c VALUES ('a', 'v0'), ('A', 'v1'), ('量', 'v2');
--# damage
DELETE FROM tor_keys.text_key_of_c WHERE v = 'v0';
UPDATE tor_keys.text_key_of_c SET v = 'spoilt' WHERE v = 'v1';
--# name_key | tor_keys.name_key
CREATE TABLE tor_keys.name_key (k name PRIMARY KEY, v text);
INSERT INTO tor_keys.name_key VALUES ('a', 'v0'), ('A', 'v1'), ('', 'v2');
--# damage
DELETE FROM tor_keys.name_key WHERE v = 'v0';
UPDATE tor_keys.name_key SET v = 'spoilt' WHERE v = 'v1';
--# char_key | tor_keys.char_key
CREATE TABLE tor_keys.char_key (k "char" PRIMARY KEY, v text);
INSERT INTO tor_keys.char_key VALUES ('a', 'v0'), ('b', 'v1'), ('c', 'v2');
--# damage
DELETE FROM tor_keys.char_key WHERE v = 'v0';
UPDATE tor_keys.char_key SET v = 'spoilt' WHERE v = 'v1';
--# key_changed_to_an_equal_value | tor_keys.equal_values
CREATE TABLE tor_keys.equal_values (k numeric, c text COLLATE tor_keys.any_case, v int, PRIMARY KEY (k, c));
INSERT INTO tor_keys.equal_values VALUES (1.0, 'abc', 1), (2.0, 'def', 2), (3, 'ghi', 3);
--# key v
--# damage
UPDATE tor_keys.equal_values SET k = 1.00 WHERE v = 1;
UPDATE tor_keys.equal_values SET c = 'DEF' WHERE v = 2;
DELETE FROM tor_keys.equal_values WHERE v = 3;
--# zero_and_negative_zero | tor_keys.zeros
CREATE TABLE tor_keys.zeros (k float8 PRIMARY KEY, f float8, v int);
INSERT INTO tor_keys.zeros VALUES ('-0', '-0', 1), (1, 0, 2), (2, '-0', 3);
--# key v
--# damage
UPDATE tor_keys.zeros SET f = 0 WHERE v = 1;
UPDATE tor_keys.zeros SET f = '-0' WHERE v = 2;
DELETE FROM tor_keys.zeros WHERE v = 3;
--# many_columns_in_another_order | tor_keys.many
CREATE TABLE tor_keys.many (a int, b text, c date, d uuid, v text, PRIMARY KEY (d, b, a, c));
INSERT INTO tor_keys.many SELECT i % 3, 'b' || i % 2, date '2026-01-01' + i, md5(i::text)::uuid, 'v' || i
  FROM generate_series(1, 20) i;
--# damage
DELETE FROM tor_keys.many WHERE a = 0;
UPDATE tor_keys.many SET v = 'spoilt' WHERE a = 1;
--# nothing_but_a_key | tor_keys.only_key
CREATE TABLE tor_keys.only_key (k int PRIMARY KEY);
INSERT INTO tor_keys.only_key SELECT generate_series(1, 20);
--# damage
DELETE FROM tor_keys.only_key WHERE k % 3 = 0;
INSERT INTO tor_keys.only_key VALUES (100);
--# key_with_included_column | tor_keys.included
--# seen_as F10
CREATE TABLE tor_keys.included (id int, qty int, v text, PRIMARY KEY (id) INCLUDE (qty));
INSERT INTO tor_keys.included SELECT i, i, 'v' || i FROM generate_series(1, 20) i;
--# told 5 missing | 5 differing
--# damage
DELETE FROM tor_keys.included WHERE id <= 5;
UPDATE tor_keys.included SET qty = -1 WHERE id BETWEEN 6 AND 10;
--# deferrable_key | tor_keys.deferrable
CREATE TABLE tor_keys.deferrable (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
INSERT INTO tor_keys.deferrable SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_keys.deferrable WHERE id <= 3;
UPDATE tor_keys.deferrable SET v = 'spoilt' WHERE id = 5;
--# without_any_key | tor_keys.heap
CREATE TABLE tor_keys.heap (a int, b text);
INSERT INTO tor_keys.heap SELECT i % 3, 'same' FROM generate_series(1, 9) i;
--# refused merge replace | no primary key
--# damage
DELETE FROM tor_keys.heap WHERE a = 0;
--# unique_and_no_primary_key | tor_keys.unique_only
CREATE TABLE tor_keys.unique_only (a int NOT NULL UNIQUE, b text);
INSERT INTO tor_keys.unique_only SELECT i, 'b' || i FROM generate_series(1, 9) i;
--# damage
DELETE FROM tor_keys.unique_only WHERE a <= 3;
UPDATE tor_keys.unique_only SET b = 'spoilt' WHERE a = 5;
