"""What is in a database: every table of its users with its rows and the newest of them, and how it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runbooks.probes.postgresql.table_facts import HAS_TIMESCALE, HYPERTABLES, NO_HYPERTABLES, OF_USERS, chunks
from runbooks.table_copy.names import literal, qualified, quoted, shown

Query = Callable[[str], list[dict[str, Any]]]
COUNTED_BYTES = 4 << 30  # a larger table is not read through for a number
# Partitions and chunks are counted with their table.
_OF_USERS = f"""
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and {OF_USERS} and c.oid not in ({{chunks}})
  and not exists (select from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
"""
_TABLES = """
select n.nspname as schema, c.relname as name, greatest(c.reltuples, 0)::bigint as about,
  coalesce((select sum(pg_total_relation_size(i.inhrelid)) from pg_inherits i where i.inhparent = c.oid), 0)
    + pg_total_relation_size(c.oid) as bytes,
  (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
     order by exists (select from pg_index x where x.indrelid = c.oid and x.indkey[0] = a.attnum) desc, a.attnum limit 1
  ) as time_column
{of_users} and not {locked} order by 1, 2
"""
# Recovery that is paused before the commit of a DROP or ALTER holds its lock, and a query for its rows would never end.
_LOCKED = """exists (select from pg_locks l where l.relation = c.oid and l.mode = 'AccessExclusiveLock' and l.granted
  and l.database = (select oid from pg_database where datname = current_database()))"""
_LOCKED_TABLES = """
select n.nspname as schema, c.relname as name {of_users} and {locked} order by 1, 2
"""


@dataclass(frozen=True)
class Content:
    """One table: rows (`exact` tells whether they were counted or estimated), and its newest time, empty without."""

    name: str
    rows: int
    exact: bool
    newest: str
    locked: bool = False  # by a transaction that had not ended where recovery stopped: nothing can be counted

    def __str__(self) -> str:
        if self.locked:
            return f"{self.name}: there, and locked by a transaction that had not ended at the target"
        count = f"{self.rows:,} rows" if self.exact else f"about {self.rows:,} rows"
        return f"{self.name}: {count}{f', newest {self.newest}' if self.newest else ''}"


def has_timescale(query: Query) -> bool:
    """Whether the database in which `query` runs a SELECT has TimescaleDB. Raises DrError."""
    return bool(query(f"select {HAS_TIMESCALE} as there")[0]["there"])


def look(query: Query) -> tuple[Content, ...]:
    """Ask one database through `query`, which runs one SELECT there. Raises DrError."""
    of_users = _OF_USERS.format(chunks=chunks(HYPERTABLES if has_timescale(query) else NO_HYPERTABLES))
    tables, closed = (query(text.format(of_users=of_users, locked=_LOCKED)) for text in (_TABLES, _LOCKED_TABLES))
    locked = tuple(Content(shown(row["schema"], row["name"]), 0, False, "", True) for row in closed)
    if not tables:
        return locked
    rows = query(" union all ".join(_select(table) for table in tables) + " order by 1")
    found = (Content(row["name"], row["rows"], row["exact"], row["newest"] or "") for row in rows)
    return tuple(sorted((*found, *locked), key=lambda content: content.name))


def _select(table: dict[str, Any]) -> str:
    name = shown(table["schema"], table["name"])
    counted = int(table["bytes"]) <= COUNTED_BYTES
    rows = f"(select count(*) from {qualified(name)})" if counted else str(int(table["about"]))
    column = table["time_column"]
    newest = f"(select max({quoted(column)})::text from {qualified(name)})" if column and counted else "null::text"
    return f"select {literal(name)} as name, {rows} as rows, {str(counted).lower()} as exact, {newest} as newest"
