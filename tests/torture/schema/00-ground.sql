-- What the whole cluster lends to the other files: roles and extensions. Nothing of it is a case.
DO $$ BEGIN
  IF to_regrole('tor_owner') IS NULL THEN CREATE ROLE tor_owner; END IF;
  IF to_regrole('tor_reader') IS NULL THEN CREATE ROLE tor_reader; END IF;
  IF to_regrole('"tor Größe ""读"""') IS NULL THEN CREATE ROLE "tor Größe ""读"""; END IF;
END $$;
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE EXTENSION IF NOT EXISTS ltree;
CREATE EXTENSION IF NOT EXISTS cube;
CREATE EXTENSION IF NOT EXISTS seg;
--# clean
DROP EXTENSION IF EXISTS citext, btree_gist, pg_trgm, hstore, ltree, cube, seg CASCADE;
DROP OWNED BY tor_owner, tor_reader, "tor Größe ""读""" CASCADE;
DROP ROLE IF EXISTS tor_owner, tor_reader, "tor Größe ""读""";
