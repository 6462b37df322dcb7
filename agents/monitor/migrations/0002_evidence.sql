-- What recovery is judged by: runs and their steps, drills, what was promised and measured, proofs, backups, jobs.
-- A row with a `revision` may change: the greater one stays, in whatever order they come.

CREATE TABLE runs (
  run_id text PRIMARY KEY,
  estate text NOT NULL,
  procedure text NOT NULL,
  folder text NOT NULL,
  machine text,
  outcome text,
  steps_done integer NOT NULL,
  steps_all integer NOT NULL,
  options jsonb,
  began_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  revision double precision NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON runs (began_at);

CREATE TABLE run_steps (
  run_id text NOT NULL,
  seq integer NOT NULL,
  step text,
  event text NOT NULL,
  at timestamptz NOT NULL,
  data jsonb,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE drills (
  drill_id text PRIMARY KEY,
  seq integer NOT NULL,
  kind text NOT NULL,
  estate text NOT NULL,
  place text NOT NULL,
  promise text,
  scenario text,
  twin text,
  held boolean,
  outcome text NOT NULL,
  reason text,
  rto_s double precision,
  acked bigint,
  lost bigint,
  duplicated bigint,
  told jsonb NOT NULL,
  started_at timestamptz NOT NULL,
  duration_s double precision,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON drills (started_at);
CREATE INDEX ON drills (promise, started_at);

CREATE TABLE objectives (
  drill_id text NOT NULL,
  name text NOT NULL,
  unit text NOT NULL,
  promised double precision,
  measured double precision,
  kept boolean,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (drill_id, name)
);

CREATE TABLE proofs (
  proof_id text PRIMARY KEY,
  estate text NOT NULL,
  store text NOT NULL,
  label text NOT NULL,
  kind text,
  repo integer,
  outcome text NOT NULL,
  seconds double precision,
  sentence text,
  told jsonb NOT NULL,
  proven_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON proofs (proven_at);

CREATE TABLE backups (
  backup_id text PRIMARY KEY,
  estate text NOT NULL,
  name text NOT NULL,
  outcome text NOT NULL,
  says text,
  seconds double precision,
  ended_at timestamptz NOT NULL,
  revision double precision NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON backups (ended_at);

CREATE TABLE job_runs (
  job_run_id text PRIMARY KEY,
  estate text NOT NULL,
  job text NOT NULL,
  outcome text NOT NULL,
  seconds double precision,
  sentence text,
  started_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON job_runs (started_at);
