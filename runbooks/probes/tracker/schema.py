"""The schema of the tracker's database on one host: its revision, its columns, how many rows a table holds."""

from __future__ import annotations

from collections.abc import Sequence

from inventories.catalog.tables import Tables
from inventories.catalog.tracker import DATABASE
from inventories.catalog.tracker.revisions import BASE
from runbooks.hosts import Host

_THERE = f"select 1 as there from pg_database where datname = '{DATABASE}'"
_NOTED = "select to_regclass('public.alembic_version') is not null as noted"
_REVISION = f"select coalesce(max(version_num), '{BASE}') as revision from public.alembic_version"
_COLUMNS = (
    "select c.relname as name, a.attname as column, format_type(a.atttypid, a.atttypmod) as type,"
    " a.attnotnull as needed"
    " from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
    " where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
)
_SPELT = {"timestamptz": "timestamp with time zone"}


def revision(host: Host, timeout: float | None = None) -> str | None:
    """At which it is; `base` where nothing was migrated yet, None where the database is not there. Raises DrError."""
    if not host.query(_THERE, timeout=timeout):
        return None
    if not host.query(_NOTED, DATABASE, timeout)[0]["noted"]:
        return BASE
    return str(host.query(_REVISION, DATABASE, timeout)[0]["revision"])


def rows(host: Host, tables: Sequence[str], timeout: float | None = None) -> dict[str, int]:
    """How many each of these tables holds. Raises DrError, also where one of them is missing."""
    if not tables:
        return {}
    counts = ", ".join(f"'{name}', (select count(*) from public.\"{name}\")" for name in tables)
    counted = host.query(f"select json_build_object({counts}) as counted", DATABASE, timeout)[0]["counted"]
    return {name: int(number) for name, number in counted.items()}


def differences(host: Host, declared: Tables, timeout: float | None = None) -> tuple[str, ...]:
    """What the catalogue's tables lack or have otherwise; columns that are there beside are none. Raises DrError."""
    found = {(row["name"], row["column"]): row for row in host.query(_COLUMNS, DATABASE, timeout)}
    wrong = []
    for table in declared.tables.values():
        for column in table.columns:
            there = found.get((table.name, column.name))
            if there is None:
                wrong.append(f"{table.name}.{column.name} is missing")
            elif (there["type"], there["needed"]) != (_spelt(column.type), not column.nullable):
                wrong.append(f"{table.name}.{column.name} is {there['type']}, declared is {column.type}")
    return tuple(wrong)


def _spelt(declared: str) -> str:
    """A type of the catalogue as PostgreSQL's format_type writes it."""
    return _SPELT.get(declared, declared.replace("varchar(", "character varying("))
