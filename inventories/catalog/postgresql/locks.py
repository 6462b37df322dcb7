"""How many locks the catalogue's tables will need once they hold every row that they are to keep.

A statement on a hypertable locks each of its chunks, and what belongs to it: so many days of rows, so many locks. The
server makes room for them when it starts, and never again.
"""

from __future__ import annotations

import math

from inventories.catalog.tables import Store, Table, Tables

_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0, "year": 365.0}
_PER_CHUNK = 4  # the chunk itself, the index of its key, its TOAST table and that one's index
ROOM = 1.5  # a second session that reads, autovacuum, and tables that nobody declared
LEAST = 64  # PostgreSQL's own
_STEP = 64


def chunks(table: Table, kept_years: int) -> int:
    """Of this table, when it holds all that it keeps; those that are compressed have a second one each."""
    if table.hypertable is None:
        return 1
    number, unit = table.hypertable.chunk_interval.split()
    days = table.retention_days or kept_years * _DAYS["year"] + kept_years / 4
    plain = math.ceil(days / (int(number) * _DAYS[unit.rstrip("s")])) + 1
    return plain * 2 if table.compress_after_days else plain


def needed(tables: Tables) -> int:
    """Locks of one transaction that touches every row of every table, as a restore of all of them does."""
    return sum(
        chunks(table, tables.kept_years) * (_PER_CHUNK + len(table.indexes)) for table in tables.of(Store.POSTGRESQL)
    )


def per_transaction(tables: Tables, max_connections: int) -> int:
    """max_locks_per_transaction: the server multiplies it by its connections, and any session may take them all."""
    wanted = math.ceil(needed(tables) * ROOM / max(1, max_connections))
    return max(LEAST, math.ceil(wanted / _STEP) * _STEP)
