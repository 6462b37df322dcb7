-- Every legal name: case, quotes, spaces, Chinese, 63 bytes, words of SQL, what looks like a placeholder.
CREATE SCHEMA tor_names;
CREATE SCHEMA "Tor ""Schéma"".names";
CREATE SCHEMA "量化.研究";
CREATE TABLE public.symbols (id text PRIMARY KEY, name text);
INSERT INTO public.symbols SELECT 's' || i, 'public' FROM generate_series(1, 5) i;
--# mixed_case | tor_names."OrderRecords"
CREATE TABLE tor_names."OrderRecords" ("Id" int PRIMARY KEY, "Qty" int, "qty" int);
INSERT INTO tor_names."OrderRecords" SELECT i, i, -i FROM generate_series(1, 30) i;
--# damage
DELETE FROM tor_names."OrderRecords" WHERE "Id" <= 5;
UPDATE tor_names."OrderRecords" SET "Qty" = 0 WHERE "Id" BETWEEN 6 AND 9;
INSERT INTO tor_names."OrderRecords" VALUES (100, 1, 1);
--# only_the_case_differs | tor_names.orderrecords
CREATE TABLE tor_names.orderrecords ("Id" int PRIMARY KEY, note text);
INSERT INTO tor_names.orderrecords SELECT i, 'lower ' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names.orderrecords WHERE "Id" <= 3;
UPDATE tor_names.orderrecords SET note = 'spoilt' WHERE "Id" = 4;
--# double_quotes_in_every_name | "Tor ""Schéma"".names"."say ""hello"""
CREATE TABLE "Tor ""Schéma"".names"."say ""hello""" ("the ""key""" int CONSTRAINT "pk ""of"" it" PRIMARY KEY, "a ""b""" text);
INSERT INTO "Tor ""Schéma"".names"."say ""hello""" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM "Tor ""Schéma"".names"."say ""hello""" WHERE "the ""key""" <= 3;
UPDATE "Tor ""Schéma"".names"."say ""hello""" SET "a ""b""" = '' WHERE "the ""key""" = 5;
--# single_quote_and_backslash | tor_names."it's a \table"
CREATE TABLE tor_names."it's a \table" ("i'd" int PRIMARY KEY, "back\slash" text);
INSERT INTO tor_names."it's a \table" SELECT i, E'a\\''b' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."it's a \table" WHERE "i'd" <= 3;
UPDATE tor_names."it's a \table" SET "back\slash" = '\' WHERE "i'd" = 5;
--# comma_and_space | tor_names."a, b"
CREATE TABLE tor_names."a, b" ("k, 1" int PRIMARY KEY, "v, 2" text);
INSERT INTO tor_names."a, b" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."a, b" WHERE "k, 1" <= 3;
UPDATE tor_names."a, b" SET "v, 2" = 'x' WHERE "k, 1" = 5;
--# dot_in_the_name | tor_names."v1.orders"
CREATE TABLE tor_names."v1.orders" (id int PRIMARY KEY, v text);
INSERT INTO tor_names."v1.orders" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."v1.orders" WHERE id <= 3;
UPDATE tor_names."v1.orders" SET v = 'x' WHERE id = 5;
--# chinese_schema_table_and_column | "量化.研究"."订单 表"
CREATE TABLE "量化.研究"."订单 表" ("编号" int PRIMARY KEY, "价格" numeric(12, 4), "备注" text DEFAULT '无');
INSERT INTO "量化.研究"."订单 表" SELECT i, i * 1.5, '单' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM "量化.研究"."订单 表" WHERE "编号" <= 3;
UPDATE "量化.研究"."订单 表" SET "备注" = '错' WHERE "编号" = 5;
--# sixty_three_bytes | tor_names.a23456789012345678901234567890123456789012345678901234567890123
CREATE TABLE tor_names.a23456789012345678901234567890123456789012345678901234567890123 (
  b23456789012345678901234567890123456789012345678901234567890123 int PRIMARY KEY, v text);
INSERT INTO tor_names.a23456789012345678901234567890123456789012345678901234567890123
  SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused beside replace | 63 bytes
--# damage
DELETE FROM tor_names.a23456789012345678901234567890123456789012345678901234567890123
  WHERE b23456789012345678901234567890123456789012345678901234567890123 <= 3;
--# sixty_three_bytes_in_21_characters | tor_names."一二三四五六七八九十一二三四五六七八九十一"
CREATE TABLE tor_names."一二三四五六七八九十一二三四五六七八九十一" (id int PRIMARY KEY, v text);
INSERT INTO tor_names."一二三四五六七八九十一二三四五六七八九十一" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused beside replace | 63 bytes
--# damage
DELETE FROM tor_names."一二三四五六七八九十一二三四五六七八九十一" WHERE id <= 3;
--# left_of_an_earlier_restore | tor_names.restored_before
CREATE TABLE tor_names.restored_before (id int PRIMARY KEY, v text);
INSERT INTO tor_names.restored_before SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# refused replace beside | is there already
--# damage
CREATE TABLE tor_names.restored_before_replaced (id int);
CREATE VIEW tor_names.restored_before_restored AS SELECT 1 AS id;
DELETE FROM tor_names.restored_before WHERE id <= 3;
--# words_of_sql | tor_names."select"
CREATE TABLE tor_names."select" ("from" int PRIMARY KEY, "where" text, "null" boolean, "t" int, "hash" int, "bucket" int);
INSERT INTO tor_names."select" SELECT i, 'v' || i, i % 2 = 0, i, i, i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."select" WHERE "from" <= 3;
UPDATE tor_names."select" SET "bucket" = 0, "hash" = 0 WHERE "from" = 5;
--# placeholders | tor_names."%s :x @LIST@ $1 {y}"
CREATE TABLE tor_names."%s :x @LIST@ $1 {y}" ("%(a)s" int PRIMARY KEY, ":'v'" text, "@FIRST@" text);
INSERT INTO tor_names."%s :x @LIST@ $1 {y}" SELECT i, ':x' || i, '@ALL@' FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."%s :x @LIST@ $1 {y}" WHERE "%(a)s" <= 3;
UPDATE tor_names."%s :x @LIST@ $1 {y}" SET ":'v'" = '%' WHERE "%(a)s" = 5;
--# comment_marks_and_semicolon | tor_names."a--b; /*c*/"
CREATE TABLE tor_names."a--b; /*c*/" ("k--" int PRIMARY KEY, "v;" text);
INSERT INTO tor_names."a--b; /*c*/" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."a--b; /*c*/" WHERE "k--" <= 3;
UPDATE tor_names."a--b; /*c*/" SET "v;" = ';' WHERE "k--" = 5;
--# newline_and_tab | tor_names.U&"a\000Ab\0009c"
CREATE TABLE tor_names.U&"a\000Ab\0009c" (U&"k\000A" int PRIMARY KEY, v text);
INSERT INTO tor_names.U&"a\000Ab\0009c" SELECT i, E'v\n' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names.U&"a\000Ab\0009c" WHERE U&"k\000A" <= 3;
UPDATE tor_names.U&"a\000Ab\0009c" SET v = E'\t' WHERE U&"k\000A" = 5;
--# begins_with_a_dash | tor_names."--help"
CREATE TABLE tor_names."--help" ("-1" int PRIMARY KEY, v text);
INSERT INTO tor_names."--help" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."--help" WHERE "-1" <= 3;
UPDATE tor_names."--help" SET v = '' WHERE "-1" = 5;
--# pattern_of_pg_dump | tor_names."ord*rs|x?(y)"
CREATE TABLE tor_names."ord*rs|x?(y)" (id int PRIMARY KEY, v text);
CREATE TABLE tor_names.orders_x_y (id int PRIMARY KEY);
INSERT INTO tor_names."ord*rs|x?(y)" SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names."ord*rs|x?(y)" WHERE id <= 3;
UPDATE tor_names."ord*rs|x?(y)" SET v = '' WHERE id = 5;
--# same_name_in_two_schemas | "量化.研究".orders_x_y
CREATE TABLE "量化.研究".orders_x_y (id int PRIMARY KEY, v text);
INSERT INTO "量化.研究".orders_x_y SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM "量化.研究".orders_x_y WHERE id <= 3;
UPDATE "量化.研究".orders_x_y SET v = '' WHERE id = 5;
--# same_name_as_in_public | tor_names.symbols
--# same public.symbols
CREATE TABLE tor_names.symbols (id int PRIMARY KEY, v text);
INSERT INTO tor_names.symbols SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_names.symbols WHERE id <= 3;
UPDATE tor_names.symbols SET v = '' WHERE id = 5;
--# in_public | tor_in_public
CREATE TABLE public.tor_in_public (id int PRIMARY KEY, v text);
INSERT INTO public.tor_in_public SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM public.tor_in_public WHERE id <= 3;
UPDATE public.tor_in_public SET v = '' WHERE id = 5;
