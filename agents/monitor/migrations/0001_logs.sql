-- What the trading system's own monitoring keeps, by its names: operations, query performance, data quality, alerts.
-- Logs are partitioned by month: `monitor_month` makes a partition, `monitor_expire` drops it.

CREATE TABLE operation_logs (
  operation_id text NOT NULL,
  operation_type text NOT NULL CHECK (operation_type IN ('SAVE', 'LOAD', 'DELETE', 'UPDATE')),
  classification text,
  target_database text,
  table_name text,
  record_count bigint,
  operation_status text NOT NULL CHECK (operation_status IN ('SUCCESS', 'FAILED', 'PARTIAL')),
  error_message text,
  execution_time_ms double precision,
  user_agent text,
  client_ip text,
  additional_info jsonb,
  created_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (operation_id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX ON operation_logs (created_at);
CREATE INDEX ON operation_logs (table_name, created_at);

CREATE TABLE query_performance_logs (
  metric_id text NOT NULL,
  metric_name text NOT NULL,
  metric_type text NOT NULL,
  metric_value double precision NOT NULL,
  metric_unit text NOT NULL,
  classification text,
  database_type text,
  table_name text,
  is_slow_query boolean NOT NULL,
  query_sql text,
  execution_plan text,
  tags jsonb,
  created_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (metric_id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX ON query_performance_logs (created_at);

CREATE TABLE data_quality_logs (
  check_id text NOT NULL,
  check_type text NOT NULL CHECK (check_type IN ('COMPLETENESS', 'FRESHNESS', 'ACCURACY')),
  classification text,
  database_type text,
  table_name text,
  check_status text NOT NULL CHECK (check_status IN ('PASS', 'FAIL', 'WARNING')),
  total_records bigint,
  null_records bigint,
  invalid_records bigint,
  missing_rate double precision,
  latest_timestamp timestamptz,
  data_delay_seconds double precision,
  validation_rules jsonb,
  threshold_config jsonb,
  check_message text,
  check_duration_ms double precision,
  created_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (check_id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX ON data_quality_logs (created_at);

CREATE TABLE alert_logs (
  alert_id text PRIMARY KEY,
  estate text NOT NULL,
  alert_level text NOT NULL CHECK (alert_level IN ('CRITICAL', 'WARNING', 'INFO')),
  alert_type text NOT NULL,
  title text NOT NULL,
  message text,
  source text,
  occurrence_count bigint NOT NULL,
  first_occurred_at timestamptz NOT NULL,
  last_occurred_at timestamptz NOT NULL,
  alert_status text NOT NULL CHECK (alert_status IN ('OPEN', 'ACKNOWLEDGED', 'RESOLVED')),
  acknowledged_by text,
  acknowledged_at timestamptz,
  resolved_by text,
  resolved_at timestamptz,
  resolution_notes text,
  revision double precision NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON alert_logs (last_occurred_at);
