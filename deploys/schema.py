"""The catalogue's tables in PostgreSQL, and what TimescaleDB's edition can do by itself or needs a timer for."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files

from deploys import estate
from deploys.operations import pg_sql
from deploys.text import MANAGED
from inventories.catalog import ddl
from inventories.catalog.load import load_tables
from inventories.catalog.tables import Store, Table


def deploy() -> None:
    """Create what is missing. A table whose columns differ is shown by `drift` and never altered unasked."""
    version, database = host.data.get("postgres_version"), host.data.get("database")
    tables = load_tables()
    statements = ["CREATE EXTENSION IF NOT EXISTS timescaledb", *ddl.database_statements(database)]
    statements += [line for lines in ddl.schema(tables).values() for line in lines]
    pg_sql(
        name="schema", version=version, database=database, missing=_missing(tuple(ddl.schema(tables))),
        statements=statements, _su_user="postgres",
    )  # fmt: skip
    expiring = [table for table in tables.of(Store.POSTGRESQL) if table.retention_days]
    pg_sql(
        name="retention policies", version=version, database=database, missing=_policies_missing(expiring),
        statements=[_policy(table) for table in expiring], _su_user="postgres",
    )  # fmt: skip
    # The Apache edition has no policies. The timer's statement does nothing where the Community edition's exist.
    files.template(
        name="retention by timer where the edition has no policies", mode="0644", user="root", group="root",
        src=estate.template("postgres", "retention.cron.j2"), dest="/etc/cron.d/mystocks-retention",
        managed=MANAGED, database=database, tables=expiring,
    )  # fmt: skip


def _missing(names: tuple[str, ...]) -> str:
    values = ", ".join(f"('{name}')" for name in names)
    return f"select name from (values {values}) wanted(name) where to_regclass('public.' || quote_ident(name)) is null"


def _policies_missing(expiring: list[Table]) -> str:
    """Tables without a retention policy, none at all where the edition cannot have one (probed, not assumed)."""
    if not expiring:
        return "select 1 where false"
    values = ", ".join(f"('{table.name}')" for table in expiring)
    return (
        f"select name from (values {values}) wanted(name) "
        "where current_setting('timescaledb.license', true) = 'timescale' "
        "and not exists (select from timescaledb_information.jobs where proc_name = 'policy_retention' "
        "and hypertable_name = wanted.name)"
    )


def _policy(table: Table) -> str:
    interval = f"INTERVAL '{table.retention_days} days'"
    return f"SELECT add_retention_policy('public.{table.name}', {interval}, if_not_exists => true)"
