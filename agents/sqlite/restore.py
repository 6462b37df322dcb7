"""Restore a SQLite database of this host, whole or one table, and look at what there is to restore.

    python3 -m agents.sqlite.restore --latest [--plan]
    python3 -m agents.sqlite.restore --time 2026-11-28T10:00:00+08:00 [--table trades]
    python3 -m agents.sqlite.restore --tx 4711
    python3 -m agents.sqlite.restore --backup 20261128-100000F
    python3 -m agents.sqlite.restore --file pre_restore/20261128-100000F/trading.db
    python3 -m agents.sqlite.restore --list | --status | --glance | --verify | --history | --users

It is built beside and checked before anything is touched; whoever has the database open is named, and it is refused.
The old one stays in pre_restore beside it. --plan ends before the swap. Prints JSON. Exit 0 done, 1 failed (--status:
not protected), 2 no such backup, 3 refused, 4 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.base import signals
from agents.base.errors import AgentError, run
from agents.sqlite import checks, ground, placing, session, snapshot, swap
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.ground import NoDatabase
from agents.sqlite.protecting import Asking
from agents.sqlite.rebuild import Reached, rebuild, stamp
from agents.sqlite.seal import Seal
from agents.sqlite.settings import Database, Settings
from agents.sqlite.targets import NotReached, Target, kept
from agents.sqlite.wire import Line

_ASK_S = 1.0  # for the protector to say what is protected


def restore(settings: Settings, name: str, target: Target, table: str = "", *, plan: bool = False) -> dict[str, Any]:
    """From what the receiver keeps. Raises AgentError before anything was changed, or with the old one back."""
    one, began = settings.database(name), time.monotonic()
    with swap.restoring(one.path) as partial, closing(Line(settings.there(), name)) as line:
        seal = Seal(settings.secret())
        there = kept(line, seal)
        placing.room(one.path, max((known.bytes for known in there.snapshots), default=0))
        reached = rebuild(line, seal, there, target, partial)
        found = checks.rows_of_sound(partial)
        base = next(known for known in there.snapshots if known.label == reached.snapshot)
        said = {
            **_told(reached), "changes": reached.tx - base.tx, "rows": found, "seconds": 0.0,
            "warnings": list(there.broken),
        }  # fmt: skip
        if not plan:
            said |= placing.put(one, partial, table, snapshot=reached.snapshot, to=stamp(reached.at), tx=reached.tx)
    return {**said, "seconds": round(time.monotonic() - began, 3)}


def _told(reached: Reached) -> dict[str, Any]:
    return {
        "snapshot": reached.snapshot, "stream": reached.stream, "tx": reached.tx, "to": stamp(reached.at),
        "newest": reached.is_end,
    }  # fmt: skip


def listed(settings: Settings, name: str) -> dict[str, Any]:
    """Snapshots with what became of their proofs, how far changes go, and what is kept on this host."""
    one = settings.database(name)
    with closing(Line(settings.there(), name)) as line:
        there = kept(line, Seal(settings.secret()))
    snapshots = [
        {
            "label": known.label, "to": stamp(known.at), "tx": known.tx, "bytes": known.bytes, "rows": known.rows,
            "proven": there.proofs.get(known.label, (None,))[0],
        }
        for known in reversed(there.snapshots)
    ]  # fmt: skip
    return {
        "snapshots": snapshots, "changes_until": stamp(there.last_at) if there.last_at else None,
        "here": [str(path) for path in sorted(swap.kept(one.path), reverse=True)],
        "warnings": list(there.broken),
    }  # fmt: skip


def status(settings: Settings, name: str) -> dict[str, Any]:
    """Whether the database is whole, and all that was committed protected now; "protected" decides the exit code."""
    one = settings.database(name)
    said = _glance(settings, one)
    try:
        with closing(session.connect(one.path, readonly=True)) as connection:
            checks.sound(connection, one.path, quick=True)
            said |= {"whole": True, "rows": checks.counts(connection)}
    except AgentError as error:
        said |= {"whole": False, "damage": str(error)}
    return said


def _glance(settings: Settings, one: Database) -> dict[str, Any]:
    """What is known of a database without reading it; `why` it is not protected."""
    said: dict[str, Any] = {
        "name": one.name, "path": str(one.path), "there": one.path.exists(), "streamed": one.protect == "stream",
        "protected": False, "why": "", "tx": None, "snapshot_age_s": None, "proven_age_s": None, "damaged": "",
    }  # fmt: skip
    try:
        with closing(Line(settings.there(), one.name)) as line:
            kept_there, _ = line.ask("state")
        said |= _ages(kept_there, time.time())
        if said["streamed"]:
            with closing(Asking(settings.socket(one.name))) as asking:
                said |= {"tx": asking.protected(_ASK_S).tx, "protected": True}
        else:
            age = said["snapshot_age_s"]
            said["protected"] = age is not None and age <= 2 * settings.snapshot_every_s
    except AgentError as error:
        said["why"] = str(error)
    return said


def _ages(said: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Of the newest snapshot and of the last proof that passed; `damaged`: what the newest proof found."""
    proven_at, damaged = said["proven_at"], said["damaged"]
    return {
        "snapshot_age_s": round(now - said["snapshot_at"], 1) if said["snapshots"] else None,
        "proven_age_s": round(now - proven_at, 1) if proven_at else None, "damaged": damaged,
    }  # fmt: skip


def verify(settings: Settings, name: str, label: str = "") -> dict[str, Any]:
    """Restore a snapshot from where it is kept, beside, hold it against its manifest, and record the proof."""
    one = settings.database(name)
    with swap.restoring(one.path) as partial, closing(Line(settings.there(), name)) as line:
        seal = Seal(settings.secret())
        there = kept(line, seal)
        if not there.snapshots:
            raise NotReached("No snapshot was ever kept.", "Does mystocks-sqlite@ run, and the receiver?")
        chosen = (
            next((known for known in there.snapshots if known.label == label), None) if label else there.snapshots[-1]
        )
        if chosen is None:
            raise NotReached(f"There is no snapshot {label}.", "sqlite-restore --list")
        snapshot.prove(line, seal, chosen, partial)
    return {"label": chosen.label, "rows": chosen.rows, "proven": True}


def moment(text: str) -> float:
    """A time with its zone, as unix seconds. Raises NotReached."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise NotReached(f"{text!r} is no time.", "Write it as 2026-11-28T10:00:00+08:00.") from error
    if found.tzinfo is None:
        raise NotReached(f"{text!r} has no zone.", "Add +08:00, or Z for UTC.")
    if found.timestamp() > time.time():
        raise NotReached(f"{text} is still to come.", "--latest restores the newest that there is.")
    return found.timestamp()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agents.sqlite.restore", description="Restore a SQLite database.")
    parser.add_argument("--name", default="trading")
    parser.add_argument("--config", type=Path, default=sqlite_settings.PATH)
    what = parser.add_mutually_exclusive_group(required=True)
    for flag in ("--latest", "--list", "--status", "--glance", "--history", "--users"):
        what.add_argument(flag, action="store_true")
    what.add_argument("--time")
    what.add_argument("--tx", type=int)
    parser.add_argument("--stream", default="", help="with --tx: along these changes alone")
    what.add_argument("--backup", metavar="LABEL")
    what.add_argument("--file", type=Path)
    what.add_argument("--verify", nargs="?", const="", metavar="LABEL")
    parser.add_argument("--table", default="")
    parser.add_argument("--plan", action="store_true", help="build and check it, and end before the swap")
    return parser


def _answered(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    one = settings.database(options.name)
    if options.glance:
        known = [_glance(settings, one) for one in settings.databases.values()]
        return {"databases": [{key: value for key, value in one.items() if key != "tx"} for one in known]}
    if options.list:
        return listed(settings, one.name)
    if options.status:
        return status(settings, one.name)
    if options.users:
        return {"users": ground.users(one.path)}
    if options.history:
        return {"restores": swap.history(one.path)}
    if options.verify is not None:
        return verify(settings, one.name, options.verify)
    if options.file is not None:
        if options.file.exists() and one.path.exists() and options.file.samefile(one.path):
            raise NoDatabase(f"{options.file} is the database itself.", "Name a copy of it.")
        return placing.from_file(one, options.file, options.table, plan=options.plan)
    at = moment(options.time) if options.time else None
    target = Target(options.backup or "", at, options.tx, options.stream)
    return restore(settings, one.name, target, options.table, plan=options.plan)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.umask(0o027)
    with signals.as_errors():
        said = _answered(options, sqlite_settings.load(options.config))
    print(json.dumps(said), flush=True)
    return 1 if options.status and not said["protected"] else 0


if __name__ == "__main__":
    sys.exit(run(main))
