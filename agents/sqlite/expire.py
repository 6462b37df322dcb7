"""Retention by proof for what the receiver keeps of one database: the law of the other backups, and what it leaves.

Snapshots go as agents/jobs/retention.py says: none unless a newer one was restored and found whole. Of those older than
`every_days` one a day stays, since the changes lead from it to every transaction all the same. Changes go with the
last snapshot on which they could be laid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from agents.base.clock import SLACK_S
from agents.jobs import retention
from agents.jobs.config import Retention
from agents.jobs.proofs import Proof

_DAY_S, _SOON_S = 86400.0, 7200.0


@dataclass(frozen=True)
class Law:
    """`full_copies` and `days`: see agents/jobs/retention.py; every snapshot of the last `every_days` stays."""

    full_copies: int
    days: int
    every_days: int


@dataclass(frozen=True)
class Going:
    """Labels of snapshots; names of streams that go as a whole; of the others the first epoch that stays."""

    snapshots: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    why: str = ""


def plan(
    manifests: Sequence[Mapping[str, Any]], streams: Sequence[str], proofs: Mapping[str, Proof], law: Law, now: float
) -> Going:
    """`manifests` and `streams` oldest first; the newest stream never goes. `proofs`: see agents/jobs/proofs.py."""
    if not manifests or not -SLACK_S <= now - float(manifests[-1]["taken_at"]) <= _SOON_S:
        # By one of the two clocks everything is old. It is asked right after a snapshot was proven.
        return Going(why="nothing expires: the clock here and the one that took the last snapshot differ")
    backups = [
        retention.Backup(one["label"], "full", float(one["taken_at"]), float(one["taken_at"]), int(one["bytes"]))
        for one in manifests
    ]
    found = retention.plan(backups, proofs, (), Retention(law.full_copies, law.days), now)
    going = {one.label for one in found.goes}
    going |= _thinned(_without(manifests, going), proofs, now - law.every_days * _DAY_S)
    if not going:
        return Going(why=found.why)
    first: dict[str, int] = {}
    for one in _without(manifests, going):
        first.setdefault(str(one["stream"]), int(one["epoch"]))
    gone = tuple(one for one in streams[:-1] if one not in first)
    return Going(tuple(sorted(going)), gone, first, found.why)


def _without(manifests: Sequence[Mapping[str, Any]], going: Set[str]) -> list[Mapping[str, Any]]:
    return [one for one in manifests if one["label"] not in going]


def _thinned(staying: Sequence[Mapping[str, Any]], proofs: Mapping[str, Proof], before: float) -> set[str]:
    """Of each day of a stream before that moment all but the first sound one, where a later one was proven."""
    proven = [n for n, one in enumerate(staying) if (found := proofs.get(one["label"])) and found.passed]
    kept: set[tuple[str, int]] = set()
    going = set()
    for one in staying[: proven[-1] if proven else 0]:
        day = (str(one["stream"]), int(float(one["taken_at"]) // _DAY_S))
        known = proofs.get(one["label"])
        if float(one["taken_at"]) >= before:
            continue
        if day in kept:
            going.add(str(one["label"]))
        elif known is None or known.passed:
            kept.add(day)
    return going
