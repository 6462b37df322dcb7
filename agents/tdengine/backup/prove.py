"""Prove a TDengine backup by restoring it, with all that it needs, into a server of its own; then drop that.

    python3 -m agents.tdengine.backup.prove [--label L]

Without --label it takes the newest that was never tried, else the one whose last trial is longest ago. The result is
one line of td-proofs.jsonl, printed as well. What is not the backup's fault (no space, another key) is an error and
no result. Exit 0 proven, 1 not proven or an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from agents.base.errors import AgentError, run
from agents.jobs import leases, proofs
from agents.jobs.leases import Lease
from agents.jobs.proofs import Check
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.file import Broken
from agents.tdengine.backup.manifest import Edited, Manifest, NoBackup
from agents.tdengine.backup.restore import Done, Request, restore
from agents.tdengine.backup.scratch import server
from agents.tdengine.backup.settings import Settings
from agents.tdengine.session import Session
from agents.tdengine.session import Settings as Server

_LEASE_S = 6 * 3600.0
_MIN_FREE = 512 << 20


@dataclass(frozen=True)
class Proof:
    """One line of td-proofs.jsonl, with the keys of PostgreSQL's where they mean the same. Times in seconds."""

    label: str
    kind: str
    repo: int
    proven_at: float
    outcome: str
    seconds: float
    restore_bytes: int
    restore_rows: int
    restore_s: float
    checks: tuple[Check, ...]
    damaged: tuple[str, ...]
    sentence: str


def prove(settings: Settings, label: str = "") -> Proof:
    """Prove one backup and record what became of it. None expires meanwhile. Raises AgentError, NoBackup."""
    identity = f"td-prove-{os.getpid()}"
    owner, until = f"td-prove (pid {os.getpid()})", time.time() + _LEASE_S
    leases.hold(Lease(identity, owner, "a TDengine backup is being proven", None, until))
    try:
        chosen = label or _choose(settings)
        print(f"Proving {chosen}", file=sys.stderr, flush=True)
        proof = _proof(settings, chosen)
        proofs.append(asdict(proof), settings.proofs)
        return proof
    finally:
        leases.release(identity)


def _choose(settings: Settings) -> str:
    there = td_manifest.labels(settings)
    if not there:
        raise NoBackup("There is no TDengine backup to prove.", "./dr backup.run --store tdengine --type full")
    tried = {one.label: one.proven_at for one in proofs.read(settings.proofs)}
    untried = [label for label in there if label not in tried]
    return untried[-1] if untried else min(there, key=lambda label: tried[label])


def _proof(settings: Settings, label: str) -> Proof:
    began = time.monotonic()
    checks: list[Check] = []
    damaged: tuple[str, ...] = ()
    rows, size, seconds, kind = 0, 0, 0.0, "full" if "_" not in label else "incr"
    try:
        manifest = td_manifest.load(label, settings)
        chain = td_manifest.links(manifest, settings)
        checks.append(Check("chain", True, f"a chain of {len(chain)}, every manifest sealed with our key"))
        size = sum(link.bytes for link in chain.values())
        _room(settings, size)
        with server(settings.folder / ".proof") as reach:
            done = restore(settings, Request(label), reach)
            checks += _checks(manifest, done, reach)
            rows, seconds = done.rows_written, done.write_s
    except (Broken, Edited, NoBackup) as error:
        if not (settings.folder / label).exists():
            raise
        checks.append(Check("restored", False, str(error)))
        damaged = (str(error),)
    passed = all(check.ok for check in checks)
    return Proof(
        label, kind, 1, time.time(), "passed" if passed else "failed", round(time.monotonic() - began, 3), size, rows,
        seconds, tuple(checks), damaged, _sentence(label, checks, rows, seconds),
    )  # fmt: skip


def _room(settings: Settings, size: int) -> None:
    """Rows take about as much again on a server's disk, twice while they are merged, and once more in its WAL."""
    need, free = _MIN_FREE + 4 * size, shutil.disk_usage(settings.folder).free
    if free < need:
        raise AgentError(
            f"A proof needs {need >> 20} MiB in {settings.folder}, {free >> 20} MiB are free.", "Make room there."
        )


def _checks(manifest: Manifest, done: Done, reach: Server) -> list[Check]:
    found = [Check("rows", not done.missing, done.sentence)]
    with Session(reach) as session:
        for stable, (rows, _) in manifest.totals.items():
            counted = session.rows(f"SELECT COUNT(*) FROM `{done.into}`.`{stable}`")
            there = int(counted[0][0]) if counted else 0
            found.append(Check(f"count {stable}", there == rows, f"{there:,} of {rows:,} rows"))
        tables = session.rows(
            f"SELECT COUNT(*) FROM information_schema.ins_tables WHERE db_name = '{done.into}' AND type = 'CHILD_TABLE'"
        )
        there, wanted = int(tables[0][0]) if tables else 0, len(manifest.subtables)
        found.append(Check("subtables", there == wanted, f"{there} of {wanted} with their tags"))
    return found


def _sentence(label: str, checks: Sequence[Check], rows: int, seconds: float) -> str:
    failed = [check for check in checks if not check.ok]
    if failed:
        return f"{label} is NOT proven: {'; '.join(f'{check.name}: {check.detail}' for check in failed)}"
    rate = rows / max(seconds, 0.001)
    return f"{label} is proven by {len(checks)} checks: {rows:,} rows restored at {rate:,.0f} rows/s"


class Interrupted(AgentError):  # noqa: N818
    """A signal."""


def _stop(number: int, _: FrameType | None) -> None:
    raise Interrupted(f"Interrupted by {signal.Signals(number).name}.", "Run it again; it begins anew.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.tdengine.backup.prove", description="Prove a TDengine backup by restoring it."
    )
    parser.add_argument("--label", "--set", default="", help="the backup (default: in rotation)")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    proof = prove(td_settings.load(options.config), options.label)
    print(json.dumps(asdict(proof)), flush=True)
    if proof.outcome != "passed":
        raise AgentError(f"{proof.sentence}.", "Take a new full backup; older ones may be sound.")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
