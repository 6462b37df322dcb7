"""What a verification found is noted where proofs are, and what it did not find out keeps backups from expiring."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path

from agents.jobs import proofs
from agents.jobs import state as jobs_state
from agents.jobs.config import Settings
from agents.jobs.proofs import VERIFY, Check, Proof


def note(path: Path, damaged: Mapping[str, str], looked: Collection[str]) -> None:
    """Write down which backups are damaged, label -> why, and which of those that once were are sound again.

    Of all that were looked at. Every decision reads it there: restore, expiry, off-site retention, status.
    """
    known = proofs.read(path)
    before = {one.label for one in known if not one.restored and one.label and not _last(known, one.label).passed}
    for label, why in damaged.items():
        proofs.append(_line(label, False, why), path)
    for label in sorted((before & set(looked)) - set(damaged)):
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


def _last(known: Collection[Proof], label: str) -> Proof:
    return [one for one in known if not one.restored and one.label == label][-1]


def _line(label: str, passed: bool, sentence: str) -> Proof:
    damaged = () if passed else (sentence,)
    return Proof(
        label, time.time(), passed, damaged, VERIFY, checks=(Check("files", passed, sentence),), sentence=sentence
    )
