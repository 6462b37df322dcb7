-- How rows come in, how long they stay, and what did not come in: nothing goes without a line that says so.

-- What may be shipped, and where it goes. Months without a number are kept for ever.
CREATE TABLE kinds (
  kind text PRIMARY KEY,
  table_name text NOT NULL UNIQUE,
  id_columns text[] NOT NULL,
  month_column text,
  keep_months integer CHECK (keep_months >= 1)
);
INSERT INTO kinds VALUES
  ('operation', 'operation_logs', '{operation_id,created_at}', 'created_at', 6),
  ('query', 'query_performance_logs', '{metric_id,created_at}', 'created_at', 6),
  ('quality', 'data_quality_logs', '{check_id,created_at}', 'created_at', 24),
  ('alert', 'alert_logs', '{alert_id}', NULL, NULL),
  ('run', 'runs', '{run_id}', NULL, NULL),
  ('step', 'run_steps', '{run_id,seq}', NULL, NULL),
  ('drill', 'drills', '{drill_id}', NULL, NULL),
  ('objective', 'objectives', '{drill_id,name}', NULL, NULL),
  ('proof', 'proofs', '{proof_id}', NULL, NULL),
  ('backup', 'backups', '{backup_id}', NULL, NULL),
  ('job', 'job_runs', '{job_run_id}', NULL, NULL);

-- Lines that a spool had to let go before they were shipped.
CREATE TABLE losses (
  loss_id text PRIMARY KEY,
  machine text NOT NULL,
  number bigint NOT NULL,
  why text NOT NULL,
  first_at timestamptz,
  last_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO kinds VALUES ('loss', 'losses', '{loss_id}', NULL, NULL);

-- Lines that no table takes, as they came; the next migration tries them again.
CREATE TABLE rejected (
  line_id text PRIMARY KEY,
  line text NOT NULL,
  why text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);

-- Months that were dropped because they were old.
CREATE TABLE expired (
  table_name text NOT NULL,
  month date NOT NULL,
  number bigint NOT NULL,
  dropped_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (table_name, month, dropped_at)
);

-- Which database this is: with another one, or one that was restored, every spool ships again what it still has.
CREATE TABLE incarnation (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  since timestamptz NOT NULL DEFAULT now()
);
INSERT INTO incarnation DEFAULT VALUES;

CREATE FUNCTION monitor_incarnation() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$ SELECT id::text FROM incarnation $$;

CREATE FUNCTION monitor_month(of text, day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  k kinds;
  first date := date_trunc('month', day)::date;
  name text;
BEGIN
  SELECT * INTO STRICT k FROM kinds WHERE kind = of;
  name := k.table_name || to_char(first, '_YYYY_MM');
  IF to_regclass(quote_ident(name)) IS NOT NULL THEN RETURN; END IF;
  IF first > now() + interval '32 days' OR first < date_trunc('month', now()) - make_interval(months => k.keep_months)
  THEN
    RAISE EXCEPTION 'a row of % is of %, and % months are kept', k.table_name, day, k.keep_months
      USING ERRCODE = '22023';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext(name));
  EXECUTE format(
    'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
    name, k.table_name, first::text || ' 00:00+00', (first + interval '1 month')::date::text || ' 00:00+00'
  );
END $$;

-- Rows of one kind, as an array of objects whose keys are columns. How many were not there, or were older.
CREATE FUNCTION monitor_put(of text, told jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  k kinds;
  columns text;
  ids text;
  revised boolean;
  strange text;
  changed bigint;
  month date;
BEGIN
  SELECT * INTO k FROM kinds WHERE kind = of;
  IF NOT FOUND THEN RAISE EXCEPTION 'nothing here takes lines of kind %', of USING ERRCODE = '22023'; END IF;
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), bool_or(attname = 'revision')
    INTO columns, revised
    FROM pg_attribute
    WHERE attrelid = k.table_name::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'recorded_at';
  SELECT min(key) INTO strange
    FROM jsonb_array_elements(told) AS one, jsonb_object_keys(one) AS key
    WHERE NOT EXISTS (
      SELECT FROM pg_attribute WHERE attrelid = k.table_name::regclass AND attname = key AND attnum > 0
    );
  IF strange IS NOT NULL THEN
    RAISE EXCEPTION '% has no column %', k.table_name, strange USING ERRCODE = '22023';
  END IF;
  IF k.month_column IS NOT NULL THEN
    FOR month IN
      SELECT DISTINCT date_trunc('month', (one ->> k.month_column)::timestamptz)::date
      FROM jsonb_array_elements(told) AS one
    LOOP
      PERFORM monitor_month(of, month);
    END LOOP;
  END IF;
  SELECT string_agg(quote_ident(id), ', ') INTO ids FROM unnest(k.id_columns) AS id;
  EXECUTE format(
    'INSERT INTO %1$I AS kept (%2$s) SELECT DISTINCT ON (%3$s) %2$s FROM jsonb_populate_recordset(NULL::%1$I, $1)'
    ' ORDER BY %3$s%4$s ON CONFLICT (%3$s) DO %5$s',
    k.table_name, columns, ids, CASE WHEN revised THEN ', revision DESC' ELSE '' END,
    CASE WHEN revised THEN (
      SELECT 'UPDATE SET ' || string_agg(format('%1$I = excluded.%1$I', attname), ', ')
        || ' WHERE excluded.revision > kept.revision'
      FROM pg_attribute WHERE attrelid = k.table_name::regclass AND attnum > 0 AND NOT attisdropped
    ) ELSE 'NOTHING' END
  ) USING told;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END $$;

CREATE FUNCTION monitor_reject(id text, told text, reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO rejected (line_id, line, why) VALUES (id, told, reason) ON CONFLICT DO NOTHING
$$;

-- Make the next month's partitions, drop those that are too old. How many rows went.
CREATE FUNCTION monitor_expire() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  k kinds;
  part text;
  first date;
  number bigint;
  gone bigint := 0;
BEGIN
  FOR k IN SELECT * FROM kinds WHERE month_column IS NOT NULL LOOP
    PERFORM monitor_month(k.kind, now()::date), monitor_month(k.kind, (now() + interval '1 month')::date);
    FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = k.table_name::regclass LOOP
      first := to_date(right(part, 7), 'YYYY_MM');
      IF first < date_trunc('month', now()) - make_interval(months => k.keep_months) THEN
        EXECUTE format('SELECT count(*) FROM %s', part) INTO number;
        INSERT INTO expired (table_name, month, number) VALUES (k.table_name, first, number);
        EXECUTE format('DROP TABLE %s', part);
        gone := gone + number;
      END IF;
    END LOOP;
  END LOOP;
  RETURN gone;
END $$;

-- `recorder` brings lines and reads nothing; `historian` reads and changes nothing. A deploy lets them log in.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'recorder') THEN CREATE ROLE recorder; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'historian') THEN CREATE ROLE historian; END IF;
END $$;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION monitor_put(text, jsonb), monitor_reject(text, text, text), monitor_incarnation() TO recorder;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO historian;
GRANT EXECUTE ON FUNCTION monitor_incarnation() TO historian;
