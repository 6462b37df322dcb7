-- What acts when somebody writes: triggers in every state, rules, row-level security, event triggers.
CREATE SCHEMA tor_guards;
CREATE FUNCTION tor_guards.stamp() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.updated_at := '2030-01-01 00:00:00Z'; RETURN NEW; END $$;
CREATE FUNCTION tor_guards.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'nobody writes here'; END $$;
CREATE FUNCTION tor_guards.skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE tor_guards.audit (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
CREATE FUNCTION tor_guards.log() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO tor_guards.audit (what) VALUES (TG_OP); RETURN NULL; END $$;
INSERT INTO tor_guards.audit (what) VALUES ('before the target');
--# stamped_by_a_trigger | tor_guards.stamped
--# seen_as F13
CREATE TABLE tor_guards.stamped (id int PRIMARY KEY, v text, updated_at timestamptz);
INSERT INTO tor_guards.stamped SELECT i, 'v' || i, '2026-01-01 00:00:00Z' FROM generate_series(1, 20) i;
CREATE TRIGGER stamps BEFORE INSERT OR UPDATE ON tor_guards.stamped FOR EACH ROW EXECUTE FUNCTION tor_guards.stamp();
--# told stamps
--# damage
DELETE FROM tor_guards.stamped WHERE id <= 5;
UPDATE tor_guards.stamped SET v = 'spoilt' WHERE id BETWEEN 6 AND 15;
--# stamped_by_an_always_trigger | tor_guards.stamped_always
CREATE TABLE tor_guards.stamped_always (id int PRIMARY KEY, v text, updated_at timestamptz);
INSERT INTO tor_guards.stamped_always SELECT i, 'v' || i, '2026-01-01 00:00:00Z' FROM generate_series(1, 20) i;
CREATE TRIGGER stamps_always BEFORE INSERT OR UPDATE ON tor_guards.stamped_always FOR EACH ROW EXECUTE FUNCTION tor_guards.stamp();
ALTER TABLE tor_guards.stamped_always ENABLE ALWAYS TRIGGER stamps_always;
--# told stamps_always
--# damage
DELETE FROM tor_guards.stamped_always WHERE id <= 5;
UPDATE tor_guards.stamped_always SET v = 'spoilt' WHERE id BETWEEN 6 AND 15;
--# stamped_by_a_replica_trigger | tor_guards.stamped_replica
CREATE TABLE tor_guards.stamped_replica (id int PRIMARY KEY, v text, updated_at timestamptz);
INSERT INTO tor_guards.stamped_replica SELECT i, 'v' || i, '2026-01-01 00:00:00Z' FROM generate_series(1, 20) i;
CREATE TRIGGER stamps_replica BEFORE INSERT OR UPDATE ON tor_guards.stamped_replica FOR EACH ROW EXECUTE FUNCTION tor_guards.stamp();
ALTER TABLE tor_guards.stamped_replica ENABLE REPLICA TRIGGER stamps_replica;
--# damage
DELETE FROM tor_guards.stamped_replica WHERE id <= 5;
UPDATE tor_guards.stamped_replica SET v = 'spoilt' WHERE id BETWEEN 6 AND 15;
--# refused_by_a_trigger | tor_guards.refused
CREATE TABLE tor_guards.refused (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.refused SELECT i, 'v' || i FROM generate_series(1, 10) i;
CREATE TRIGGER refuses BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON tor_guards.refused EXECUTE FUNCTION tor_guards.refuse();
--# told refuses
--# damage
SET session_replication_role = replica;
DELETE FROM tor_guards.refused WHERE id <= 3;
UPDATE tor_guards.refused SET v = 'spoilt' WHERE id = 5;
--# skipped_by_a_trigger | tor_guards.skipped
CREATE TABLE tor_guards.skipped (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.skipped SELECT i, 'v' || i FROM generate_series(1, 10) i;
CREATE TRIGGER skips BEFORE INSERT OR UPDATE OR DELETE ON tor_guards.skipped FOR EACH ROW EXECUTE FUNCTION tor_guards.skip();
--# told skips
--# damage
SET session_replication_role = replica;
DELETE FROM tor_guards.skipped WHERE id <= 3;
UPDATE tor_guards.skipped SET v = 'spoilt' WHERE id = 5;
--# logged_by_a_trigger | tor_guards.logged
CREATE TABLE tor_guards.logged (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.logged SELECT i, 'v' || i FROM generate_series(1, 10) i;
CREATE TRIGGER logs AFTER INSERT OR UPDATE OR DELETE ON tor_guards.logged FOR EACH ROW EXECUTE FUNCTION tor_guards.log();
CREATE CONSTRAINT TRIGGER logs_at_the_end AFTER INSERT OR UPDATE ON tor_guards.logged DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION tor_guards.log();
CREATE TRIGGER logs_tables AFTER UPDATE ON tor_guards.logged REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION tor_guards.log();
COMMENT ON TRIGGER logs ON tor_guards.logged IS 'for the auditors';
--# same tor_guards.audit
--# damage
SET session_replication_role = replica;
DELETE FROM tor_guards.logged WHERE id <= 3;
UPDATE tor_guards.logged SET v = 'spoilt' WHERE id = 5;
--# triggers_disabled_by_hand | tor_guards.disabled
CREATE TABLE tor_guards.disabled (id int PRIMARY KEY, v text, updated_at timestamptz);
INSERT INTO tor_guards.disabled SELECT i, 'v' || i, '2026-01-01 00:00:00Z' FROM generate_series(1, 10) i;
CREATE TRIGGER off BEFORE INSERT OR UPDATE OF v ON tor_guards.disabled FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION tor_guards.stamp();
ALTER TABLE tor_guards.disabled DISABLE TRIGGER off;
--# damage
DELETE FROM tor_guards.disabled WHERE id <= 3;
UPDATE tor_guards.disabled SET v = 'spoilt' WHERE id = 5;
--# rule_instead_of_insert | tor_guards.ruled
CREATE TABLE tor_guards.ruled (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.ruled SELECT i, 'v' || i FROM generate_series(1, 10) i;
CREATE RULE elsewhere AS ON INSERT TO tor_guards.ruled DO INSTEAD INSERT INTO tor_guards.audit (what) VALUES ('ruled ' || NEW.id);
CREATE RULE untouched AS ON UPDATE TO tor_guards.ruled DO INSTEAD NOTHING;
CREATE RULE undeleted AS ON DELETE TO tor_guards.ruled DO INSTEAD NOTHING;
--# told elsewhere
--# same tor_guards.audit
--# damage
ALTER TABLE tor_guards.ruled DISABLE RULE undeleted, DISABLE RULE untouched;
DELETE FROM tor_guards.ruled WHERE id <= 3;
UPDATE tor_guards.ruled SET v = 'spoilt' WHERE id = 5;
ALTER TABLE tor_guards.ruled ENABLE RULE undeleted, ENABLE RULE untouched;
--# rules_in_every_state | tor_guards.rules
CREATE TABLE tor_guards.rules (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.rules SELECT i, 'v' || i FROM generate_series(1, 10) i;
CREATE RULE always AS ON UPDATE TO tor_guards.rules DO ALSO NOTIFY tor_guards;
CREATE RULE off AS ON INSERT TO tor_guards.rules DO INSTEAD NOTHING;
ALTER TABLE tor_guards.rules ENABLE ALWAYS RULE always, DISABLE RULE off;
COMMENT ON RULE off ON tor_guards.rules IS 'kept for later';
--# damage
DELETE FROM tor_guards.rules WHERE id <= 3;
UPDATE tor_guards.rules SET v = 'spoilt' WHERE id = 5;
--# row_level_security_with_policies | tor_guards.secured
CREATE TABLE tor_guards.secured (id int PRIMARY KEY, who name);
INSERT INTO tor_guards.secured SELECT i, 'tor_reader' FROM generate_series(1, 10) i;
ALTER TABLE tor_guards.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tor_guards.secured USING (who = current_user) WITH CHECK (who = current_user);
CREATE POLICY "Only, small" ON tor_guards.secured AS RESTRICTIVE FOR SELECT TO tor_reader, "tor Größe ""读""" USING (id < 100);
COMMENT ON POLICY own ON tor_guards.secured IS 'each their own';
--# damage
DELETE FROM tor_guards.secured WHERE id <= 3;
UPDATE tor_guards.secured SET who = 'nobody' WHERE id = 5;
--# row_level_security_forced_on_the_owner | tor_guards.forced
CREATE TABLE tor_guards.forced (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.forced SELECT i, 'v' || i FROM generate_series(1, 10) i;
ALTER TABLE tor_guards.forced OWNER TO tor_owner, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY none ON tor_guards.forced USING (false);
--# damage
DELETE FROM tor_guards.forced WHERE id <= 3;
UPDATE tor_guards.forced SET v = 'spoilt' WHERE id = 5;
--# event_trigger_that_refuses_tables | tor_guards.under_event_trigger
CREATE FUNCTION tor_guards.no_tables() RETURNS event_trigger LANGUAGE plpgsql AS
  $$ BEGIN IF current_query() ~ 'under_event_trigger|_restored|_replaced' THEN RAISE EXCEPTION 'no table is made in production'; END IF; END $$;
CREATE TABLE tor_guards.under_event_trigger (id int PRIMARY KEY, v text);
INSERT INTO tor_guards.under_event_trigger SELECT i, 'v' || i FROM generate_series(1, 10) i;
--# damage
DELETE FROM tor_guards.under_event_trigger WHERE id <= 3;
UPDATE tor_guards.under_event_trigger SET v = 'spoilt' WHERE id = 5;
--# armed
CREATE EVENT TRIGGER tor_no_tables ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'ALTER TABLE') EXECUTE FUNCTION tor_guards.no_tables();
ALTER EVENT TRIGGER tor_no_tables ENABLE ALWAYS;
--# disarmed
DROP EVENT TRIGGER IF EXISTS tor_no_tables;
--# hypertable_with_triggers_that_always_fire | tor_guards.ticks_always
CREATE TABLE tor_guards.ticks_always (at timestamptz NOT NULL, id int, v text, updated_at timestamptz, PRIMARY KEY (at, id));
CREATE TRIGGER stamps_ticks BEFORE INSERT OR UPDATE ON tor_guards.ticks_always FOR EACH ROW EXECUTE FUNCTION tor_guards.stamp();
CREATE TRIGGER logs_ticks AFTER INSERT OR UPDATE OR DELETE ON tor_guards.ticks_always EXECUTE FUNCTION tor_guards.log();
CREATE TRIGGER off BEFORE DELETE ON tor_guards.ticks_always FOR EACH ROW EXECUTE FUNCTION tor_guards.skip();
ALTER TABLE tor_guards.ticks_always ENABLE ALWAYS TRIGGER stamps_ticks, ENABLE REPLICA TRIGGER logs_ticks, DISABLE TRIGGER off;
SELECT count(*) FROM create_hypertable('tor_guards.ticks_always', 'at', chunk_time_interval => interval '7 days');
SET session_replication_role = replica;
INSERT INTO tor_guards.ticks_always SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 day', i, 'v' || i, '2026-01-01 00:00:00Z' FROM generate_series(1, 40) i;
RESET session_replication_role;
--# told stamps_ticks | logs_ticks
--# same tor_guards.audit
--# damage
SET session_replication_role = replica;
DELETE FROM tor_guards.ticks_always WHERE id <= 10;
UPDATE tor_guards.ticks_always SET v = 'spoilt' WHERE id BETWEEN 15 AND 25;
--# hypertable_whose_chunks_have_triggers_that_always_fire | tor_guards.ticks_chunked
CREATE TABLE tor_guards.ticks_chunked (at timestamptz NOT NULL, id int, v text, updated_at timestamptz, PRIMARY KEY (at, id));
SELECT count(*) FROM create_hypertable('tor_guards.ticks_chunked', 'at', chunk_time_interval => interval '7 days');
INSERT INTO tor_guards.ticks_chunked SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 day', i, 'v' || i, '2026-01-01 00:00:00Z' FROM generate_series(1, 40) i;
CREATE TRIGGER stamps_chunked BEFORE INSERT OR UPDATE ON tor_guards.ticks_chunked FOR EACH ROW EXECUTE FUNCTION tor_guards.stamp();
SET timescaledb.restoring = on;
DO $$ DECLARE chunk regclass; BEGIN FOR chunk IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tor_guards.ticks_chunked'::regclass LOOP
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER stamps_chunked', chunk); END LOOP; END $$;
RESET timescaledb.restoring;
--# told stamps_chunked
--# damage
SET timescaledb.restoring = on;
DO $$ DECLARE chunk regclass; BEGIN FOR chunk IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tor_guards.ticks_chunked'::regclass LOOP
  EXECUTE format('ALTER TABLE %s DISABLE TRIGGER stamps_chunked', chunk); END LOOP; END $$;
RESET timescaledb.restoring;
DELETE FROM tor_guards.ticks_chunked WHERE id <= 10;
UPDATE tor_guards.ticks_chunked SET v = 'spoilt' WHERE id BETWEEN 15 AND 25;
SET timescaledb.restoring = on;
DO $$ DECLARE chunk regclass; BEGIN FOR chunk IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tor_guards.ticks_chunked'::regclass LOOP
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER stamps_chunked', chunk); END LOOP; END $$;
RESET timescaledb.restoring;
