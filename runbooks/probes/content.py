"""What is in a database: every table of schema public with its rows and the newest of them, and how it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Query = Callable[[str], list[dict[str, Any]]]
COUNTED_BYTES = 4 << 30  # a larger table is not read through for a number
_TABLES = """
select c.relname as name, greatest(c.reltuples, 0)::bigint as about,
  coalesce((select sum(pg_total_relation_size(i.inhrelid)) from pg_inherits i where i.inhparent = c.oid), 0)
    + pg_total_relation_size(c.oid) as bytes,
  (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
     order by exists (select from pg_index x where x.indrelid = c.oid and x.indkey[0] = a.attnum) desc, a.attnum limit 1
  ) as time_column
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1
"""


@dataclass(frozen=True)
class Content:
    """One table: rows (`exact` tells whether they were counted or estimated), and its newest time, empty without."""

    name: str
    rows: int
    exact: bool
    newest: str

    def __str__(self) -> str:
        count = f"{self.rows:,} rows" if self.exact else f"about {self.rows:,} rows"
        return f"{self.name}: {count}{f', newest {self.newest}' if self.newest else ''}"


def look(query: Query) -> tuple[Content, ...]:
    """Ask one database through `query`, which runs one SELECT there. Raises DrError."""
    tables = query(_TABLES)
    if not tables:
        return ()
    rows = query(" union all ".join(_select(table) for table in tables) + " order by 1")
    return tuple(Content(row["name"], row["rows"], row["exact"], row["newest"] or "") for row in rows)


def _select(table: dict[str, Any]) -> str:
    name = _quoted(table["name"])
    counted = int(table["bytes"]) <= COUNTED_BYTES
    rows = f"(select count(*) from public.{name})" if counted else str(int(table["about"]))
    column = table["time_column"]
    newest = f"(select max({_quoted(column)})::text from public.{name})" if column and counted else "null::text"
    literal = str(table["name"]).replace("'", "''")
    return f"select '{literal}' as name, {rows} as rows, {str(counted).lower()} as exact, {newest} as newest"


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
