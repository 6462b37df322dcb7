"""The catalogue's tables in PostgreSQL, and what TimescaleDB's edition can do by itself or needs a timer for."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files

from deploys import estate
from deploys.postgresql.operations import pg_sql
from deploys.text import MANAGED
from inventories.catalog.load import load_tables
from inventories.catalog.postgresql import ddl
from inventories.catalog.postgresql.policies import Policy, policies_of
from inventories.catalog.tables import Store


def deploy() -> None:
    """Create what is missing: tables, and optional columns of those that are there. What differs otherwise is shown by
    `drift` and never altered unasked.
    """
    version, database = host.data.get("postgres_version"), host.data.get("database")
    tables = load_tables()
    statements = ["CREATE EXTENSION IF NOT EXISTS timescaledb", *ddl.database_statements(database)]
    statements += [line for lines in ddl.schema(tables).values() for line in lines]
    pg_sql(
        name="schema", version=version, database=database, missing=_missing(tuple(ddl.schema(tables))),
        statements=statements, _su_user="postgres",
    )  # fmt: skip
    pg_sql(
        name="optional columns", version=version, database=database, missing=ddl.without_optional(tables),
        statements=ddl.optional_statements(tables), _su_user="postgres",
    )  # fmt: skip
    expiring = [table for table in tables.of(Store.POSTGRESQL) if table.retention_days]
    policies = [policy for table in tables.of(Store.POSTGRESQL) for policy in policies_of(table)]
    pg_sql(
        name="policies of the Community edition", version=version, database=database,
        missing=_policies_missing(policies), statements=[line for policy in policies for line in policy.statements],
        _su_user="postgres",
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


def _policies_missing(policies: list[Policy]) -> str:
    """Policies that are not there, none at all where the edition cannot have one (probed, not assumed)."""
    if not policies:
        return "select 1 where false"
    values = ", ".join(f"('{policy.table}', '{policy.procedure}')" for policy in policies)
    return (
        f"select name from (values {values}) wanted(name, job) "
        "where current_setting('timescaledb.license', true) = 'timescale' "
        "and not exists (select from timescaledb_information.jobs where proc_name = wanted.job "
        "and hypertable_name = wanted.name)"
    )
