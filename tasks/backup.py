"""Backups: take one, list them, check the archive, run any of the scheduled jobs, see what retention would let go."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from inventories.errors import BadInput, ExitCode, Refused
from tasks.support import INVENTORY_HELP, LAB_HELP, door, progress

if TYPE_CHECKING:
    from runbooks.probes.jobs import Fate, Retention

JOBS = {
    "full": "full", "diff": "differential", "incr": "incremental", "verify": "verify", "offsite": "offsite",
    "prove": "prove", "check": "check", "expire": "expire",
}  # fmt: skip


@task(
    help={
        "type": f"{', '.join(JOBS)} (default: incr)",
        "wait": "seconds to wait for a job that has the repository already (default: refuse at once)",
        "engine": "pgbackrest, or native: PostgreSQL's own pg_basebackup, full or incr, beside the repository",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def run(
    c: Context, type: str = "incr", wait: int = 0, engine: str = "pgbackrest", inventory: str = "", lab: str = ""
) -> None:
    """Take a backup, or run another scheduled job, now.

    Under the same lock and with the same records as when cron runs it.
    """
    from inventories.catalog import load_recovery
    from runbooks import hosts
    from runbooks.actions.backup import run_job, take_native

    if type not in JOBS:
        raise BadInput(f"there is no job {type!r}", f"the jobs are {', '.join(JOBS)}")
    if engine not in ("pgbackrest", "native"):
        raise BadInput(f"there is no engine {engine!r}", "the engines are pgbackrest and native")
    if engine == "native" and type not in ("full", "incr"):
        raise BadInput(f"the native engine has no job {type!r}", "it takes full and incr backups")
    if wait < 0:
        raise BadInput(f"--wait is {wait} seconds", "give 0 or more")
    limit_s = _limit(load_recovery().jobs.kinds, JOBS[type])
    backup = hosts.load(inventory or None).backup
    started = time.monotonic()
    with progress() as say:
        say(f"Running {type} on {backup}")
        if engine == "native":
            sentence = take_native(backup, type, limit_s)
        else:
            sentence = run_job(backup, type, limit_s, wait_s=wait)
    print(f"{type} passed in {time.monotonic() - started:.1f} s: {sentence}")


def _limit(kinds: object, kind: str) -> float:
    """Seconds after which the runner ends the job by itself, with some for its end. Raises BadInput."""
    assert isinstance(kinds, dict)
    if kind not in kinds:
        raise BadInput(f"the catalogue has no job {kind}", "add it to jobs.kinds of inventories/catalog/recovery.yaml")
    return float(kinds[kind].limit_s) + 60


@task(
    help={
        "plan": "say what would go and what could still be restored; change nothing",
        "yes": "let it go",
        "json": "print JSON instead of a table",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def expire(
    c: Context, plan: bool = False, yes: bool = False, json: bool = False, inventory: str = "", lab: str = ""
) -> None:
    """Let backups go that a newer, proven one covers.

    Without a proof, and while a restore holds a lease, nothing goes.
    """
    from runbooks import hosts
    from runbooks.actions.backup import run_job
    from runbooks.probes import jobs

    if plan == yes:
        raise BadInput("give either --plan or --yes", "--plan first: it says what would go")
    backup = hosts.load(inventory or None).backup
    found = jobs.retention(backup)
    if json:
        print(jsonlib.dumps(asdict(found), indent=2))
    else:
        _show(found)
    if not yes:
        return
    if found.held:
        raise Refused(found.why, "./dr prove-backup proves one; a lease ends by itself, or when its holder is done")
    print(run_job(backup, "expire", 3660))


@task(name="list", help={"json": "print JSON instead of a table", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def list_(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """List every backup, what it covers, when it was proven.

    Ends with 1 when the archive has a gap or a backup may not be used.
    """
    from runbooks import backups, hosts
    from tasks import backup_screen, screens

    seen = backups.look(hosts.load(inventory or None))
    if json:
        print(jsonlib.dumps(seen.as_json(), indent=2))
    else:
        screens.show(*backup_screen.listing(seen, screens.width()))
    if not seen.sound:
        raise Exit(code=int(ExitCode.FAILED))


@task(help={"json": "print JSON instead of a sentence", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def check(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Force a WAL segment, find it in the archive, byte for byte.

    An archive_command that lies is caught, and every gap of the archive is named.
    """
    from runbooks import backups, hosts

    with progress() as say:
        say("Forcing a WAL segment and looking for it in the repository")
        found = backups.check(hosts.load(inventory or None))
    print(jsonlib.dumps(asdict(found)) if json else f"{found.sentence}; the archive has no gap.")


def _show(found: Retention) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("backup", no_wrap=True), "ended", "bytes", "proven", "then")
    for fate, then in (*((one, "goes") for one in found.goes), *((one, "stays") for one in found.stays)):
        table.add_row(*_row(fate), then)
    Console().print(table)
    print(found.why[0].upper() + found.why[1:] + ".")
    if found.restorable_from is None:
        print("Afterwards nothing could be restored: there is no backup that is not known to be damaged.")
    else:
        print(f"Afterwards any moment since {_utc(found.restorable_from)} can be restored{_proven(found.stays)}.")


def _row(fate: Fate) -> tuple[str, ...]:
    from runbooks.objectives import size

    proven = "damaged" if fate.damaged else _utc(fate.proven_at) if fate.proven_at else "never"
    return (fate.label, _utc(fate.stopped_at), size(fate.bytes), proven)


def _proven(stays: Sequence[Fate]) -> str:
    proven = [fate.label for fate in stays if fate.proven_at]
    return f"; proven are {', '.join(proven)}" if proven else "; none of it is proven"


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
