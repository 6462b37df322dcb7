"""Prove a TDengine backup by restoring it, with all that it needs, into a server of its own; then drop that.

    python3 -m agents.tdengine.backup.prove [--label L]

Without --label it takes the full one that must not wait any longer (max_full_proof_age_d in jobs.json), else the newest
that was never tried, else the one whose last trial is longest ago. The result is one line of td-proofs.jsonl, printed
as well. What is not the backup's fault (no space, another key) is an error and no result. Exit 0 proven, 1 not proven
or an error, 4 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agents.base import signals
from agents.base.errors import AgentError, run
from agents.jobs import proofs, proving
from agents.jobs.proofs import Check, Proof
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.file import Broken
from agents.tdengine.backup.kept import SLACK_S, Kept
from agents.tdengine.backup.manifest import HOUR_NS, Edited, Manifest, NoBackup
from agents.tdengine.backup.missing import keep_s
from agents.tdengine.backup.restore import Done, Request, clock_in_doubt, restore
from agents.tdengine.backup.scratch import server
from agents.tdengine.backup.settings import Settings
from agents.tdengine.session import Session
from agents.tdengine.session import Settings as Server
from agents.tdengine.sql import identifier, quoted

_MIN_FREE = 512 << 20


def prove(settings: Settings, label: str = "") -> Proof:
    """Prove one backup and record what became of it. Raises AgentError, NoBackup."""
    path = settings.proofs
    return proving.prove("td-prove", "a TDengine backup", path, lambda: _proof(settings, _chosen(settings, label)))


def _chosen(settings: Settings, label: str) -> str:
    chosen = label or proving.turn("td-prove", td_manifest.labels(settings), proofs.read(settings.proofs))
    if not chosen:
        raise NoBackup("There is no TDengine backup to prove.", "./dr backup.run --store tdengine --type full")
    return chosen


def _proof(settings: Settings, label: str) -> Proof:
    print(f"Proving {label}", file=sys.stderr, flush=True)
    began = time.monotonic()
    checks: list[Check] = []
    damaged: tuple[str, ...] = ()
    rows, size, seconds, kind = 0, 0, 0.0, "full" if "_" not in label else "incr"
    try:
        manifest = td_manifest.load(label, settings, subtables=False)  # of which the restore holds its own
        chain = td_manifest.links(manifest, settings)
        checks.append(Check("chain", True, f"a chain of {len(chain)}, every manifest sealed with our key"))
        size = sum(chain.load(link, subtables=False).bytes for link in chain)
        _room(settings, size)
        with server(settings.folder / ".proof") as reach:
            done = restore(settings, Request(label), reach, doubt=clock_in_doubt)
            checks += _checks(td_manifest.load(label, settings), done, reach)
            rows, seconds = done.rows_written, done.write_s
    except (Broken, Edited, NoBackup) as error:
        if not (settings.folder / label).exists():
            raise
        checks.append(Check("restored", False, str(error)))
        damaged = (str(error),)
    figures = {"restore_bytes": size, "restore_rows": rows, "restore_s": seconds}
    how = f": {rows:,} rows restored at {rows / max(seconds, 0.001):,.0f} rows/s"
    return Proof(
        label, time.time(), all(check.ok for check in checks), damaged, kind, 1, time.monotonic() - began, figures,
        tuple(checks), proving.judged(label, checks, how),
    )  # fmt: skip


def _room(settings: Settings, size: int) -> None:
    """Rows take about as much again on a server's disk, twice while they are merged, and once more in its WAL."""
    need, free = _MIN_FREE + 4 * size, shutil.disk_usage(settings.folder).free
    if free < need:
        raise AgentError(
            f"A proof needs {need >> 20} MiB in {settings.folder}, {free >> 20} MiB are free.", "Make room there."
        )


def _checks(manifest: Manifest, done: Done, reach: Server) -> list[Check]:
    """Rows that KEEP no longer allows are said, and counted nowhere else; a proof over no row at all is none."""
    # One that has grown older than KEEP in every row is no damaged one.
    found = [Check("rows", not done.missing and done.rows_planned + done.expired > 0, done.sentence)]
    # Of the hour in which KEEP ends every row was looked for; it may be gone by now.
    first = max(0, -(-Kept(keep_s(manifest.options)).limit(SLACK_S) // HOUR_NS))
    with Session(reach) as session:
        for name, windows in manifest.windows.items():
            rows = sum(window.rows for hour, window in windows.items() if hour >= first)
            where = f" WHERE _rowts >= {first * HOUR_NS}" if any(hour < first for hour in windows) else ""
            counted = session.rows(f"SELECT COUNT(*) FROM {identifier(done.into)}.{identifier(name)}{where}")
            there = int(counted[0][0]) if counted else 0
            found.append(Check(f"count {name}", there == rows, f"{there:,} of {rows:,} rows"))
        tables = session.rows(
            f"SELECT COUNT(*) FROM information_schema.ins_tables WHERE db_name = {quoted(done.into)} "
            "AND `type` IN ('CHILD_TABLE', 'NORMAL_TABLE')"
        )
        there, wanted = int(tables[0][0]) if tables else 0, sum(o.stable in manifest.tables for o in manifest.subtables)
        found.append(Check("subtables", there == wanted, f"{there} of {wanted} with their tags"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.tdengine.backup.prove", description="Prove a TDengine backup by restoring it."
    )
    parser.add_argument("--label", "--set", default="", help="the backup (default: in rotation)")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    os.umask(0o077)
    with signals.as_errors():
        proof = prove(td_settings.load(options.config), options.label)
    return proving.tell(proof)


if __name__ == "__main__":
    sys.exit(run(main))
