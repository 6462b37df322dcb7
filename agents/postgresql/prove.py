"""Prove a backup by restoring it: into a throw-away cluster beside the repository, started, checked, dropped.

    python3 -m agents.postgresql.prove [--set LABEL] [--repo 1] [--engine native]

Without --set it takes the full backup that must not wait any longer (max_full_proof_age_d in jobs.json), else the
newest backup that was never tried, else the one whose last trial is longest ago. The result is one line of
/var/lib/mystocks-dr/proofs.jsonl, printed as well. What is not the backup's fault (no space, another key, a repository
that does not answer) is an error and no result.
Exit 0 proven, 1 not proven or an error, 4 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.base import signals
from agents.base.errors import AgentError, run
from agents.jobs import proofs, proving
from agents.jobs.proofs import Check, Proof
from agents.postgresql import engines, native, pgbackrest
from agents.postgresql.engines import Engine, Native, PgBackRest
from agents.postgresql.pgbackrest import Backup, Damaged, Missing, Repository
from agents.postgresql.prove_checks import after_promotion, at_rest, while_paused
from agents.postgresql.side import restore
from agents.postgresql.side.place import BadRequest, Place, find
from agents.postgresql.side.recovery import NotReached
from agents.postgresql.side.restore import Request
from agents.postgresql.side.target import Target

NAME = "proof"


def prove(engine: Engine, label: str = "", path: Path = proofs.PATH) -> Proof:
    """Prove one backup and record what became of it. Raises AgentError."""
    return proving.prove("prove", "a backup", path, lambda: _proof(engine, _chosen(engine, label, path)))


def _chosen(engine: Engine, label: str, path: Path) -> Backup:
    there = engine.backups()
    chosen = label or proving.turn("prove", [one.label for one in there], proofs.read(path))
    if not chosen:
        flag = "" if engine.name == "pgbackrest" else f" --engine {engine.name}"
        raise Missing("There is no backup that could be proven.", f"./dr backup.run --type full{flag}")
    for one in there:
        if one.label == chosen:
            return one
    raise Missing(
        f"There is no {engine.name} backup {chosen}.", f"There is {', '.join(one.label for one in there) or 'none'}."
    )


def _proof(engine: Engine, backup: Backup) -> Proof:
    number = engine.repository.number if isinstance(engine, PgBackRest) else 1
    config = str(engine.repository.config) if isinstance(engine, PgBackRest) else str(pgbackrest.CONFIG)
    print(f"Proving {backup.label}", file=sys.stderr, flush=True)
    began = time.monotonic()
    checks: list[Check] = [Check("pages", not backup.error, _pages(backup))]
    said: dict[str, Any] = {}
    damaged: tuple[str, ...] = ()
    request = Request(
        NAME, Target("immediate"), backup.label, number, config, accept_gap=False, engine=engine.name
    )
    try:
        said = restore.restore(request, replace=True)
        place = find(NAME)
        assert place is not None
        checks.append(Check("restored", True, f"consistent at {said['lsn']} on timeline {said['timeline']}"))
        checks += _checks(place, backup)
    except (Damaged, Missing, NotReached) as error:
        checks.append(Check("restored", False, str(error)))
        damaged = (*getattr(error, "files", ()), *_verified(engine, backup))
    finally:
        _drop()
    return Proof(
        backup.label, time.time(), all(check.ok for check in checks), tuple(dict.fromkeys(damaged)), backup.kind,
        number, time.monotonic() - began, _figures(said), tuple(checks),
        _sentence(backup, checks, damaged, said),
    )  # fmt: skip


def _figures(said: dict[str, Any]) -> dict[str, float]:
    """Bytes and seconds of the restore, and of the replay of WAL; 0 where it did not come to that."""
    return {
        "restore_bytes": int(said.get("bytes") or 0), "restore_s": float(said.get("restore_s") or 0),
        "wal_bytes": int(said.get("wal_bytes") or 0), "replay_s": float(said.get("replay_s") or 0),
    }  # fmt: skip


def _checks(place: Place, backup: Backup) -> list[Check]:
    """Every check, cheapest first; one that breaks is a check that failed, and the others still run."""
    found: list[Check] = []
    for stage in (while_paused, after_promotion, at_rest):
        try:
            found += stage(place, backup.annotation)
        except AgentError as error:
            found.append(Check(stage.__name__, False, str(error)))
    return found


def _verified(engine: Engine, backup: Backup) -> tuple[str, ...]:
    """What a verification finds wrong in this backup, the full one it builds on, or the archive."""
    try:
        return engine.verify(backup.label)
    except AgentError as error:
        return (f"verify: {error}",)


def _pages(backup: Backup) -> str:
    return "pgBackRest met damaged pages when it was taken" if backup.error else "no page was damaged when it was taken"


def _sentence(backup: Backup, checks: Sequence[Check], damaged: Sequence[str], said: dict[str, Any]) -> str:
    named = f"; damaged: {', '.join(dict.fromkeys(damaged))}" if damaged else ""
    rate = int(said.get("bytes") or 0) / 2**20 / max(float(said.get("restore_s") or 0), 0.001)
    return proving.judged(backup.label, checks, f", restored at {rate:.0f} MiB/s", named)


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
    parser.add_argument("--engine", choices=engines.NAMES, default=engines.NAMES[0])
    options = parser.parse_args(arguments)
    if os.geteuid() == 0:
        raise BadRequest("PostgreSQL does not run as root.", "Run it as postgres.")
    with signals.as_errors():
        if options.engine == engines.NAMES[0]:
            proof = prove(PgBackRest(Repository(options.config, options.repo, options.stanza)), options.set)
        else:
            store = native.Store()
            proof = prove(Native(store), options.set, store.proofs)
    return proving.tell(proof)


if __name__ == "__main__":
    sys.exit(run(main))
