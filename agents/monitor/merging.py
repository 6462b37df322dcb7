"""Put into the monitoring database what a backup has that was restored beside it, as if it were all told again.

Nothing that is there is touched: a row that is in both is there once, and of one that changed the newer stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ROWS = 1000  # of one statement
_KINDS = "SELECT kind, table_name, month_column, keep_months FROM kinds ORDER BY kind"
_TOLD = "(to_jsonb(t) - 'recorded_at')::text"
# What is older is dropped with its month, and taken no more.
_KEPT = "{} >= date_trunc('month', now(), 'UTC') - make_interval(months => {})"
_BOOKS = ("expired", "rejected")
_BOOK = (
    "WITH put AS (INSERT INTO {0} SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s::jsonb)"
    " ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM put"
)


def merge(beside: Any, live: Any) -> int:
    """How many rows the live one lacked, or had older. Both connections lead to the same schema.

    Raises psycopg2.Error: what was put before stays, and all of it may be put again.
    """
    added = 0
    with live, live.cursor() as cursor:
        cursor.execute(_KINDS)
        kinds = cursor.fetchall()
    for kind, table, month, months in kinds:
        where = _KEPT.format(month, int(months)) if month and months else "true"
        for rows in _rows(beside, table, _TOLD, where):
            added += _put(live, "SELECT monitor_put(%s, %s::jsonb)", kind, rows)
    for table in _BOOKS:
        for rows in _rows(beside, table, "to_jsonb(t)::text", "true"):
            added += _put(live, _BOOK.format(table), rows)
    return added


def _rows(beside: Any, table: str, told: str, where: str) -> Iterator[str]:
    """As JSON arrays."""
    with beside, beside.cursor(name="rows") as cursor:
        cursor.execute(f"SELECT {told} FROM {table} AS t WHERE {where}")  # noqa: S608 - names of our own migrations
        while rows := cursor.fetchmany(_ROWS):
            yield "[" + ",".join(row for (row,) in rows) + "]"


def _put(live: Any, statement: str, *given: str) -> int:
    with live, live.cursor() as cursor:
        cursor.execute(statement, given)
        return int(cursor.fetchone()[0])
