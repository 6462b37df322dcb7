"""The schema as it is on a PostgreSQL host, and where it differs from the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from inventories.catalog.postgresql.ddl import PROBE
from inventories.catalog.tables import Store, Table, Tables
from runbooks.hosts import Host
from runbooks.probes.postgresql.content import Query, has_timescale

WRITER = frozenset({"INSERT", "SELECT", "UPDATE"})
READER = frozenset({"SELECT"})
_TABLES = """
select c.relname as name,
  (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
       'nullable', not attnotnull) order by attnum)
     from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) as columns,
  (select json_agg(a.attname order by k.nr)
     from pg_index i, unnest(i.indkey) with ordinality k(attnum, nr), pg_attribute a
     where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum) as key,
  {time_column} as time_column,
  (select json_object_agg(grantee, privileges) from (
     select r.rolname as grantee, json_agg(x.privilege_type) as privileges from aclexplode(c.relacl) x
     join pg_roles r on r.oid = x.grantee where x.grantee <> c.relowner group by 1) g) as grants
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1
"""
_TIME_COLUMN = """(select column_name from timescaledb_information.dimensions d
     where d.hypertable_schema = 'public' and d.hypertable_name = c.relname and d.dimension_number = 1)"""


@dataclass(frozen=True)
class LiveColumn:
    name: str
    type: str  # as format_type writes it
    nullable: bool


@dataclass(frozen=True)
class LiveTable:
    """One table of schema public. `time_column` is None for one that is no hypertable; `grants`: role -> privileges."""

    name: str
    columns: tuple[LiveColumn, ...]
    key: tuple[str, ...]
    time_column: str | None
    grants: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Off:
    """One thing of a table that is otherwise than declared: `what` it is, in short, and the `sentence` that says it."""

    table: str
    what: str
    expected: str
    found: str
    sentence: str


def look(host: Host, database: str, timeout: float | None = None) -> dict[str, LiveTable]:
    """Every table of schema public by name; plain ones where there is no TimescaleDB. Raises DrError when the server
    does not answer.
    """
    return read(partial(host.query, database=database, timeout=timeout))


def read(query: Query) -> dict[str, LiveTable]:
    """The same through `query`, which runs one SELECT in the database."""
    asked = _TABLES.format(time_column=_TIME_COLUMN if has_timescale(query) else "null")
    return {row["name"]: _live(row) for row in query(asked)}


def differences(tables: Tables, live: Mapping[str, LiveTable]) -> list[str]:
    """Sentences, one for each thing that the catalogue declares and the database has not, or has otherwise."""
    declared = tables.of(Store.POSTGRESQL)
    found = [line for table in declared for line in of_table(table, live.get(table.name))]
    if PROBE not in live:
        found.append(f"table {PROBE} is missing")
    return found


def of_table(table: Table, live: LiveTable | None) -> list[str]:
    """What differs in one table; empty when nothing does."""
    return [off.sentence for off in offs(table, live)]


def offs(table: Table, live: LiveTable | None) -> Iterable[Off]:
    """The same in its parts."""
    if live is None:
        yield Off(table.name, "table", "there", "missing", f"table {table.name} is missing")
        return
    yield from _columns(table, live)
    yield from _shape(table, live)
    yield from privileges(table.name, live)


def grants(name: str, live: LiveTable) -> Iterable[str]:
    """Where the privileges of writer and reader are others than declared, more of them included."""
    return (off.sentence for off in privileges(name, live))


def privileges(name: str, live: LiveTable) -> Iterable[Off]:
    """The same in its parts."""
    for role, wanted in (("writer", WRITER), ("reader", READER)):
        has = live.grants.get(role, frozenset())
        if has != wanted:
            may, declared = _listed(has), _listed(wanted)
            yield Off(name, f"grants of {role}", declared, may, f"{name}: {role} may {may}, declared is {declared}")


def canonical(declared: str) -> str:
    """A catalogue type as PostgreSQL's format_type writes it."""
    if declared == "timestamptz":
        return "timestamp with time zone"
    return re.sub(r"^varchar\(", "character varying(", declared)


def _columns(table: Table, live: LiveTable) -> Iterable[Off]:
    there = {column.name: column for column in live.columns}
    for column in table.columns:
        what, at = f"column {column.name}", f"{table.name}.{column.name}"
        has = there.pop(column.name, None)
        wanted = _described(canonical(column.type), column.nullable)
        if has is None:
            yield Off(table.name, what, wanted, "missing", f"{at} is missing, declared is {wanted}")
        elif (found := _described(has.type, has.nullable)) != wanted:
            yield Off(table.name, what, wanted, found, f"{at} is {found}, declared is {wanted}")
    for extra in there.values():
        found, said = _described(extra.type, extra.nullable), f"{table.name}.{extra.name} is not in the catalogue"
        yield Off(table.name, f"column {extra.name}", "none", found, said)


def _shape(table: Table, live: LiveTable) -> Iterable[Off]:
    has, declared = (f"({', '.join(key)})" for key in (live.key, table.key))
    if live.key != table.key:
        said = f"{table.name}: primary key is {has}, declared is {declared}"
        yield Off(table.name, "primary key", declared, has, said)
    wanted = table.hypertable.time_column if table.hypertable else None
    if live.time_column != wanted:
        found, declared = _hypertable(live.time_column), _hypertable(wanted)
        yield Off(table.name, "hypertable", declared, found, f"{table.name}: {found}, declared is {declared}")


def _described(type_name: str, nullable: bool) -> str:
    return type_name if nullable else f"{type_name} not null"


def _hypertable(column: str | None) -> str:
    return f"hypertable by {column}" if column else "a plain table"


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _live(row: dict[str, Any]) -> LiveTable:
    return LiveTable(
        name=row["name"],
        columns=tuple(LiveColumn(c["name"], c["type"], c["nullable"]) for c in row["columns"] or []),
        key=tuple(row["key"] or ()),
        time_column=row["time_column"],
        grants={role: frozenset(names) for role, names in (row["grants"] or {}).items()},
    )
