"""Which backups may be restored: sound ones whose newest proof did not fail, that no verification found damaged, and
that need none of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inventories.errors import BadInput, Refused
from runbooks.hosts import Host
from runbooks.probes.postgresql import proofs
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.postgresql.proofs import Proof


@dataclass(frozen=True)
class Choice:
    """The backup to restore. `passed_over`: newer ones that may not be, each with the reason."""

    backup: Backup
    passed_over: tuple[tuple[str, str], ...]


def last_passed(host: Host) -> dict[str, float]:
    """label -> when it was last restored and found whole (unix seconds). Raises DrError."""
    return passed(proofs.every(host))


def passed(records: Sequence[Proof]) -> dict[str, float]:
    """The same of records, oldest first."""
    return {proof.label: proof.proven_at for proof in records if proof.passed and proof.restored}


def failed_proofs(host: Host) -> dict[str, str]:
    """label -> what was found, for backups whose newest proof failed or that the last verification found damaged.

    Raises DrError.
    """
    return failed(proofs.every(host))


def failed(records: Sequence[Proof]) -> dict[str, str]:
    """The same of records, oldest first. What was restored from another repository tells nothing of this one."""
    return proofs.damaged([proof for proof in records if proof.repo == 1], _found)


def choose(repository: Repository, failed: Mapping[str, str], wanted: str = "") -> Choice:
    """The newest backup that may be restored, or the `wanted` one. Raises BadInput and Refused."""
    newest_first = sorted(repository.backups, key=lambda backup: backup.place, reverse=True)
    if not newest_first:
        raise Refused("the repository holds no backup", "./dr restore-cluster --from-offsite takes the off-site copy")
    if wanted:
        newest_first = [backup for backup in newest_first if backup.label == wanted]
        if not newest_first:
            known = ", ".join(backup.label for backup in repository.backups)
            raise BadInput(f"the repository holds no backup {wanted!r}", f"it holds {known}")
    passed_over: list[tuple[str, str]] = []
    for backup in newest_first:
        why = why_not(backup, failed)
        if not why:
            return Choice(backup, tuple(passed_over))
        passed_over.append((backup.label, why))
    told = "; ".join(f"{label}: {why}" for label, why in passed_over)
    raise Refused(
        f"no backup may be restored: {told}",
        "./dr restore-cluster --from-offsite takes the off-site copy",
    )


def why_not(backup: Backup, failed: Mapping[str, str]) -> str:
    """Why this one may not be restored; empty when it may."""
    if backup.error:
        return "pgBackRest met damaged pages when it took it"
    if backup.label in failed:
        return failed[backup.label]
    damaged = [label for label in backup.references if label in failed]
    return f"it needs {damaged[0]}: {failed[damaged[0]]}" if damaged else ""


def _found(proof: Proof) -> str:
    """What a failed proof names as damaged, shortly."""
    bad = [check.detail or check.name for check in proof.checks if not check.ok]
    return ", ".join(proof.damaged[:2]) or (bad[0] if bad else "no reason was recorded")
