"""Alarms as lines, from where they are kept: each is told again whenever it has changed."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agents.monitor.seen import Seen
from agents.monitor.spool import line, utc
from inventories.catalog.alarms import Severity
from runbooks.alarms.spool import Spool

_SOURCE = "alarms"
_MOMENTS = ("first_at", "last_at", "fired_at", "told_at", "gone_at", "acked_at", "escalated_at", "resolved_at")
_EVERY_S = 3600.0  # one that only goes on is told once an hour


def gather(path: Path, estate: str, seen: Seen) -> Iterator[str]:
    """Every alarm that fired and is not told as it is now. Raises TargetFailed for a spool that cannot be read."""
    if not path.exists():
        return
    spool = Spool(path)
    try:
        rows = [dict(row) for row in spool.rows("select * from alarm where fired_at is not null order by id")]
    finally:
        spool.close()
    before: Mapping[str, str] = seen.get(_SOURCE) or {}
    now = {_name(row, estate): _state(row) for row in rows}
    for row in rows:
        name = _name(row, estate)
        if before.get(name) != now[name]:
            yield line("alert", told(row, estate, name))
    seen.put(_SOURCE, now)


def told(row: Mapping[str, Any], estate: str, name: str) -> dict[str, Any]:
    """The columns of alert_logs."""
    return {
        "alert_id": name, "estate": estate, "alert_level": Severity(row["severity"]).name, "alert_type": row["rule"],
        "title": row["says"], "message": row["hint"], "source": row["subject"], "occurrence_count": row["count"],
        "first_occurred_at": utc(row["first_at"]), "last_occurred_at": utc(row["last_at"]),
        "alert_status": _status(row), "acknowledged_by": row["acked_by"] or None,
        "acknowledged_at": _moment(row["acked_at"]), "resolved_at": _moment(row["resolved_at"]),
        "resolution_notes": row["note"] or None, "revision": max(row[name] or 0.0 for name in _MOMENTS),
    }  # fmt: skip


def _name(row: Mapping[str, Any], estate: str) -> str:
    """A spool that was begun anew counts from 1 again."""
    return f"{estate}:{socket.gethostname()}:{row['id']}:{row['first_at']:.0f}"


def _state(row: Mapping[str, Any]) -> str:
    """Other where something has happened to it, or an hour has passed."""
    whole = {**row, "count": 0, "last_at": int(row["last_at"] // _EVERY_S)}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _status(row: Mapping[str, Any]) -> str:
    if row["resolved_at"] is not None:
        return "RESOLVED"
    return "OPEN" if row["acked_at"] is None else "ACKNOWLEDGED"


def _moment(at: float | None) -> str | None:
    return None if at is None else utc(at)
