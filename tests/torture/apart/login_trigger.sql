-- F7: an event trigger at login that writes a row: on a standby, and in a session that may only read, it ends the session.
CREATE SCHEMA tor_login;
CREATE TABLE tor_login.seen (at timestamptz, who name);
CREATE FUNCTION tor_login.note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN INSERT INTO tor_login.seen VALUES (now(), session_user); END $$;
GRANT USAGE ON SCHEMA tor_login TO PUBLIC;
CREATE EVENT TRIGGER tor_login ON login EXECUTE FUNCTION tor_login.note();
ALTER EVENT TRIGGER tor_login ENABLE ALWAYS;
--# clean
DROP EVENT TRIGGER IF EXISTS tor_login;
DROP SCHEMA IF EXISTS tor_login CASCADE;
