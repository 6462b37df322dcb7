"""Backups as they are kept now, of every store, and as lines: each is told again when it has changed, or was let go."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agents.monitor.seen import Seen
from agents.monitor.spool import line, utc
from runbooks.backups import postgresql, tdengine
from runbooks.hosts import Estate
from runbooks.probes.tdengine import backups as td_backups

_SOURCE = "backups"
LET_GO = "let go"


@dataclass(frozen=True)
class Kept:
    """One of them; `ended_at` in unix seconds, `seconds` it took, `says` whether it was proven, or what is wrong."""

    name: str
    label: str
    ended_at: float
    outcome: str
    seconds: float
    says: str


def kept(estate: Estate) -> Iterator[Kept]:
    """Raises DrError when the backup host does not answer."""
    for one in postgresql.look(estate).backups:
        yield _kept(f"{one.store} {one.kind}", one)
    if td_backups.is_there(estate):
        for ticks in tdengine.look(estate).backups:
            yield _kept(f"tdengine {ticks.kind}", ticks)


def gather(estate: Estate, seen: Seen) -> Iterator[str]:
    """Raises DrError."""
    before: Mapping[str, Any] = seen.get(_SOURCE) or {}
    now = {f"{estate.name}:{one.name}:{one.label}": asdict(one) for one in kept(estate)}
    gone = {name: {**one, "outcome": LET_GO} for name, one in before.items() if name not in now}
    for name, one in {**now, **gone}.items():
        if before.get(name) != one:
            yield line("backup", {
                "backup_id": name, "estate": estate.name, "name": one["name"], "outcome": one["outcome"],
                "says": one["says"], "seconds": one["seconds"], "ended_at": utc(one["ended_at"]),
                "revision": time.time(),
            })  # fmt: skip
    seen.put(_SOURCE, now)


def _kept(name: str, one: postgresql.Listed | tdengine.Listed) -> Kept:
    proven = f"proven {utc(one.proven_at)[:16].replace('T', ' ')}" if one.proven_at else "never proven"
    outcome = "damaged" if one.trouble else "passed"
    says = f"{one.label}: {one.trouble or proven}"
    return Kept(name, one.label, one.ended_at, outcome, one.ended_at - one.started_at, says)
