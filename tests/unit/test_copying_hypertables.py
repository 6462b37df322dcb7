"""Policies and compression of a hypertable come back with it, and what hangs on it otherwise is named.

The distribution's TimescaleDB has neither, so its catalogue and its functions are played here by tables and by SQL.
"""

from __future__ import annotations

from runbooks.probes.postgresql import tables
from runbooks.table_copy.counts import Mode
from tests.unit.copying_kit import LIVE, Two

CATALOGUE = """
CREATE SCHEMA _timescaledb_catalog; CREATE SCHEMA _timescaledb_config;
CREATE TABLE _timescaledb_catalog.hypertable (id int, schema_name name, table_name name, compression_state smallint,
  associated_schema_name name DEFAULT '_timescaledb_internal', associated_table_prefix name DEFAULT '_hyper_1');
CREATE TABLE _timescaledb_catalog.dimension (id int, hypertable_id int, column_name name, column_type regtype,
  interval_length bigint, num_slices smallint, integer_now_func_schema name, integer_now_func name);
CREATE TABLE _timescaledb_catalog.continuous_agg (raw_hypertable_id int, user_view_schema name, user_view_name name);
CREATE TABLE _timescaledb_catalog.compression_settings (relid regclass, segmentby text[], orderby text[],
  orderby_desc bool[], orderby_nullsfirst bool[]);
CREATE TABLE _timescaledb_config.bgw_job (hypertable_id int, proc_name name, config jsonb, schedule_interval interval,
  fixed_schedule bool, initial_start timestamptz, timezone text);
CREATE FUNCTION hypertable_size(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 8192::bigint';
CREATE FUNCTION by_range(name, interval) RETURNS text LANGUAGE sql AS 'SELECT $1 || '' by '' || $2';
CREATE FUNCTION by_range(name, bigint) RETURNS text LANGUAGE sql AS 'SELECT $1 || '' by '' || $2';
CREATE FUNCTION create_hypertable(text, text, create_default_indexes bool) RETURNS void LANGUAGE sql AS $$
  INSERT INTO _timescaledb_catalog.hypertable
    VALUES (1, split_part($1, '.', 1), trim('"' FROM split_part($1, '.', 2)), 0);
  INSERT INTO _timescaledb_catalog.dimension
    VALUES (1, 1, split_part($2, ' ', 1), 'timestamptz', 604800000000, NULL, NULL, NULL) $$;
CREATE FUNCTION add_retention_policy(text, interval, schedule_interval interval, initial_start timestamptz,
  timezone text) RETURNS int LANGUAGE sql AS $$
  INSERT INTO _timescaledb_config.bgw_job VALUES (1, 'policy_retention', jsonb_build_object('drop_after', $2),
    $3, $4 IS NOT NULL, $4, $5) RETURNING 1 $$;
"""
HYPERTABLE = """
CREATE TABLE "Ticks" (at timestamptz PRIMARY KEY, "a sym" text, v int);
INSERT INTO "Ticks" SELECT timestamptz '2026-01-01 00:00+00' + i * interval '1 h', 's', i FROM generate_series(1, 20) i;
SELECT create_hypertable('public."Ticks"', by_range('at', INTERVAL '7 days'), create_default_indexes => false);
"""
RETENTION = (
    "SELECT add_retention_policy('public.\"Ticks\"', INTERVAL '90 days', schedule_interval => INTERVAL '1 day', "
    "initial_start => '2026-01-02 03:00:00+00', timezone => 'Asia/Shanghai')"
)


def dropped(two: Two) -> None:
    catalogue = ("hypertable", "dimension", "continuous_agg", "compression_settings")
    two.sql(
        'DROP TABLE "Ticks"', "DELETE FROM _timescaledb_config.bgw_job",
        *(f"DELETE FROM _timescaledb_catalog.{name}" for name in catalogue),
    )  # fmt: skip


def test_a_retention_policy_comes_back_with_its_table(two: Two) -> None:
    two.sql(CATALOGUE, f"SET timezone = UTC; {HYPERTABLE} {RETENTION}")
    two.point()
    dropped(two)
    assert two.prepare(Mode.MERGE, "Ticks").plans[0].lost == ()
    two.restored(Mode.MERGE, "Ticks")
    assert two.same('"Ticks"')
    jobs = "SELECT j::text FROM _timescaledb_config.bgw_job j"
    assert two.sql(jobs) == two.copied(jobs)
    assert two.sql("SELECT interval_length FROM _timescaledb_catalog.dimension") == [(604800000000,)]


def test_compression_and_every_policy_are_told_as_the_statements_that_make_them(two: Two) -> None:
    two.sql(
        CATALOGUE, HYPERTABLE, "UPDATE _timescaledb_catalog.hypertable SET compression_state = 1",
        "INSERT INTO _timescaledb_catalog.compression_settings VALUES "
        "('\"Ticks\"', ARRAY['a sym'], ARRAY['at', 'v'], ARRAY[true, false], ARRAY[true, false])",
        "INSERT INTO _timescaledb_config.bgw_job VALUES "
        "(1, 'policy_compression', '{\"compress_after\": \"7 days\"}', '12 h', false, NULL, NULL), "
        "(1, 'policy_retention', '{\"drop_after\": 1000}', '1 d', false, NULL, NULL), "
        "(1, 'policy_reorder', '{\"index_name\": \"Ticks_pkey\"}', '4 d', false, NULL, NULL)",
    )  # fmt: skip
    shape = tables.shapes(two.of(LIVE), ["Ticks"])["Ticks"]
    start, later = "schedule_interval => INTERVAL", "initial_start => NULL, timezone => NULL)"
    assert shape.policies == (
        'ALTER TABLE public."Ticks" SET (timescaledb.compress, timescaledb.compress_segmentby = \'"a sym"\', '
        "timescaledb.compress_orderby = 'at DESC NULLS FIRST, v ASC NULLS LAST')",
        f"SELECT add_compression_policy('public.\"Ticks\"', INTERVAL '7 days', {start} '12:00:00', {later}",
        f"SELECT add_reorder_policy('public.\"Ticks\"', 'Ticks_pkey', {start} '4 days', {later}",
        f"SELECT add_retention_policy('public.\"Ticks\"', 1000, {start} '1 day', {later}",
    )


def test_what_of_a_dropped_hypertable_cannot_come_back_is_named_before(two: Two) -> None:
    """An edition without compression, and an aggregate that was dropped with its table."""
    two.sql(
        CATALOGUE, HYPERTABLE, "UPDATE _timescaledb_catalog.hypertable SET compression_state = 1",
        "INSERT INTO _timescaledb_catalog.compression_settings VALUES ('\"Ticks\"', NULL, NULL, NULL, NULL)",
        "INSERT INTO _timescaledb_catalog.continuous_agg VALUES (1, 'public', 'daily')",
    )  # fmt: skip
    two.point()
    dropped(two)
    told = "\n".join(two.prepare(Mode.MERGE, "Ticks").plans[0].lost)
    assert "continuous aggregate public.daily of Ticks" in told
    assert "timescaledb.compress" in told
    two.restored(Mode.MERGE, "Ticks")
    assert two.same('"Ticks"')
