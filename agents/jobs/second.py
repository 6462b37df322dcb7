"""Retention of a second engine's backups, which are taken by hand: the law of the first engine's, over two copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.jobs import in_step, leases, proofs
from agents.jobs.config import Retention, Settings
from agents.jobs.retention import Backup, Plan, plan

KEEP = 2


def look(settings: Settings, there: Sequence[Backup], path: Path) -> Plan:
    """What may go of `there`, oldest first; `path` holds the proofs. Ask inside `leases.exclusively`."""
    clock = in_step.look(settings)
    holds = [lease.sentence for lease in leases.live(settings.leases)]
    holds += filter(None, [in_step.why_not(clock, "expire")])
    known = proofs.verdicts(proofs.read(path))
    return plan(there, known, holds, Retention(KEEP, 0), in_step.now(settings))


def told(found: Plan) -> str:
    """What to add to the sentence of a backup that was taken; empty where nothing is left to say."""
    if found.goes:
        return f"; let go: {', '.join(one.label for one in found.goes)}"
    return f"; {found.why}" if found.held else ""
