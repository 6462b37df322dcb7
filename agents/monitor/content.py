"""What a monitoring database holds: of each table the number of rows and a hash of them, whatever their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TABLES = (
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY 1"
)
Content = Mapping[str, tuple[int, int]]


def content(cursor: Any) -> dict[str, tuple[int, int]]:
    """Of one moment where the transaction is of one."""
    cursor.execute(_TABLES)
    return {name: _of(cursor, name) for (name,) in cursor.fetchall()}


def _of(cursor: Any, table: str) -> tuple[int, int]:
    """Each row has a key, so that none can hide another in the XOR of their hashes."""
    quoted = table.replace('"', '""')
    cursor.execute(
        f'SELECT count(*), coalesce(bit_xor(hash_record_extended(t, 0)), 0) FROM "{quoted}" AS t'  # noqa: S608
    )
    number, hashed = cursor.fetchone()
    return int(number), int(hashed)


def differences(wanted: Content, found: Content) -> list[str]:
    """A sentence for each table that is not the same."""
    told = []
    for table in sorted({*wanted, *found}):
        before, now = wanted.get(table), found.get(table)
        if before is None or now is None:
            told.append(f"{table} is {'missing' if now is None else 'one too many'}")
        elif before[0] != now[0]:
            told.append(f"{table} has {now[0]:,} rows and not {before[0]:,}")
        elif before != now:
            told.append(f"{table} has as many rows, and others")
    return told
