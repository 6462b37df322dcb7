"""What may expire: nothing that is needed, and nothing at all unless something newer was restored and found whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.base.clock import has_been
from agents.jobs.config import Retention
from agents.jobs.proofs import Proof

_DAY_S = 86400.0


@dataclass(frozen=True)
class Backup:
    """One backup; times are unix seconds, `bytes` what it alone takes in the repository, `needs` labels of others
    without which it cannot be restored.
    """

    label: str
    type: str
    started_at: float
    stopped_at: float
    bytes: int
    error: bool = False
    needs: tuple[str, ...] = ()

    @property
    def full(self) -> str:
        """The label of the full backup without which it cannot be restored; its own when it is one."""
        return self.label.partition("_")[0]


@dataclass(frozen=True)
class Fate:
    """One backup and what is known of it: when it was last restored whole, or that it was found damaged."""

    label: str
    type: str
    stopped_at: float
    bytes: int
    proven_at: float | None
    damaged: bool


@dataclass(frozen=True)
class Plan:
    """`keep_fulls`: full backups that stay, None when nothing may go; `goes` and `stays` oldest first.

    `why` says what decided; `held` that something would have gone but for a missing proof or a lease.
    """

    keep_fulls: int | None
    goes: tuple[Fate, ...]
    stays: tuple[Fate, ...]
    why: str
    held: bool = False

    @property
    def restorable_from(self) -> float | None:
        """The earliest moment (unix seconds) that can be restored afterwards: the end of the first backup that stays
        and is not known to be damaged.
        """
        return min((one.stopped_at for one in self.stays if not one.damaged), default=None)


def plan(
    backups: Sequence[Backup], proofs: Mapping[str, Proof], holds: Sequence[str], retention: Retention, now: float
) -> Plan:
    """Decide. `backups` in the order in which they were taken, whatever their times say; `proofs`: what holds of each
    label, see agents/jobs/proofs.py; `holds`: a sentence for each lease that lives and whatever else forbids it.
    """
    known = _Known(proofs, now)
    fulls = [one for one in backups if one.type == "full"]
    wanted = _wanted(fulls, known, retention)
    if wanted >= len(fulls):
        return _nothing(backups, known, _needed(retention))
    if holds:
        return _nothing(backups, known, f"nothing expires: {'; '.join(holds)}", held=True)
    proven = [one for one in backups if known.proven(one) and one.full in _labels(fulls)]
    if not proven:
        return _nothing(backups, known, "nothing expires: no backup was ever restored and found whole", held=True)
    kept_for_proof = len(fulls) - [one.label for one in fulls].index(proven[-1].full)
    keep = max(wanted, kept_for_proof)
    if keep >= len(fulls):
        why = f"nothing expires: no backup newer than {fulls[-keep].label} was restored and found whole"
        return _nothing(backups, known, why, held=True)
    staying = _labels(fulls[-keep:])
    newest_gone = max(n for n, one in enumerate(backups) if one.full not in staying)
    if newest_gone >= backups.index(proven[-1]):
        why = f"nothing expires: {proven[-1].label}, which was proven, is not newer than all that would go"
        return _nothing(backups, known, why, held=True)
    return Plan(
        keep_fulls=keep,
        goes=tuple(known.fate(one) for one in backups if one.full not in staying),
        stays=tuple(known.fate(one) for one in backups if one.full in staying),
        why=f"{proven[-1].label} is newer than all that goes and was restored and found whole",
    )


@dataclass(frozen=True)
class _Known:
    """What is known of backups at `now`. A time that is still to come was noted by a clock that was ahead."""

    proofs: Mapping[str, Proof]
    now: float

    def sound(self, one: Backup) -> bool:
        """Neither it nor what it needs is known to be damaged."""
        failed = any(label in self.proofs and not self.proofs[label].passed for label in (one.label, *one.needs))
        return not one.error and not failed

    def copy(self, one: Backup) -> bool:
        """Whether it counts as one of the copies that were promised."""
        return self.sound(one) and has_been(one.stopped_at, self.now)

    def proven(self, one: Backup) -> bool:
        return self.copy(one) and self._proof(one) is not None

    def fate(self, one: Backup) -> Fate:
        proof = self._proof(one)
        proven = proof.proven_at if proof and self.sound(one) else None
        return Fate(one.label, one.type, one.stopped_at, one.bytes, proven, not self.sound(one))

    def _proof(self, one: Backup) -> Proof | None:
        proof = self.proofs.get(one.label)
        return proof if proof and proof.passed and has_been(proof.proven_at, self.now) else None


def _wanted(fulls: Sequence[Backup], known: _Known, retention: Retention) -> int:
    """How many of the newest full backups retention asks for: enough sound ones, and back to the promised day."""
    reaches = known.now - retention.days * _DAY_S
    copies = 0
    for count, full in enumerate(reversed(fulls), start=1):
        copies += known.copy(full)
        if copies >= retention.full_copies and known.copy(full) and full.stopped_at <= reaches:
            return count
    return len(fulls)


def _labels(backups: Sequence[Backup]) -> set[str]:
    return {one.label for one in backups}


def _needed(retention: Retention) -> str:
    asked = f"{retention.full_copies} full backups that are not known to be damaged, and {retention.days} days back"
    return f"nothing expires: retention asks for {asked}, which takes all that there is"


def _nothing(backups: Sequence[Backup], known: _Known, why: str, held: bool = False) -> Plan:
    return Plan(None, (), tuple(known.fate(one) for one in backups), why, held)
