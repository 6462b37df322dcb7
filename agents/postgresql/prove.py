"""Prove a backup by restoring it: into a throw-away cluster beside the repository, started, checked, dropped.

    python3 -m agents.postgresql.prove [--set LABEL] [--repo 1]

Without --set it takes the newest backup that was never tried, else the one whose last trial is longest ago, so that
older ones have their turn too. The result is one line of /var/lib/mystocks-dr/proofs.jsonl, printed as well. What is
not the backup's fault (no space, another key, a repository that does not answer) is an error and no result.
Exit 0 proven, 1 not proven or an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.jobs import leases, proofs
from agents.jobs.leases import Lease
from agents.jobs.proofs import Check
from agents.postgresql import pgbackrest
from agents.postgresql.pgbackrest import Backup, Damaged, Missing, Repository
from agents.postgresql.prove_checks import after_promotion, at_rest, while_paused
from agents.postgresql.side import restore
from agents.postgresql.side.place import BadRequest, Place, find
from agents.postgresql.side.recovery import NotReached
from agents.postgresql.side.restore import Request
from agents.postgresql.side.target import Target

NAME = "proof"
_LEASE_S = 6 * 3600.0


@dataclass(frozen=True)
class Proof:
    """One line of proofs.jsonl. `proven_at` in unix seconds; bytes and seconds of restore and replay; `damaged` names
    files.
    """

    label: str
    kind: str
    repo: int
    proven_at: float
    outcome: str
    seconds: float
    restore_bytes: int
    restore_s: float
    wal_bytes: int
    replay_s: float
    checks: tuple[Check, ...]
    damaged: tuple[str, ...]
    sentence: str

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def choose(backups: Sequence[Backup], tried: Sequence[proofs.Proof]) -> Backup:
    """The newest never tried, else the one tried longest ago. Raises Missing when there is none at all."""
    if not backups:
        raise Missing("The repository holds no backup that could be proven.", "./dr backup.run --type full")
    last = {one.label: one.proven_at for one in sorted(tried, key=lambda one: one.proven_at)}
    untried = [one for one in backups if one.label not in last]
    return untried[-1] if untried else min(backups, key=lambda one: last[one.label])


def prove(repository: Repository, label: str = "", path: Path = proofs.PATH) -> Proof:
    """Prove one backup and record what became of it. Nothing in the repository expires meanwhile."""
    identity = f"prove-{os.getpid()}"
    leases.hold(Lease(identity, f"prove (pid {os.getpid()})", "a backup is being proven", None, time.time() + _LEASE_S))
    try:
        backups = repository.backups()
        backup = repository.backup(label) if label else choose(backups, proofs.read(path))
        print(f"Proving {backup.label}", file=sys.stderr, flush=True)
        proof = _proof(repository, backup)
        record(proof, path)
        return proof
    finally:
        leases.release(identity)


def _proof(repository: Repository, backup: Backup) -> Proof:
    began = time.monotonic()
    checks: list[Check] = [Check("pages", not backup.error, _pages(backup))]
    said: dict[str, Any] = {}
    damaged: tuple[str, ...] = ()
    request = Request(
        NAME, Target("immediate"), backup.label, repository.number, str(repository.config), accept_gap=False
    )
    try:
        said = restore.restore(request, replace=True)
        place = find(NAME)
        assert place is not None
        checks.append(Check("restored", True, f"consistent at {said['lsn']} on timeline {said['timeline']}"))
        checks += _checks(place, backup)
    except (Damaged, Missing, NotReached) as error:
        checks.append(Check("restored", False, str(error)))
        damaged = (*getattr(error, "files", ()), *_verified(repository, backup))
    finally:
        _drop()
    passed = all(check.ok for check in checks)
    return Proof(
        backup.label, backup.kind, repository.number, time.time(), "passed" if passed else "failed",
        round(time.monotonic() - began, 3), int(said.get("bytes") or 0), float(said.get("restore_s") or 0),
        int(said.get("wal_bytes") or 0), float(said.get("replay_s") or 0), tuple(checks),
        tuple(dict.fromkeys(damaged)), _sentence(backup, checks, damaged, said),
    )  # fmt: skip


def _checks(place: Place, backup: Backup) -> list[Check]:
    """Every check, cheapest first; one that breaks is a check that failed, and the others still run."""
    found: list[Check] = []
    for stage in (while_paused, after_promotion, at_rest):
        try:
            found += stage(place, backup.annotation)
        except AgentError as error:
            found.append(Check(stage.__name__, False, str(error)))
    return found


def _verified(repository: Repository, backup: Backup) -> tuple[str, ...]:
    """What `pgbackrest verify` finds wrong in this backup, the full one it builds on, or the archive."""
    full = backup.label.partition("_")[0]
    try:
        every = pgbackrest.damaged_files(repository)
    except AgentError as error:
        return (f"verify: {error}",)
    return tuple(one for one in every if full in one or "F/" not in one)


def _pages(backup: Backup) -> str:
    return "pgBackRest met damaged pages when it was taken" if backup.error else "no page was damaged when it was taken"


def _sentence(backup: Backup, checks: Sequence[Check], damaged: Sequence[str], said: dict[str, Any]) -> str:
    failed = [check for check in checks if not check.ok]
    if failed:
        named = f"; damaged: {', '.join(dict.fromkeys(damaged))}" if damaged else ""
        why = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        return f"{backup.label} is NOT proven: {why}{named}"
    rate = (said["bytes"] / 2**20) / max(said["restore_s"], 0.001)
    return f"{backup.label} is proven by {len(checks)} checks, restored at {rate:.0f} MiB/s"


def record(proof: Proof, path: Path = proofs.PATH) -> None:
    """Append it to the records."""
    proofs.append(asdict(proof), path)


def _drop() -> None:
    place = find(NAME)
    if place is not None:
        place.remove()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.postgresql.prove", description="Prove a backup by restoring it.")
    parser.add_argument("--set", default="", help="label (default: in rotation)")
    parser.add_argument("--repo", type=int, default=1)
    parser.add_argument("--config", type=Path, default=pgbackrest.CONFIG)
    parser.add_argument("--stanza", default=pgbackrest.STANZA)
    options = parser.parse_args(arguments)
    if os.geteuid() == 0:
        raise BadRequest("PostgreSQL does not run as root.", "Run it as postgres.")
    with restore.signals():
        proof = prove(Repository(options.config, options.repo, options.stanza), options.set)
    print(json.dumps(asdict(proof)), flush=True)
    if not proof.passed:
        raise AgentError(f"{proof.sentence}.", "Take a new full backup; older ones may be sound.")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
