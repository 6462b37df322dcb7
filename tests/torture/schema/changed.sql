-- Tables whose columns are others now than at the target: what fits is restored column by column, the rest is named.
CREATE SCHEMA tor_changed;
--# column_widened | tor_changed.widened
CREATE TABLE tor_changed.widened (id int PRIMARY KEY, v varchar(10), n int);
INSERT INTO tor_changed.widened SELECT i, 'v' || i, i FROM generate_series(1, 10) i;
--# changes
--# damage
ALTER TABLE tor_changed.widened ALTER v TYPE text, ALTER n TYPE bigint;
DELETE FROM tor_changed.widened WHERE id <= 3;
UPDATE tor_changed.widened SET v = 'spoilt' WHERE id = 5;
--# column_added | tor_changed.added
CREATE TABLE tor_changed.added (id int PRIMARY KEY, v text);
INSERT INTO tor_changed.added SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# changes
--# damage
ALTER TABLE tor_changed.added ADD COLUMN later int DEFAULT 7;
DELETE FROM tor_changed.added WHERE id <= 3;
UPDATE tor_changed.added SET v = 'spoilt' WHERE id = 5;
--# column_dropped | tor_changed.dropped
CREATE TABLE tor_changed.dropped (id int PRIMARY KEY, v text, gone text);
INSERT INTO tor_changed.dropped SELECT i, 'v' || i, 'g' || i FROM generate_series(1, 10) i;
--# changes gone
--# damage
ALTER TABLE tor_changed.dropped DROP COLUMN gone;
DELETE FROM tor_changed.dropped WHERE id <= 3;
UPDATE tor_changed.dropped SET v = 'spoilt' WHERE id = 5;
--# column_renamed | tor_changed.renamed
CREATE TABLE tor_changed.renamed (id int PRIMARY KEY, v text, qty int);
INSERT INTO tor_changed.renamed SELECT i, 'v' || i, i FROM generate_series(1, 10) i;
--# changes
--# renamed qty quantity
--# damage
ALTER TABLE tor_changed.renamed RENAME qty TO quantity;
DELETE FROM tor_changed.renamed WHERE id <= 3;
UPDATE tor_changed.renamed SET v = 'spoilt' WHERE id = 5;
--# columns_in_another_order | tor_changed.reordered
CREATE TABLE tor_changed.reordered (id int PRIMARY KEY, a text, b text);
INSERT INTO tor_changed.reordered SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 10) i;
--# changes
--# damage
ALTER TABLE tor_changed.reordered ADD COLUMN a2 text;
UPDATE tor_changed.reordered SET a2 = a;
ALTER TABLE tor_changed.reordered DROP COLUMN a;
ALTER TABLE tor_changed.reordered RENAME a2 TO a;
DELETE FROM tor_changed.reordered WHERE id <= 3;
UPDATE tor_changed.reordered SET b = 'spoilt' WHERE id = 5;
--# column_narrowed | tor_changed.narrowed
CREATE TABLE tor_changed.narrowed (id int PRIMARY KEY, v text, n bigint);
INSERT INTO tor_changed.narrowed SELECT i, 'a long value ' || i, 5000000000 + i FROM generate_series(1, 10) i;
--# changes v n
--# damage
DELETE FROM tor_changed.narrowed;
ALTER TABLE tor_changed.narrowed ALTER v TYPE varchar(4), ALTER n TYPE int;
--# column_not_null_now | tor_changed.required
CREATE TABLE tor_changed.required (id int PRIMARY KEY, v text);
INSERT INTO tor_changed.required SELECT i, CASE WHEN i > 2 THEN 'v' || i END FROM generate_series(1, 10) i;
--# changes
--# refused merge replace | do not meet | v is not null | --where
--# damage
DELETE FROM tor_changed.required WHERE id <= 3;
ALTER TABLE tor_changed.required ALTER v SET NOT NULL;
--# key_of_other_columns_now | tor_changed.rekeyed
CREATE TABLE tor_changed.rekeyed (id int PRIMARY KEY, v int NOT NULL);
INSERT INTO tor_changed.rekeyed SELECT i, i FROM generate_series(1, 10) i;
--# refused merge replace | another key than at the target
--# damage
ALTER TABLE tor_changed.rekeyed DROP CONSTRAINT rekeyed_pkey, ADD PRIMARY KEY (v);
DELETE FROM tor_changed.rekeyed WHERE id <= 3;
--# column_that_must_have_a_value_now | tor_changed.demanding
CREATE TABLE tor_changed.demanding (id int PRIMARY KEY, v text);
INSERT INTO tor_changed.demanding SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused merge replace | must have a value | due
--# damage
ALTER TABLE tor_changed.demanding ADD COLUMN due date;
UPDATE tor_changed.demanding SET due = '2026-01-01';
ALTER TABLE tor_changed.demanding ALTER due SET NOT NULL;
DELETE FROM tor_changed.demanding WHERE id <= 3;
--# key_that_the_copy_does_not_have | tor_changed.renumbered
CREATE TABLE tor_changed.renumbered (id int PRIMARY KEY, v text);
INSERT INTO tor_changed.renumbered SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused merge replace | cannot be compared | uid
--# damage
ALTER TABLE tor_changed.renumbered DROP CONSTRAINT renumbered_pkey, ADD COLUMN uid uuid DEFAULT gen_random_uuid() PRIMARY KEY;
DELETE FROM tor_changed.renumbered WHERE id <= 3;
--# foreign_table_by_that_name_now | tor_changed.foreign_now
CREATE TABLE tor_changed.foreign_now (id int PRIMARY KEY, v text);
INSERT INTO tor_changed.foreign_now SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused merge replace beside | is a foreign table
--# damage
DROP TABLE tor_changed.foreign_now;
CREATE FOREIGN TABLE tor_changed.foreign_now (id int, v text) SERVER tor_files OPTIONS (filename '/dev/null', format 'csv');
--# renamed_table | tor_changed.before
CREATE TABLE tor_changed.before (id int PRIMARY KEY, v text);
INSERT INTO tor_changed.before SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# only drop beside
--# refused drop | cannot be made | before_pkey
--# drop
ALTER TABLE tor_changed.before RENAME TO after;
--# damage
UPDATE tor_changed.before SET v = 'spoilt' WHERE id = 5;
--# enum_value_renamed | tor_changed.with_enum
CREATE TYPE tor_changed.state AS ENUM ('new', 'done');
CREATE TABLE tor_changed.with_enum (id int PRIMARY KEY, v tor_changed.state);
INSERT INTO tor_changed.with_enum SELECT i, 'new' FROM generate_series(1, 10) i;
--# refused merge replace | has other values | state
--# damage
ALTER TYPE tor_changed.state RENAME VALUE 'new' TO 'fresh';
DELETE FROM tor_changed.with_enum WHERE id <= 3;
--# enum_value_added | tor_changed.more_states
CREATE TYPE tor_changed.phase AS ENUM ('new', 'done');
CREATE TABLE tor_changed.more_states (id int PRIMARY KEY, v tor_changed.phase);
INSERT INTO tor_changed.more_states SELECT i, 'new' FROM generate_series(1, 10) i;
--# damage
ALTER TYPE tor_changed.phase ADD VALUE 'open' BEFORE 'done';
DELETE FROM tor_changed.more_states WHERE id <= 3;
UPDATE tor_changed.more_states SET v = 'done' WHERE id = 5;
--# type_that_is_gone | tor_changed.of_a_lost_type
CREATE TYPE tor_changed.lost AS ENUM ('a', 'b');
CREATE TABLE tor_changed.of_a_lost_type (id int PRIMARY KEY, v tor_changed.lost);
INSERT INTO tor_changed.of_a_lost_type SELECT i, 'a' FROM generate_series(1, 10) i;
--# only drop beside
--# refused drop beside | cannot be made | lost
--# drop
DROP TABLE tor_changed.of_a_lost_type;
DROP TYPE tor_changed.lost;
--# damage
DROP TABLE tor_changed.of_a_lost_type;
DROP TYPE tor_changed.lost;
--# schema_that_is_gone | tor_changed_2.inside
CREATE SCHEMA tor_changed_2;
CREATE TABLE tor_changed_2.inside (id int PRIMARY KEY, v text);
INSERT INTO tor_changed_2.inside SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# only drop
--# refused drop | cannot be made | tor_changed_2
--# drop
DROP SCHEMA tor_changed_2 CASCADE;
--# function_of_a_default_that_is_gone | tor_changed.of_a_lost_function
CREATE FUNCTION tor_changed.numbers() RETURNS int LANGUAGE sql AS 'SELECT 7';
CREATE TABLE tor_changed.of_a_lost_function (id int PRIMARY KEY, v int DEFAULT tor_changed.numbers());
INSERT INTO tor_changed.of_a_lost_function SELECT i FROM generate_series(1, 10) i;
--# only drop
--# refused drop | cannot be made | numbers
--# drop
DROP TABLE tor_changed.of_a_lost_function;
DROP FUNCTION tor_changed.numbers;
