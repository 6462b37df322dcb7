"""Which backups may be restored: sound ones whose newest proof did not fail, and that need none whose proof failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inventories.errors import BadInput, Refused
from runbooks.hosts import Host
from runbooks.layout import PROOFS
from runbooks.probes.pgbackrest import Backup, Repository


@dataclass(frozen=True)
class Choice:
    """The backup to restore. `passed_over`: newer ones that may not be, each with the reason."""

    backup: Backup
    passed_over: tuple[tuple[str, str], ...]


def last_passed(host: Host) -> dict[str, float]:
    """label -> when it was last restored and found whole (unix seconds). Raises DrError."""
    return passed(host.run("cat %s 2>/dev/null || true", PROOFS).stdout)


def passed(lines: str) -> dict[str, float]:
    """The same of the text of proofs.jsonl."""
    found: dict[str, float] = {}
    for line in lines.splitlines():
        try:
            said = json.loads(line)
            if said["outcome"] == "passed":
                found[said["label"]] = max(float(said["proven_at"]), found.get(said["label"], 0.0))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def failed_proofs(host: Host) -> dict[str, str]:
    """label -> what its newest proof found, for backups whose newest proof failed. Raises DrError."""
    return failed(host.run("cat %s 2>/dev/null || true", PROOFS).stdout)


def failed(lines: str) -> dict[str, str]:
    """The same of the text of proofs.jsonl; a line that is torn tells nothing."""
    newest: dict[str, str] = {}
    for line in lines.splitlines():
        try:
            said = json.loads(line)
            newest[said["label"]] = "" if said["outcome"] == "passed" else _found(said)
        except (ValueError, KeyError, TypeError):
            continue
    return {label: why for label, why in newest.items() if why}


def choose(repository: Repository, failed: Mapping[str, str], wanted: str = "") -> Choice:
    """The newest backup that may be restored, or the `wanted` one. Raises BadInput and Refused."""
    newest_first = sorted(repository.backups, key=lambda backup: backup.stopped_at, reverse=True)
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
        return f"its newest proof failed: {failed[backup.label]}"
    damaged = [label for label in backup.references if label in failed]
    return f"it needs {damaged[0]}, whose newest proof failed: {failed[damaged[0]]}" if damaged else ""


def _found(said: Mapping[str, object]) -> str:
    """What a failed proof names as damaged, shortly."""
    damaged = said.get("damaged")
    if isinstance(damaged, Sequence) and not isinstance(damaged, str) and damaged:
        return ", ".join(str(one) for one in damaged[:2])
    checks = said.get("checks")
    bad = [one for one in checks if isinstance(one, dict) and not one.get("ok")] if isinstance(checks, list) else []
    return str(bad[0].get("detail") or bad[0].get("name")) if bad else "no reason was recorded"
