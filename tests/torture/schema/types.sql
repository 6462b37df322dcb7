-- Every type of column, each in a table of six rows that two are taken from and two exchange their values.
CREATE SCHEMA tor_types;
CREATE TYPE tor_types.mood AS ENUM ('happy', 'sad', 'ok');
ALTER TYPE tor_types.mood ADD VALUE 'between' AFTER 'happy';
CREATE DOMAIN tor_types.price AS numeric CHECK (VALUE > 0);
CREATE DOMAIN tor_types.shorts AS int[] CHECK (cardinality(VALUE) < 5);
CREATE TYPE tor_types.leg AS (symbol text, qty int, lots int[]);
CREATE TYPE tor_types.floats AS RANGE (subtype = float8, subtype_diff = float8mi);
--# enums | tor_types.enums
CREATE TABLE tor_types.enums (id int PRIMARY KEY, v tor_types.mood);
INSERT INTO tor_types.enums VALUES (1, 'sad'), (2, 'ok'), (3, 'happy'), (4, 'ok'), (5, 'sad'), (6, 'happy');
--# damage
DELETE FROM tor_types.enums WHERE id IN (1, 3);
UPDATE tor_types.enums t SET v = o.v FROM tor_types.enums o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.enums SELECT 7, v FROM tor_types.enums WHERE id = 4;
--# arrays_of_enums | tor_types.arrays_of_enums
CREATE TABLE tor_types.arrays_of_enums (id int PRIMARY KEY, v tor_types.mood[]);
INSERT INTO tor_types.arrays_of_enums VALUES (1, '{sad}'), (2, '{}'), (3, '{ok,NULL}'), (4, '{{sad,ok},{ok,sad}}'), (5, '[0:1]={sad,ok}'), (6, NULL);
--# damage
DELETE FROM tor_types.arrays_of_enums WHERE id IN (1, 3);
UPDATE tor_types.arrays_of_enums t SET v = o.v FROM tor_types.arrays_of_enums o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.arrays_of_enums SELECT 7, v FROM tor_types.arrays_of_enums WHERE id = 4;
--# domains | tor_types.domains
CREATE TABLE tor_types.domains (id int PRIMARY KEY, v tor_types.price);
INSERT INTO tor_types.domains VALUES (1, 1.00), (2, 1.0), (3, 2.50), (4, 0.01), (5, 99.99), (6, NULL);
--# damage
DELETE FROM tor_types.domains WHERE id IN (1, 3);
UPDATE tor_types.domains t SET v = o.v FROM tor_types.domains o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.domains SELECT 7, v FROM tor_types.domains WHERE id = 4;
--# domains_over_arrays | tor_types.domains_over_arrays
CREATE TABLE tor_types.domains_over_arrays (id int PRIMARY KEY, v tor_types.shorts);
INSERT INTO tor_types.domains_over_arrays VALUES (1, '{1}'), (2, '{1,2}'), (3, '{}'), (4, '{3,NULL}'), (5, '{5}'), (6, NULL);
--# damage
DELETE FROM tor_types.domains_over_arrays WHERE id IN (1, 3);
UPDATE tor_types.domains_over_arrays t SET v = o.v FROM tor_types.domains_over_arrays o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.domains_over_arrays SELECT 7, v FROM tor_types.domains_over_arrays WHERE id = 4;
--# composites | tor_types.composites
CREATE TABLE tor_types.composites (id int PRIMARY KEY, v tor_types.leg);
INSERT INTO tor_types.composites VALUES (1, '(IBM,1,"{1,2}")'), (2, '(,,)'), (3, '("a,b",2,)'), (4, '("a""b",3,"{}")'), (5, '(x,4,)'), (6, NULL);
--# damage
DELETE FROM tor_types.composites WHERE id IN (1, 3);
UPDATE tor_types.composites t SET v = o.v FROM tor_types.composites o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.composites SELECT 7, v FROM tor_types.composites WHERE id = 4;
--# arrays_of_composites | tor_types.arrays_of_composites
CREATE TABLE tor_types.arrays_of_composites (id int PRIMARY KEY, v tor_types.leg[]);
INSERT INTO tor_types.arrays_of_composites VALUES (1, '{"(IBM,1,)"}'), (2, '{}'), (3, '{"(a,1,)","(b,2,)"}'), (4, '{NULL}'), (5, '{"(x,4,)"}'), (6, NULL);
--# damage
DELETE FROM tor_types.arrays_of_composites WHERE id IN (1, 3);
UPDATE tor_types.arrays_of_composites t SET v = o.v FROM tor_types.arrays_of_composites o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.arrays_of_composites SELECT 7, v FROM tor_types.arrays_of_composites WHERE id = 4;
--# ranges | tor_types.ranges
CREATE TABLE tor_types.ranges (id int PRIMARY KEY, v tstzrange);
INSERT INTO tor_types.ranges VALUES (1, '[2026-01-01,2026-02-01)'), (2, 'empty'), (3, '(,)'), (4, '[2026-01-01 00:00:00+08,)'), (5, '(,2026-01-01]'), (6, NULL);
--# damage
DELETE FROM tor_types.ranges WHERE id IN (1, 3);
UPDATE tor_types.ranges t SET v = o.v FROM tor_types.ranges o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.ranges SELECT 7, v FROM tor_types.ranges WHERE id = 4;
--# own_ranges | tor_types.own_ranges
CREATE TABLE tor_types.own_ranges (id int PRIMARY KEY, v tor_types.floats);
INSERT INTO tor_types.own_ranges VALUES (1, '[1.5,2.5]'), (2, 'empty'), (3, '(,2.5)'), (4, '[0,Infinity)'), (5, '[1,1]'), (6, NULL);
--# damage
DELETE FROM tor_types.own_ranges WHERE id IN (1, 3);
UPDATE tor_types.own_ranges t SET v = o.v FROM tor_types.own_ranges o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.own_ranges SELECT 7, v FROM tor_types.own_ranges WHERE id = 4;
--# multiranges | tor_types.multiranges
CREATE TABLE tor_types.multiranges (id int PRIMARY KEY, v int8multirange);
INSERT INTO tor_types.multiranges VALUES (1, '{[1,3),[5,9)}'), (2, '{}'), (3, '{(,)}'), (4, '{[1,2)}'), (5, '{[1,2),[4,)}'), (6, NULL);
--# damage
DELETE FROM tor_types.multiranges WHERE id IN (1, 3);
UPDATE tor_types.multiranges t SET v = o.v FROM tor_types.multiranges o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.multiranges SELECT 7, v FROM tor_types.multiranges WHERE id = 4;
--# json_with_its_spaces | tor_types.json_with_its_spaces
CREATE TABLE tor_types.json_with_its_spaces (id int PRIMARY KEY, v json);
INSERT INTO tor_types.json_with_its_spaces VALUES (1, '{"a": 1}'), (2, '{"a":1}'), (3, '{"b":1,"a":1,"a":2}'), (4, 'null'), (5, '[1.0, 1.00]'), (6, NULL);
--# damage
DELETE FROM tor_types.json_with_its_spaces WHERE id IN (1, 3);
UPDATE tor_types.json_with_its_spaces t SET v = o.v FROM tor_types.json_with_its_spaces o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.json_with_its_spaces SELECT 7, v FROM tor_types.json_with_its_spaces WHERE id = 4;
--# jsonb_numbers | tor_types.jsonb_numbers
CREATE TABLE tor_types.jsonb_numbers (id int PRIMARY KEY, v jsonb);
INSERT INTO tor_types.jsonb_numbers VALUES (1, '{"a": 1.0}'), (2, '{"a": 1.00}'), (3, '{"a":1}'), (4, 'null'), (5, '"x"'), (6, NULL);
--# damage
DELETE FROM tor_types.jsonb_numbers WHERE id IN (1, 3);
UPDATE tor_types.jsonb_numbers t SET v = o.v FROM tor_types.jsonb_numbers o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.jsonb_numbers SELECT 7, v FROM tor_types.jsonb_numbers WHERE id = 4;
--# xml | tor_types.xml
CREATE TABLE tor_types.xml (id int PRIMARY KEY, v xml);
INSERT INTO tor_types.xml VALUES (1, '<a/>'), (2, '<a></a>'), (3, '<a>text &amp; more</a>'), (4, '<?xml version="1.0"?><a/>'), (5, 'x'), (6, NULL);
--# damage
DELETE FROM tor_types.xml WHERE id IN (1, 3);
UPDATE tor_types.xml t SET v = o.v FROM tor_types.xml o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.xml SELECT 7, v FROM tor_types.xml WHERE id = 4;
--# domain_over_xml | tor_types.domain_over_xml
CREATE DOMAIN tor_types.page AS xml;
CREATE DOMAIN tor_types.page_there AS tor_types.page CHECK (VALUE IS NOT NULL);
CREATE TABLE tor_types.domain_over_xml (id int PRIMARY KEY, v tor_types.page, w tor_types.page_there, many xml[]);
INSERT INTO tor_types.domain_over_xml VALUES (1, '<a/>', '<?xml version="1.0"?><a/>', '{"<?xml version=''1.0''?><a/>",NULL}'), (2, '<?xml version="1.0"?><b/>', '<b/>', '{}'),
  (3, NULL, 'x', NULL), (4, '', '<?xml version="1.0" standalone="yes"?><a/>', '{x}'), (5, 'x', '', '{""}');
--# damage
DELETE FROM tor_types.domain_over_xml WHERE id IN (1, 3);
UPDATE tor_types.domain_over_xml SET v = '<c/>' WHERE id = 2;
UPDATE tor_types.domain_over_xml SET v = NULL WHERE id = 4;
UPDATE tor_types.domain_over_xml SET many = '{NULL}' WHERE id = 5;
--# money | tor_types.money
CREATE TABLE tor_types.money (id int PRIMARY KEY, v money);
INSERT INTO tor_types.money VALUES (1, '1.00'), (2, '-5.25'), (3, '0'), (4, '92233720368547758.07'), (5, '12.34'), (6, NULL);
--# damage
DELETE FROM tor_types.money WHERE id IN (1, 3);
UPDATE tor_types.money t SET v = o.v FROM tor_types.money o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.money SELECT 7, v FROM tor_types.money WHERE id = 4;
--# bit_strings | tor_types.bit_strings
CREATE TABLE tor_types.bit_strings (id int PRIMARY KEY, v bit(12));
INSERT INTO tor_types.bit_strings VALUES (1, B'101010101010'), (2, B'000000000000'), (3, B'111111111111'), (4, B'000000000001'), (5, B'100000000000'), (6, NULL);
--# damage
DELETE FROM tor_types.bit_strings WHERE id IN (1, 3);
UPDATE tor_types.bit_strings t SET v = o.v FROM tor_types.bit_strings o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.bit_strings SELECT 7, v FROM tor_types.bit_strings WHERE id = 4;
--# varying_bit_strings | tor_types.varying_bit_strings
CREATE TABLE tor_types.varying_bit_strings (id int PRIMARY KEY, v bit varying);
INSERT INTO tor_types.varying_bit_strings VALUES (1, B'1'), (2, B''), (3, B'0001'), (4, B'01'), (5, B'001'), (6, NULL);
--# damage
DELETE FROM tor_types.varying_bit_strings WHERE id IN (1, 3);
UPDATE tor_types.varying_bit_strings t SET v = o.v FROM tor_types.varying_bit_strings o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.varying_bit_strings SELECT 7, v FROM tor_types.varying_bit_strings WHERE id = 4;
--# points | tor_types.points
CREATE TABLE tor_types.points (id int PRIMARY KEY, v point);
INSERT INTO tor_types.points VALUES (1, '(1,2)'), (2, '(0,-0)'), (3, '(NaN,1)'), (4, '(Infinity,2)'), (5, '(1e-300,3)'), (6, NULL);
--# damage
DELETE FROM tor_types.points WHERE id IN (1, 3);
UPDATE tor_types.points t SET v = o.v FROM tor_types.points o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.points SELECT 7, v FROM tor_types.points WHERE id = 4;
--# lines_and_boxes | tor_types.lines_and_boxes
CREATE TABLE tor_types.lines_and_boxes (id int PRIMARY KEY, v box);
INSERT INTO tor_types.lines_and_boxes VALUES (1, '((0,0),(1,1))'), (2, '((1,1),(0,0))'), (3, '((-1,2),(3,-4))'), (4, '((0,0),(0,0))'), (5, '((5,5),(6,6))'), (6, NULL);
--# damage
DELETE FROM tor_types.lines_and_boxes WHERE id IN (1, 3);
UPDATE tor_types.lines_and_boxes t SET v = o.v FROM tor_types.lines_and_boxes o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.lines_and_boxes SELECT 7, v FROM tor_types.lines_and_boxes WHERE id = 4;
--# segments | tor_types.segments
CREATE TABLE tor_types.segments (id int PRIMARY KEY, v lseg);
INSERT INTO tor_types.segments VALUES (1, '[(0,0),(1,1)]'), (2, '[(1,1),(0,0)]'), (3, '[(0,0),(0,0)]'), (4, '[(2,3),(4,5)]'), (5, '[(9,9),(8,8)]'), (6, NULL);
--# damage
DELETE FROM tor_types.segments WHERE id IN (1, 3);
UPDATE tor_types.segments t SET v = o.v FROM tor_types.segments o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.segments SELECT 7, v FROM tor_types.segments WHERE id = 4;
--# paths | tor_types.paths
CREATE TABLE tor_types.paths (id int PRIMARY KEY, v path);
INSERT INTO tor_types.paths VALUES (1, '((0,0),(1,1))'), (2, '[(0,0),(1,1)]'), (3, '((0,0))'), (4, '[(2,3),(4,5),(6,7)]'), (5, '((9,9),(8,8))'), (6, NULL);
--# damage
DELETE FROM tor_types.paths WHERE id IN (1, 3);
UPDATE tor_types.paths t SET v = o.v FROM tor_types.paths o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.paths SELECT 7, v FROM tor_types.paths WHERE id = 4;
--# polygons | tor_types.polygons
CREATE TABLE tor_types.polygons (id int PRIMARY KEY, v polygon);
INSERT INTO tor_types.polygons VALUES (1, '((0,0),(1,1),(1,0))'), (2, '((1,0),(0,0),(1,1))'), (3, '((0,0))'), (4, '((2,3),(4,5),(6,7))'), (5, '((9,9),(8,8))'), (6, NULL);
--# damage
DELETE FROM tor_types.polygons WHERE id IN (1, 3);
UPDATE tor_types.polygons t SET v = o.v FROM tor_types.polygons o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.polygons SELECT 7, v FROM tor_types.polygons WHERE id = 4;
--# circles | tor_types.circles
CREATE TABLE tor_types.circles (id int PRIMARY KEY, v circle);
INSERT INTO tor_types.circles VALUES (1, '<(0,0),1>'), (2, '<(1,1),1>'), (3, '<(0,0),0>'), (4, '<(2,3),4>'), (5, '<(9,9),8>'), (6, NULL);
--# damage
DELETE FROM tor_types.circles WHERE id IN (1, 3);
UPDATE tor_types.circles t SET v = o.v FROM tor_types.circles o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.circles SELECT 7, v FROM tor_types.circles WHERE id = 4;
--# infinite_lines | tor_types.infinite_lines
CREATE TABLE tor_types.infinite_lines (id int PRIMARY KEY, v line);
INSERT INTO tor_types.infinite_lines VALUES (1, '{1,2,3}'), (2, '{2,4,6}'), (3, '{0,1,0}'), (4, '{1,0,0}'), (5, '{5,5,5}'), (6, NULL);
--# damage
DELETE FROM tor_types.infinite_lines WHERE id IN (1, 3);
UPDATE tor_types.infinite_lines t SET v = o.v FROM tor_types.infinite_lines o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.infinite_lines SELECT 7, v FROM tor_types.infinite_lines WHERE id = 4;
--# bytes | tor_types.bytes
CREATE TABLE tor_types.bytes (id int PRIMARY KEY, v bytea);
INSERT INTO tor_types.bytes VALUES (1, '\x00'), (2, '\x'), (3, '\x5c27'), (4, '\xdeadbeef'), (5, '\x0a0d09'), (6, NULL);
--# damage
DELETE FROM tor_types.bytes WHERE id IN (1, 3);
UPDATE tor_types.bytes t SET v = o.v FROM tor_types.bytes o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.bytes SELECT 7, v FROM tor_types.bytes WHERE id = 4;
--# full_text_vectors | tor_types.full_text_vectors
CREATE TABLE tor_types.full_text_vectors (id int PRIMARY KEY, v tsvector);
INSERT INTO tor_types.full_text_vectors VALUES (1, 'a:1 b:2'), (2, 'a:1A'), (3, ''), (4, '''it''''s'':3'), (5, 'x'), (6, NULL);
--# damage
DELETE FROM tor_types.full_text_vectors WHERE id IN (1, 3);
UPDATE tor_types.full_text_vectors t SET v = o.v FROM tor_types.full_text_vectors o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.full_text_vectors SELECT 7, v FROM tor_types.full_text_vectors WHERE id = 4;
--# full_text_queries | tor_types.full_text_queries
CREATE TABLE tor_types.full_text_queries (id int PRIMARY KEY, v tsquery);
INSERT INTO tor_types.full_text_queries VALUES (1, 'a & b'), (2, 'a | !b'), (3, 'a <-> b'), (4, '''x y'':*'), (5, 'a:AB'), (6, NULL);
--# damage
DELETE FROM tor_types.full_text_queries WHERE id IN (1, 3);
UPDATE tor_types.full_text_queries t SET v = o.v FROM tor_types.full_text_queries o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.full_text_queries SELECT 7, v FROM tor_types.full_text_queries WHERE id = 4;
--# addresses | tor_types.addresses
CREATE TABLE tor_types.addresses (id int PRIMARY KEY, v inet);
INSERT INTO tor_types.addresses VALUES (1, '10.0.0.1'), (2, '10.0.0.1/8'), (3, '::1'), (4, '::ffff:1.2.3.4'), (5, '192.168.0.0/24'), (6, NULL);
--# damage
DELETE FROM tor_types.addresses WHERE id IN (1, 3);
UPDATE tor_types.addresses t SET v = o.v FROM tor_types.addresses o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.addresses SELECT 7, v FROM tor_types.addresses WHERE id = 4;
--# networks | tor_types.networks
CREATE TABLE tor_types.networks (id int PRIMARY KEY, v cidr);
INSERT INTO tor_types.networks VALUES (1, '10.0.0.0/8'), (2, '::/0'), (3, '192.168.0.0/24'), (4, '10.1.0.0/16'), (5, 'fe80::/10'), (6, NULL);
--# damage
DELETE FROM tor_types.networks WHERE id IN (1, 3);
UPDATE tor_types.networks t SET v = o.v FROM tor_types.networks o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.networks SELECT 7, v FROM tor_types.networks WHERE id = 4;
--# hardware_addresses | tor_types.hardware_addresses
CREATE TABLE tor_types.hardware_addresses (id int PRIMARY KEY, v macaddr8);
INSERT INTO tor_types.hardware_addresses VALUES (1, '08:00:2b:01:02:03'), (2, '08:00:2b:01:02:03:04:05'), (3, '00:00:00:00:00:00'), (4, 'ff:ff:ff:ff:ff:ff'), (5, '01:02:03:04:05:06'), (6, NULL);
--# damage
DELETE FROM tor_types.hardware_addresses WHERE id IN (1, 3);
UPDATE tor_types.hardware_addresses t SET v = o.v FROM tor_types.hardware_addresses o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.hardware_addresses SELECT 7, v FROM tor_types.hardware_addresses WHERE id = 4;
--# uuids | tor_types.uuids
CREATE TABLE tor_types.uuids (id int PRIMARY KEY, v uuid);
INSERT INTO tor_types.uuids VALUES (1, '00000000-0000-0000-0000-000000000000'), (2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), (3, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (4, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (5, 'c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (6, NULL);
--# damage
DELETE FROM tor_types.uuids WHERE id IN (1, 3);
UPDATE tor_types.uuids t SET v = o.v FROM tor_types.uuids o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.uuids SELECT 7, v FROM tor_types.uuids WHERE id = 4;
--# equal_intervals | tor_types.equal_intervals
CREATE TABLE tor_types.equal_intervals (id int PRIMARY KEY, v interval);
INSERT INTO tor_types.equal_intervals VALUES (1, '1 day'), (2, '24 hours'), (3, '1 mon'), (4, '30 days'), (5, '-1 year 2 mons'), (6, NULL);
--# damage
DELETE FROM tor_types.equal_intervals WHERE id IN (1, 3);
UPDATE tor_types.equal_intervals t SET v = o.v FROM tor_types.equal_intervals o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.equal_intervals SELECT 7, v FROM tor_types.equal_intervals WHERE id = 4;
--# infinite_times | tor_types.infinite_times
CREATE TABLE tor_types.infinite_times (id int PRIMARY KEY, v timestamptz);
INSERT INTO tor_types.infinite_times VALUES (1, 'infinity'), (2, '-infinity'), (3, '2026-01-01 00:00:00+08'), (4, '0044-03-15 12:00:00+00 BC'), (5, '294276-12-31 23:59:59+00'), (6, NULL);
--# damage
DELETE FROM tor_types.infinite_times WHERE id IN (1, 3);
UPDATE tor_types.infinite_times t SET v = o.v FROM tor_types.infinite_times o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.infinite_times SELECT 7, v FROM tor_types.infinite_times WHERE id = 4;
--# infinite_dates | tor_types.infinite_dates
CREATE TABLE tor_types.infinite_dates (id int PRIMARY KEY, v date);
INSERT INTO tor_types.infinite_dates VALUES (1, 'infinity'), (2, '-infinity'), (3, '2026-02-28'), (4, '4713-01-01 BC'), (5, '5874897-12-31'), (6, NULL);
--# damage
DELETE FROM tor_types.infinite_dates WHERE id IN (1, 3);
UPDATE tor_types.infinite_dates t SET v = o.v FROM tor_types.infinite_dates o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.infinite_dates SELECT 7, v FROM tor_types.infinite_dates WHERE id = 4;
--# local_times | tor_types.local_times
CREATE TABLE tor_types.local_times (id int PRIMARY KEY, v timestamp(3));
INSERT INTO tor_types.local_times VALUES (1, '2026-01-01 00:00:00.001'), (2, 'infinity'), (3, '-infinity'), (4, '1900-01-01'), (5, '2026-06-30 23:59:60'), (6, NULL);
--# damage
DELETE FROM tor_types.local_times WHERE id IN (1, 3);
UPDATE tor_types.local_times t SET v = o.v FROM tor_types.local_times o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.local_times SELECT 7, v FROM tor_types.local_times WHERE id = 4;
--# times_with_zone | tor_types.times_with_zone
CREATE TABLE tor_types.times_with_zone (id int PRIMARY KEY, v timetz);
INSERT INTO tor_types.times_with_zone VALUES (1, '12:00+08'), (2, '12:00+00'), (3, '24:00:00+00'), (4, '00:00+15:59'), (5, '04:00+00'), (6, NULL);
--# damage
DELETE FROM tor_types.times_with_zone WHERE id IN (1, 3);
UPDATE tor_types.times_with_zone t SET v = o.v FROM tor_types.times_with_zone o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.times_with_zone SELECT 7, v FROM tor_types.times_with_zone WHERE id = 4;
--# numerics_of_many_scales | tor_types.numerics_of_many_scales
CREATE TABLE tor_types.numerics_of_many_scales (id int PRIMARY KEY, v numeric);
INSERT INTO tor_types.numerics_of_many_scales VALUES (1, 1.0), (2, 1.00), (3, 1), (4, 'NaN'), (5, 'Infinity'), (6, '-Infinity');
--# damage
DELETE FROM tor_types.numerics_of_many_scales WHERE id IN (1, 3);
UPDATE tor_types.numerics_of_many_scales t SET v = o.v FROM tor_types.numerics_of_many_scales o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.numerics_of_many_scales SELECT 7, v FROM tor_types.numerics_of_many_scales WHERE id = 4;
--# numbers_that_postgresql_hashes_alike | tor_types.numbers_that_postgresql_hashes_alike
CREATE TABLE tor_types.numbers_that_postgresql_hashes_alike (id int PRIMARY KEY, v numeric(20,4), n bigint);
INSERT INTO tor_types.numbers_that_postgresql_hashes_alike VALUES (1, 1.5, 1), (2, -1.5, 2), (3, 'NaN', -3), (4, 40, 4), (5, 5, -5), (6, NULL, NULL);
--# damage
UPDATE tor_types.numbers_that_postgresql_hashes_alike SET v = -v WHERE id IN (1, 2);
UPDATE tor_types.numbers_that_postgresql_hashes_alike SET n = n + (1::bigint << 32) WHERE id IN (3, 5);
UPDATE tor_types.numbers_that_postgresql_hashes_alike SET n = n << 32 WHERE id = 4;
--# long_numerics | tor_types.long_numerics
CREATE TABLE tor_types.long_numerics (id int PRIMARY KEY, v numeric);
INSERT INTO tor_types.long_numerics VALUES (1, 1e1000), (2, -1e-1000), (3, 0), (4, 0.0), (5, 1234567890123456789012345678901234567890.5), (6, NULL);
--# damage
DELETE FROM tor_types.long_numerics WHERE id IN (1, 3);
UPDATE tor_types.long_numerics t SET v = o.v FROM tor_types.long_numerics o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.long_numerics SELECT 7, v FROM tor_types.long_numerics WHERE id = 4;
--# negative_scale | tor_types.negative_scale
CREATE TABLE tor_types.negative_scale (id int PRIMARY KEY, v numeric(6,-2));
INSERT INTO tor_types.negative_scale VALUES (1, 12345600), (2, 100), (3, -700), (4, 0), (5, 99999900), (6, NULL);
--# damage
DELETE FROM tor_types.negative_scale WHERE id IN (1, 3);
UPDATE tor_types.negative_scale t SET v = o.v FROM tor_types.negative_scale o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.negative_scale SELECT 7, v FROM tor_types.negative_scale WHERE id = 4;
--# floats_with_nan | tor_types.floats_with_nan
CREATE TABLE tor_types.floats_with_nan (id int PRIMARY KEY, v float8);
INSERT INTO tor_types.floats_with_nan VALUES (1, 'NaN'), (2, 'Infinity'), (3, '-Infinity'), (4, '-0'), (5, '1e-310'), (6, 0.1);
--# damage
DELETE FROM tor_types.floats_with_nan WHERE id IN (1, 3);
UPDATE tor_types.floats_with_nan t SET v = o.v FROM tor_types.floats_with_nan o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.floats_with_nan SELECT 7, v FROM tor_types.floats_with_nan WHERE id = 4;
--# small_floats | tor_types.small_floats
CREATE TABLE tor_types.small_floats (id int PRIMARY KEY, v real);
INSERT INTO tor_types.small_floats VALUES (1, 'NaN'), (2, '-0'), (3, '1e-40'), (4, '3.4028235e38'), (5, 0.1), (6, NULL);
--# damage
DELETE FROM tor_types.small_floats WHERE id IN (1, 3);
UPDATE tor_types.small_floats t SET v = o.v FROM tor_types.small_floats o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.small_floats SELECT 7, v FROM tor_types.small_floats WHERE id = 4;
--# padded_characters | tor_types.padded_characters
CREATE TABLE tor_types.padded_characters (id int PRIMARY KEY, v char(5));
INSERT INTO tor_types.padded_characters VALUES (1, 'a'), (2, 'a    '), (3, ''), (4, ' b'), (5, 'abcde'), (6, NULL);
--# damage
DELETE FROM tor_types.padded_characters WHERE id IN (1, 3);
UPDATE tor_types.padded_characters t SET v = o.v FROM tor_types.padded_characters o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.padded_characters SELECT 7, v FROM tor_types.padded_characters WHERE id = 4;
--# one_byte_characters | tor_types.one_byte_characters
CREATE TABLE tor_types.one_byte_characters (id int PRIMARY KEY, v "char");
INSERT INTO tor_types.one_byte_characters VALUES (1, 'a'), (2, ''), (3, 'Z'), (4, '\377'), (5, '0'), (6, NULL);
--# damage
DELETE FROM tor_types.one_byte_characters WHERE id IN (1, 3);
UPDATE tor_types.one_byte_characters t SET v = o.v FROM tor_types.one_byte_characters o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.one_byte_characters SELECT 7, v FROM tor_types.one_byte_characters WHERE id = 4;
--# texts_of_every_kind | tor_types.texts_of_every_kind
CREATE TABLE tor_types.texts_of_every_kind (id int PRIMARY KEY, v text);
INSERT INTO tor_types.texts_of_every_kind VALUES (1, ''), (2, E'a\nb\tc\rd'), (3, E'\\N'), (4, '\.'), (5, '量化 🐂'), (6, NULL);
--# damage
DELETE FROM tor_types.texts_of_every_kind WHERE id IN (1, 3);
UPDATE tor_types.texts_of_every_kind t SET v = o.v FROM tor_types.texts_of_every_kind o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.texts_of_every_kind SELECT 7, v FROM tor_types.texts_of_every_kind WHERE id = 4;
--# names_as_values | tor_types.names_as_values
CREATE TABLE tor_types.names_as_values (id int PRIMARY KEY, v name);
INSERT INTO tor_types.names_as_values VALUES (1, 'a'), (2, 'A'), (3, 'a23456789012345678901234567890123456789012345678901234567890123'), (4, '订单'), (5, ''), (6, NULL);
--# damage
DELETE FROM tor_types.names_as_values WHERE id IN (1, 3);
UPDATE tor_types.names_as_values t SET v = o.v FROM tor_types.names_as_values o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.names_as_values SELECT 7, v FROM tor_types.names_as_values WHERE id = 4;
--# booleans_with_null | tor_types.booleans_with_null
CREATE TABLE tor_types.booleans_with_null (id int PRIMARY KEY, v boolean);
INSERT INTO tor_types.booleans_with_null VALUES (1, true), (2, false), (3, true), (4, NULL), (5, false), (6, true);
--# damage
DELETE FROM tor_types.booleans_with_null WHERE id IN (1, 3);
UPDATE tor_types.booleans_with_null t SET v = o.v FROM tor_types.booleans_with_null o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.booleans_with_null SELECT 7, v FROM tor_types.booleans_with_null WHERE id = 4;
--# arrays_with_bounds | tor_types.arrays_with_bounds
CREATE TABLE tor_types.arrays_with_bounds (id int PRIMARY KEY, v int[]);
INSERT INTO tor_types.arrays_with_bounds VALUES (1, '{1,2}'), (2, '[0:1]={1,2}'), (3, '{{1,2},{3,4}}'), (4, '{}'), (5, '{NULL}'), (6, NULL);
--# damage
DELETE FROM tor_types.arrays_with_bounds WHERE id IN (1, 3);
UPDATE tor_types.arrays_with_bounds t SET v = o.v FROM tor_types.arrays_with_bounds o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.arrays_with_bounds SELECT 7, v FROM tor_types.arrays_with_bounds WHERE id = 4;
--# arrays_of_text | tor_types.arrays_of_text
CREATE TABLE tor_types.arrays_of_text (id int PRIMARY KEY, v text[]);
INSERT INTO tor_types.arrays_of_text VALUES (1, '{a}'), (2, '{"a,b"}'), (3, '{"NULL",NULL}'), (4, '{""}'), (5, '{"a\"b\\c"}'), (6, NULL);
--# damage
DELETE FROM tor_types.arrays_of_text WHERE id IN (1, 3);
UPDATE tor_types.arrays_of_text t SET v = o.v FROM tor_types.arrays_of_text o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.arrays_of_text SELECT 7, v FROM tor_types.arrays_of_text WHERE id = 4;
--# log_positions | tor_types.log_positions
CREATE TABLE tor_types.log_positions (id int PRIMARY KEY, v pg_lsn);
INSERT INTO tor_types.log_positions VALUES (1, '0/0'), (2, '16/B374D848'), (3, 'FFFFFFFF/FFFFFFFF'), (4, '0/1'), (5, '1/0'), (6, NULL);
--# damage
DELETE FROM tor_types.log_positions WHERE id IN (1, 3);
UPDATE tor_types.log_positions t SET v = o.v FROM tor_types.log_positions o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.log_positions SELECT 7, v FROM tor_types.log_positions WHERE id = 4;
--# transaction_ids | tor_types.transaction_ids
CREATE TABLE tor_types.transaction_ids (id int PRIMARY KEY, v xid8);
INSERT INTO tor_types.transaction_ids VALUES (1, '0'), (2, '1'), (3, '18446744073709551615'), (4, '4294967296'), (5, '77'), (6, NULL);
--# damage
DELETE FROM tor_types.transaction_ids WHERE id IN (1, 3);
UPDATE tor_types.transaction_ids t SET v = o.v FROM tor_types.transaction_ids o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.transaction_ids SELECT 7, v FROM tor_types.transaction_ids WHERE id = 4;
--# snapshots | tor_types.snapshots
CREATE TABLE tor_types.snapshots (id int PRIMARY KEY, v pg_snapshot);
INSERT INTO tor_types.snapshots VALUES (1, '10:20:10,14'), (2, '1:1:'), (3, '5:6:5'), (4, '100:200:'), (5, '7:9:7,8'), (6, NULL);
--# damage
DELETE FROM tor_types.snapshots WHERE id IN (1, 3);
UPDATE tor_types.snapshots t SET v = o.v FROM tor_types.snapshots o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.snapshots SELECT 7, v FROM tor_types.snapshots WHERE id = 4;
--# oids | tor_types.oids
CREATE TABLE tor_types.oids (id int PRIMARY KEY, v oid);
INSERT INTO tor_types.oids VALUES (1, 0), (2, 4294967295), (3, 1), (4, 2147483648), (5, 42), (6, NULL);
--# damage
DELETE FROM tor_types.oids WHERE id IN (1, 3);
UPDATE tor_types.oids t SET v = o.v FROM tor_types.oids o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.oids SELECT 7, v FROM tor_types.oids WHERE id = 4;
--# names_of_objects | tor_types.names_of_objects
CREATE TABLE tor_types.names_of_objects (id int PRIMARY KEY, v regtype);
INSERT INTO tor_types.names_of_objects VALUES (1, 'int4'), (2, 'text'), (3, 'tor_types.mood'), (4, 'date'), (5, 'xml'), (6, NULL);
--# damage
DELETE FROM tor_types.names_of_objects WHERE id IN (1, 3);
UPDATE tor_types.names_of_objects t SET v = o.v FROM tor_types.names_of_objects o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.names_of_objects SELECT 7, v FROM tor_types.names_of_objects WHERE id = 4;
--# case_insensitive_texts | tor_types.case_insensitive_texts
CREATE TABLE tor_types.case_insensitive_texts (id int PRIMARY KEY, v citext);
INSERT INTO tor_types.case_insensitive_texts VALUES (1, 'Abc'), (2, 'abc'), (3, 'ABC'), (4, 'ß'), (5, 'İ'), (6, NULL);
--# damage
DELETE FROM tor_types.case_insensitive_texts WHERE id IN (1, 3);
UPDATE tor_types.case_insensitive_texts t SET v = o.v FROM tor_types.case_insensitive_texts o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.case_insensitive_texts SELECT 7, v FROM tor_types.case_insensitive_texts WHERE id = 4;
--# paths_in_json | tor_types.paths_in_json
CREATE TABLE tor_types.paths_in_json (id int PRIMARY KEY, v jsonpath);
INSERT INTO tor_types.paths_in_json VALUES (1, '$.a'), (2, '$.a[*] ? (@ > 1)'), (3, 'strict $'), (4, '$'), (5, '$.b'), (6, NULL);
--# damage
DELETE FROM tor_types.paths_in_json WHERE id IN (1, 3);
UPDATE tor_types.paths_in_json t SET v = o.v FROM tor_types.paths_in_json o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.paths_in_json SELECT 7, v FROM tor_types.paths_in_json WHERE id = 4;
--# arrays_of_domains | tor_types.arrays_of_domains
CREATE TABLE tor_types.arrays_of_domains (id int PRIMARY KEY, v tor_types.price[]);
INSERT INTO tor_types.arrays_of_domains VALUES (1, '{1.0,1.00}'), (2, '{}'), (3, '{NULL}'), (4, '{2.5}'), (5, '{0.01}'), (6, NULL);
--# damage
DELETE FROM tor_types.arrays_of_domains WHERE id IN (1, 3);
UPDATE tor_types.arrays_of_domains t SET v = o.v FROM tor_types.arrays_of_domains o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.arrays_of_domains SELECT 7, v FROM tor_types.arrays_of_domains WHERE id = 4;
--# arrays_of_ranges | tor_types.arrays_of_ranges
CREATE TABLE tor_types.arrays_of_ranges (id int PRIMARY KEY, v int4range[]);
INSERT INTO tor_types.arrays_of_ranges VALUES (1, '{"[1,3)",empty}'), (2, '{}'), (3, '{NULL}'), (4, '{"(,)"}'), (5, '{"[5,6)"}'), (6, NULL);
--# damage
DELETE FROM tor_types.arrays_of_ranges WHERE id IN (1, 3);
UPDATE tor_types.arrays_of_ranges t SET v = o.v FROM tor_types.arrays_of_ranges o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.arrays_of_ranges SELECT 7, v FROM tor_types.arrays_of_ranges WHERE id = 4;
--# own_multiranges | tor_types.own_multiranges
CREATE TABLE tor_types.own_multiranges (id int PRIMARY KEY, v tor_types.floats_multirange);
INSERT INTO tor_types.own_multiranges VALUES (1, '{[1.5,2.5]}'), (2, '{}'), (3, '{(,2.5)}'), (4, '{[0,Infinity)}'), (5, '{[1,1]}'), (6, NULL);
--# damage
DELETE FROM tor_types.own_multiranges WHERE id IN (1, 3);
UPDATE tor_types.own_multiranges t SET v = o.v FROM tor_types.own_multiranges o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.own_multiranges SELECT 7, v FROM tor_types.own_multiranges WHERE id = 4;
--# rights_as_values | tor_types.rights_as_values
--# seen_as F16
CREATE TABLE tor_types.rights_as_values (id int PRIMARY KEY, v aclitem);
INSERT INTO tor_types.rights_as_values VALUES (1, 'tor_reader=r/tor_owner'), (2, '=r/tor_owner'), (3, 'tor_owner=arwdDxt/tor_owner'), (4, 'tor_reader=r*/tor_owner'), (5, 'tor_reader=a/tor_owner'), (6, NULL);
--# damage
DELETE FROM tor_types.rights_as_values WHERE id IN (1, 3);
UPDATE tor_types.rights_as_values t SET v = o.v FROM tor_types.rights_as_values o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.rights_as_values SELECT 7, v FROM tor_types.rights_as_values WHERE id = 4;
--# without_binary_form | tor_types.without_binary_form
--# seen_as F16
CREATE TABLE tor_types.without_binary_form (id int PRIMARY KEY, v seg);
INSERT INTO tor_types.without_binary_form VALUES (1, '1.5 .. 2.5'), (2, '~1.50'), (3, '<3'), (4, '1.0'), (5, '1.00'), (6, NULL);
--# damage
DELETE FROM tor_types.without_binary_form WHERE id IN (1, 3);
UPDATE tor_types.without_binary_form t SET v = o.v FROM tor_types.without_binary_form o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.without_binary_form SELECT 7, v FROM tor_types.without_binary_form WHERE id = 4;
--# pairs_of_an_extension | tor_types.pairs_of_an_extension
CREATE TABLE tor_types.pairs_of_an_extension (id int PRIMARY KEY, v hstore);
INSERT INTO tor_types.pairs_of_an_extension VALUES (1, 'a=>1, b=>NULL'), (2, '"a, b"=>"=>"'), (3, ''), (4, 'a=>1'), (5, 'a=>2'), (6, NULL);
--# damage
DELETE FROM tor_types.pairs_of_an_extension WHERE id IN (1, 3);
UPDATE tor_types.pairs_of_an_extension t SET v = o.v FROM tor_types.pairs_of_an_extension o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.pairs_of_an_extension SELECT 7, v FROM tor_types.pairs_of_an_extension WHERE id = 4;
--# trees_of_an_extension | tor_types.trees_of_an_extension
CREATE TABLE tor_types.trees_of_an_extension (id int PRIMARY KEY, v ltree);
INSERT INTO tor_types.trees_of_an_extension VALUES (1, 'a.b.c'), (2, ''), (3, 'a'), (4, 'a.b'), (5, 'x.y'), (6, NULL);
--# damage
DELETE FROM tor_types.trees_of_an_extension WHERE id IN (1, 3);
UPDATE tor_types.trees_of_an_extension t SET v = o.v FROM tor_types.trees_of_an_extension o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.trees_of_an_extension SELECT 7, v FROM tor_types.trees_of_an_extension WHERE id = 4;
--# cubes_of_an_extension | tor_types.cubes_of_an_extension
CREATE TABLE tor_types.cubes_of_an_extension (id int PRIMARY KEY, v cube);
INSERT INTO tor_types.cubes_of_an_extension VALUES (1, '(1,2),(3,4)'), (2, '(1)'), (3, '(0)'), (4, '(1,2)'), (5, '(-1)'), (6, NULL);
--# damage
DELETE FROM tor_types.cubes_of_an_extension WHERE id IN (1, 3);
UPDATE tor_types.cubes_of_an_extension t SET v = o.v FROM tor_types.cubes_of_an_extension o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.cubes_of_an_extension SELECT 7, v FROM tor_types.cubes_of_an_extension WHERE id = 4;
--# row_positions | tor_types.row_positions
CREATE TABLE tor_types.row_positions (id int PRIMARY KEY, v tid);
INSERT INTO tor_types.row_positions VALUES (1, '(0,1)'), (2, '(4294967295,65535)'), (3, '(0,0)'), (4, '(1,2)'), (5, '(3,4)'), (6, NULL);
--# damage
DELETE FROM tor_types.row_positions WHERE id IN (1, 3);
UPDATE tor_types.row_positions t SET v = o.v FROM tor_types.row_positions o WHERE (t.id, o.id) IN ((2, 5), (5, 2));
INSERT INTO tor_types.row_positions SELECT 7, v FROM tor_types.row_positions WHERE id = 4;
