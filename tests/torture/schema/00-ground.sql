-- What the cluster and the whole database lend to the other files: roles and extensions. Nothing of it is a case.
DO $$ BEGIN
  IF to_regrole('tor_owner') IS NULL THEN CREATE ROLE tor_owner; END IF;
  IF to_regrole('tor_reader') IS NULL THEN CREATE ROLE tor_reader; END IF;
  IF to_regrole('tor_going') IS NULL THEN CREATE ROLE tor_going; END IF;
  IF to_regrole('"tor Größe ""读"""') IS NULL THEN CREATE ROLE "tor Größe ""读"""; END IF;
END $$;
CREATE EXTENSION timescaledb;
CREATE EXTENSION citext;
CREATE EXTENSION btree_gist;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION hstore;
CREATE EXTENSION ltree;
CREATE EXTENSION cube;
CREATE EXTENSION seg;
CREATE EXTENSION file_fdw;
--# clean
DROP ROLE IF EXISTS tor_owner, tor_reader, tor_going, tor_gone, "tor Größe ""读""";
