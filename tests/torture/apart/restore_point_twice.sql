-- F8: a restore point made twice, as a nightly job does: a row between them, one that is lost after them.
CREATE TABLE public.tor_twice (id int PRIMARY KEY, v text);
INSERT INTO public.tor_twice SELECT i, 'v' || i FROM generate_series(1, 10) i;
SELECT pg_create_restore_point('tor_before_etl');
INSERT INTO public.tor_twice VALUES (11, 'between the two');
SELECT pg_create_restore_point('tor_before_etl');
DELETE FROM public.tor_twice WHERE id <= 3;
--# clean
DROP TABLE IF EXISTS public.tor_twice, public.tor_twice_replaced;
