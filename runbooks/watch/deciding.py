"""What keeps a failover from being run with nobody awake. Pure; the runbook's own gates come after it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runbooks.record.types import Known, Unknown
from runbooks.watch.desk import Kept

BY_HAND = "./dr failover --yes"


@dataclass(frozen=True)
class Declined:
    """Why nothing is done, and what a person may run."""

    why: str
    command: str = BY_HAND

    @property
    def says(self) -> str:
        return f"no failover by itself: {self.why}; a person may run {self.command}"


def declines(kept: Kept, primary: str, standbys: Collection[str], may_act: bool, cooldown_s: float) -> Declined | None:
    """None where nothing does: the record vouches that nothing can be lost, and nobody else has a hand in it.

    `standbys`: the database hosts that are looked through, apart from the primary.
    """
    if not may_act:
        return Declined("this watch only looks (--act failover lets it act)")
    if kept.why:
        return Declined(kept.why)
    if kept.acting:
        return Declined(
            f"{kept.acting.get('owner')} is running {kept.acting.get('procedure')} on this estate",
            "./dr lock.status, which shows who is acting",
        )
    if kept.maintenance:
        declared = kept.maintenance
        return Declined(
            f"maintenance is declared by {declared.get('by')} ({declared.get('reason')})",
            f"./dr watch.maintenance --end, or {BY_HAND}",
        )
    if why := _may_lose(kept, primary, standbys):
        return why
    if kept.acted and kept.acted["age_s"] < cooldown_s:
        return Declined(f"a watch has acted within the last {cooldown_s / 60:g} minutes ({kept.acted.get('by')})")
    return None


def _half_way(command: str) -> str:
    """A run can be resumed where its journal is; that of a watch is on the watch's host."""
    return f"./dr {command} --resume --yes where its journal is, elsewhere ./dr runbook.abandon --yes"


def _may_lose(kept: Kept, primary: str, standbys: Collection[str]) -> Declined | None:
    answer = kept.answer
    if isinstance(answer, Unknown):
        return Declined(f"the estate record is not known: {answer.why}")
    record = answer.record
    if not isinstance(answer, Known) or answer.carry:
        return Declined("the estate record is a copy, which may not be the newest")
    if record.changing:
        return Declined(record.changing.says, _half_way(record.changing.command))
    if record.primary != primary:
        return Declined(f"the estate record calls {record.primary} the primary, not {primary}")
    if not set(record.synchronous) & set(standbys):
        return Declined(f"acknowledged rows may be lost, for no standby has every one of them: {record.why}")
    return None
