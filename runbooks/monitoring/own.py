"""Whether the monitoring database may be lost: its own newest backup, the proof of it, and what spools still have."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.monitor.shipping import KEEP_S
from agents.monitor.spool import utc
from inventories.errors import DrError
from runbooks.agent import ask
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host
from runbooks.monitoring import where


@dataclass(frozen=True)
class Own:
    """`says` is a sentence without its full stop; `safe`: all of the history would come back."""

    says: str
    safe: bool


def look(estate: Estate, there: Host) -> Own:
    """Also of a database that is gone. What nobody can tell is not safe."""
    try:
        there.must_answer()
        told = ask(there, "monitor.backup", "list", *where.shelf(estate), timeout=budget("monitor.history"))
    except DrError as error:
        return Own(f"Whether it has a backup of its own is unknown: {error}", False)
    return judged(told["backups"], time.time())


def judged(backups: Sequence[Mapping[str, Any]], now: float) -> Own:
    """`backups` as `agents.monitor.backup list` tells them, the oldest first."""
    if not backups:
        return Own("It has no backup of its own", False)
    newest = backups[-1]
    says = f"Its newest backup is of {_shown(newest['taken_at'])}"
    if newest["proven"] is False:
        return Own(f"{says}, and was found damaged", False)
    if now - newest["taken_at"] > KEEP_S:
        return Own(f"{says}, and spools keep what they shipped for {KEEP_S / 3600:.0f} hours", False)
    proven = [one["taken_at"] for one in backups if one["proven"]]
    if not proven:
        return Own(f"{says}, and none was ever proven by a restore", False)
    return Own(f"{says}, that of {_shown(proven[-1])} was proven by a restore", True)


def _shown(at: float) -> str:
    return f"{utc(at)[:16].replace('T', ' ')} UTC"
