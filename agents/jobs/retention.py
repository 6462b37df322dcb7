"""What may expire: nothing that is needed, and nothing at all unless something newer was restored and found whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.jobs.config import Retention
from agents.jobs.proofs import Proof

_DAY_S = 86400.0


@dataclass(frozen=True)
class Backup:
    """One backup; times are unix seconds, `bytes` what it alone takes in the repository."""

    label: str
    type: str
    started_at: float
    stopped_at: float
    bytes: int
    error: bool = False

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
    backups: Sequence[Backup], proofs: Mapping[str, Proof], leases: Sequence[str], retention: Retention, now: float
) -> Plan:
    """Decide. `proofs`: label -> its last proof; `leases`: a sentence for each that lives."""
    ordered = sorted(backups, key=lambda one: (one.stopped_at, one.label))
    fulls = [one for one in ordered if one.type == "full"]
    wanted = _wanted(fulls, ordered, proofs, retention, now)
    if wanted >= len(fulls):
        return _nothing(ordered, proofs, _needed(retention))
    if leases:
        return _nothing(ordered, proofs, f"nothing expires: {'; '.join(leases)}", held=True)
    proven = [one for one in ordered if _sound(one, proofs) and one.label in proofs and one.full in _labels(fulls)]
    if not proven:
        return _nothing(ordered, proofs, "nothing expires: no backup was ever restored and found whole", held=True)
    kept_for_proof = len(fulls) - [one.label for one in fulls].index(proven[-1].full)
    keep = max(wanted, kept_for_proof)
    if keep >= len(fulls):
        why = f"nothing expires: no backup newer than {fulls[-keep].label} was restored and found whole"
        return _nothing(ordered, proofs, why, held=True)
    staying = _labels(fulls[-keep:])
    newest_gone = max(one.stopped_at for one in ordered if one.full not in staying)
    if newest_gone >= proven[-1].stopped_at:
        why = f"nothing expires: {proven[-1].label}, which was proven, is not newer than all that would go"
        return _nothing(ordered, proofs, why, held=True)
    return Plan(
        keep_fulls=keep,
        goes=tuple(_fate(one, proofs) for one in ordered if one.full not in staying),
        stays=tuple(_fate(one, proofs) for one in ordered if one.full in staying),
        why=f"{proven[-1].label} is newer than all that goes and was restored and found whole",
    )


def _wanted(
    fulls: Sequence[Backup], ordered: Sequence[Backup], proofs: Mapping[str, Proof], retention: Retention, now: float
) -> int:
    """How many of the newest full backups retention asks for: enough sound ones, and back to the promised day."""
    reaches = now - retention.days * _DAY_S
    sound = 0
    for count, full in enumerate(reversed(fulls), start=1):
        sound += _sound(full, proofs)
        if sound >= retention.full_copies and _sound(full, proofs) and full.stopped_at <= reaches:
            return count
    return len(fulls)


def _sound(backup: Backup, proofs: Mapping[str, Proof]) -> bool:
    """Not known to be damaged."""
    proof = proofs.get(backup.label)
    return not backup.error and (proof is None or proof.passed)


def _labels(backups: Sequence[Backup]) -> set[str]:
    return {one.label for one in backups}


def _needed(retention: Retention) -> str:
    asked = f"{retention.full_copies} full backups that are not known to be damaged, and {retention.days} days back"
    return f"nothing expires: retention asks for {asked}, which takes all that there is"


def _nothing(ordered: Sequence[Backup], proofs: Mapping[str, Proof], why: str, held: bool = False) -> Plan:
    return Plan(None, (), tuple(_fate(one, proofs) for one in ordered), why, held)


def _fate(backup: Backup, proofs: Mapping[str, Proof]) -> Fate:
    proof = proofs.get(backup.label)
    proven = proof.proven_at if proof and proof.passed else None
    return Fate(backup.label, backup.type, backup.stopped_at, backup.bytes, proven, not _sound(backup, proofs))
