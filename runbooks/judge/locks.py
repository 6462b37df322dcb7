"""Locks that a statement will find none of one day: a table that grows by a chunk a day is told of long before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.judge.finding import Finding
from runbooks.probes.postgresql.locks import LockRoom


def findings(seen: Mapping[str, LockRoom], max_percent: float) -> Iterator[Finding]:
    for host, room in seen.items():
        if room.used_percent > max_percent:
            yield Finding(
                f"locks of {host}",
                f"one statement on all {room.parts:,} chunks of {room.table} takes {room.locks:,} of {room.capacity:,}",
                f"{max_percent:g}%",
                f"max_locks_per_transaction {_more(room)} would do today; chunk_interval and kept_years in tables.yaml "
                "decide it: ./dr deploy, then restart every standby, and the primary last",
            )


def _more(room: LockRoom) -> str:
    """By how much it has to grow for a third of the room to be taken."""
    return f"{max(1.0, 3 * room.locks / max(1, room.capacity)):.1f} times as large"


__all__ = ["findings"]
