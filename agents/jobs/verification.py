"""What a verification found is noted where proofs are, and what it did not find out keeps backups from expiring."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path

from agents.jobs import proofs
from agents.jobs import state as jobs_state
from agents.jobs.config import Settings
from agents.jobs.proofs import VERIFY, Check, Proof


def note(path: Path, damaged: Mapping[str, str], looked: Collection[str] | None = None) -> None:
    """Write down what is damaged, label of a backup or name of a WAL segment -> why, and what once was and is not now.

    Of all that was `looked` at; None: of everything. Every decision reads it there: restore, expiry, off-site
    retention, status.
    """
    before = {one.label for one in proofs.spoilt(proofs.read(path))}
    for label, why in damaged.items():
        proofs.append(_line(label, False, why), path)
    for label in sorted((before if looked is None else before & set(looked)) - set(damaged)):
        proofs.append(_line(label, True, f"every file of {label} is what it was again"), path)


def ended(path: Path, wrong: str) -> None:
    """Write down that everything was read to its end, and what was `wrong`, empty when nothing was."""
    proofs.append(_line("", not wrong, wrong or "everything is what it was"), path)


def holds(settings: Settings, job: str, path: Path, now: float) -> tuple[str, ...]:
    """Why nothing may expire on the word of what was proven: its verification does not come, or broke off.

    One that came to its end and found damage holds nothing by itself: it is in the records, where proofs from before
    it count no longer.
    """
    if job not in settings.jobs:
        return (f"no job {job} reads the backups again",)
    states = jobs_state.arm(settings)
    late = jobs_state.missed(settings.jobs[job], states, now)
    if late:
        return (f"the verification is late: {late}",)
    newest, state = proofs.newest_verification(proofs.read(path)), states[job]
    if state.outcome in ("failed", "timeout") and (newest is None or newest.passed):
        return (f"the last verification came to no end: {state.sentence}",)
    return ()


def _line(label: str, passed: bool, sentence: str) -> Proof:
    damaged = () if passed else (sentence,)
    return Proof(
        label, time.time(), passed, damaged, VERIFY, checks=(Check("files", passed, sentence),), sentence=sentence
    )
