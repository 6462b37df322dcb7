"""Backups of the stores: take, list, check, run any of the scheduled jobs, see what retention would let go."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door, progress, screen, utc
from inventories.errors import BadInput, ExitCode, Refused

if TYPE_CHECKING:
    from runbooks.hosts import Estate
    from runbooks.probes.jobs import Fate, Retention

POSTGRESQL, TDENGINE, SQLITE = "postgresql", "tdengine", "sqlite"
STORE_HELP = f"{POSTGRESQL} or {TDENGINE}"
EVERY_STORE_HELP = f"{STORE_HELP} (default: every one that is deployed)"
LISTED_HELP = f"{POSTGRESQL}, {TDENGINE} or {SQLITE} (default: every one that is deployed)"
ENGINES = {POSTGRESQL: ("pgbackrest", "native"), TDENGINE: ("raw-blocks", "taosdump")}
TD_JOBS = {"full": "full", "incr": "incremental", "verify": "verify", "prove": "prove", "expire": "expire"}
JOBS = {
    "full": "full", "diff": "differential", "incr": "incremental", "verify": "verify", "offsite": "offsite",
    "prove": "prove", "check": "check", "expire": "expire",
}  # fmt: skip


@task(
    help={
        "type": f"{', '.join(JOBS)} (default: incr); of TDengine {', '.join(TD_JOBS)}",
        "store": f"{STORE_HELP} (default: {POSTGRESQL})",
        "wait": "seconds to wait for a job that has the repository already (default: refuse at once)",
        "engine": "native: PostgreSQL's own pg_basebackup; taosdump: TDengine's own, each beside the other backups",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def run(
    c: Context, type: str = "incr", store: str = POSTGRESQL, wait: int = 0, engine: str = "", inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Take a backup, or run another scheduled job, now.

    Under the same lock and with the same records as when cron runs it.
    """
    from inventories.catalog import load_recovery
    from runbooks import hosts
    from runbooks.actions import backup as actions
    from runbooks.long_work.work import Asker

    known = TD_JOBS if _store(store) == TDENGINE else JOBS
    engine = engine or ENGINES[store][0]
    if type not in known:
        raise BadInput(f"there is no job {type!r} of {store}", f"the jobs are {', '.join(known)}")
    if engine not in ENGINES[store]:
        raise BadInput(f"{store} has no engine {engine!r}", f"the engines are {' and '.join(ENGINES[store])}")
    if engine == "native" and type != "full":
        raise BadInput(f"the native engine has no job {type!r}", "it takes full backups: --type full")
    if engine == "taosdump" and type != "full":
        raise BadInput(f"taosdump has no job {type!r}", "it dumps the whole database: --type full")
    if wait < 0:
        raise BadInput(f"--wait is {wait} seconds", "give 0 or more")
    _require_kind(load_recovery().jobs.kinds, known[type])
    estate = hosts.load(inventory or None)
    backup = estate.backup
    if store == TDENGINE:
        _require_tdengine(estate)
    started = time.monotonic()
    with progress() as say:
        say(f"Running {type} of {store} on {backup}")
        asker = Asker.door("./dr backup.run", say)
        if engine == "native":
            sentence = actions.take_native(backup, asker)
        elif engine == "taosdump":
            sentence = actions.take_dump(backup, asker)
        else:
            job = f"td-{type}" if store == TDENGINE else type
            sentence = actions.run_job(backup, job, asker, wait_s=wait)
    print(f"{type} passed in {time.monotonic() - started:.1f} s: {sentence}")


def _store(name: str) -> str:
    """Raises BadInput for a store that is none, or that no job backs up."""
    if name == SQLITE:
        raise BadInput(
            "SQLite databases are backed up as they are written, and no job does it",
            "./dr sqlite-restore --status, --list and --verify look; ./dr backup.list --store sqlite lists",
        )
    if name not in ENGINES:
        raise BadInput(f"there is no store {name!r}", f"the stores are {' and '.join(ENGINES)}")
    return name


def _require_tdengine(estate: Estate) -> None:
    from runbooks.probes.tdengine import backups as td_backups

    if not td_backups.is_there(estate):
        hint = "./dr deploy with tdengine_package, or TDENGINE_PACKAGE, and hosts in group tdengine"
        raise BadInput(f"estate {estate.name} backs no TDengine up", hint)


def _stores(estate: Estate, wanted: str) -> tuple[str, ...]:
    """The stores to look at. Raises BadInput for one that is not deployed."""
    from runbooks.probes.tdengine import backups as td_backups

    if wanted:
        if _store(wanted) == TDENGINE:
            _require_tdengine(estate)
        return (wanted,)
    return (POSTGRESQL, TDENGINE) if td_backups.is_there(estate) else (POSTGRESQL,)


def _listed(estate: Estate, wanted: str) -> tuple[str, ...]:
    """The stores to list. Raises BadInput for one that is none, or not deployed."""
    from runbooks.probes.sqlite import databases

    if wanted and wanted not in (*ENGINES, SQLITE):
        raise BadInput(f"there is no store {wanted!r}", f"the stores are {', '.join((*ENGINES, SQLITE))}")
    there = bool(databases.names(estate))
    if wanted != SQLITE:
        return (*_stores(estate, wanted), *((SQLITE,) if there and not wanted else ()))
    if not there:
        raise BadInput(f"estate {estate.name} has no SQLite databases", "sqlite_databases names them; then ./dr deploy")
    return (SQLITE,)


def _require_kind(kinds: object, kind: str) -> None:
    """Raises BadInput for a job that has no limit, after which the runner ends it by itself."""
    assert isinstance(kinds, dict)
    if kind not in kinds:
        raise BadInput(f"the catalogue has no job {kind}", "add it to jobs.kinds of inventories/catalog/recovery.yaml")


@task(
    help={
        "store": f"{STORE_HELP} (default: {POSTGRESQL})",
        "plan": "say what would go and what could still be restored; change nothing",
        "yes": "let it go",
        "offsite": "of the append-only copy on the off-site host instead, where the backup host cannot",
        "json": "print JSON instead of a table",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def expire(
    c: Context, store: str = POSTGRESQL, plan: bool = False, yes: bool = False, offsite: bool = False,
    json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Let backups go that a newer, proven one covers.

    Without a proof, and while a restore holds a lease, nothing goes.
    """
    from runbooks import hosts
    from runbooks.actions.backup import run_job
    from runbooks.long_work.work import Asker
    from runbooks.probes import jobs
    from runbooks.probes.tdengine import backups as td_backups

    if plan == yes:
        raise BadInput("give either --plan or --yes", "--plan first: it says what would go")
    estate = hosts.load(inventory or None)
    _stores(estate, store)
    if offsite:
        _expire_offsite(estate, only_look=plan, json=json)
        return
    backup = estate.backup
    uncovered: tuple[str, ...] = ()
    if store == TDENGINE:
        found, uncovered = td_backups.retention(backup)
    else:
        found = jobs.retention(backup)
    if json:
        print(jsonlib.dumps(asdict(found) | ({"uncovered": uncovered} if store == TDENGINE else {}), indent=2))
    else:
        _show(found, store, uncovered)
    if not yes:
        return
    if found.held:
        raise Refused(found.why, "./dr prove-backup proves one; a lease ends by itself, or when its holder is done")
    print(run_job(backup, "td-expire" if store == TDENGINE else "expire", Asker.door("./dr backup.expire")))


def _expire_offsite(estate: Estate, only_look: bool, json: bool) -> None:
    """The copy's password is this machine's to know, and of the backup host's, which may not delete."""
    from inventories import secrets
    from runbooks.backups import offsite

    password = secrets.load(str(estate.data["secrets_file"]))["restic"]
    found = offsite.expire(estate, password, only_look)
    if json:
        print(jsonlib.dumps(asdict(found), indent=2))
        return
    for snapshot in () if found.held else found.goes:
        print(f"{snapshot} {'would go' if only_look else 'went'}")
    print(found.sentence)


@task(
    name="list",
    help={
        "store": LISTED_HELP, "json": "print JSON instead of a table", "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
)  # fmt: skip
@door
def list_(c: Context, store: str = "", json: bool = False, inventory: str = "", lab: str = "") -> None:
    """List every backup, what it covers, when it was proven.

    Ends with 1 when the archive has a gap, a backup may not be used, or nothing is kept of a SQLite database.
    """
    from doors import backup_screen, screens
    from doors.sqlite import backups as backup_sqlite
    from doors.tdengine import backups as backup_tdengine
    from runbooks import hosts
    from runbooks.backups import postgresql, sqlite, tdengine

    estate = hosts.load(inventory or None)
    wanted = _listed(estate, store)
    seen = postgresql.look(estate) if POSTGRESQL in wanted else None
    ticks = tdengine.look(estate) if TDENGINE in wanted else None
    files = sqlite.look(estate) if SQLITE in wanted else None
    if json:
        said = seen.as_json() if seen else {}
        said |= {name: one.as_json() for name, one in ((TDENGINE, ticks), (SQLITE, files)) if one}
        print(jsonlib.dumps(said, indent=2))
    else:
        if seen:
            screens.show(*backup_screen.listing(seen, screens.width()))
        if ticks:
            screens.show(*backup_tdengine.listing(ticks))
        if files:
            screens.show(*backup_sqlite.listing(files))
    if not all(one.sound for one in (seen, ticks, files) if one):
        raise Exit(code=int(ExitCode.FAILED))


@task(
    help={
        "store": EVERY_STORE_HELP, "json": "print JSON instead of a sentence", "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)  # fmt: skip
@door
def check(c: Context, store: str = "", json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Force a WAL segment; find it archived, byte for byte.

    An archive_command that lies is caught, and every gap of the archive is named. Of TDengine the newest backup is
    read again with all that it needs.
    """
    from runbooks import hosts
    from runbooks.backups import postgresql, tdengine

    estate = hosts.load(inventory or None)
    wanted = _stores(estate, store)
    said: dict[str, object] = {}
    with progress() as say:
        if POSTGRESQL in wanted:
            say("Forcing a WAL segment and looking for it in the repository")
            found = postgresql.check(estate)
            said |= asdict(found)
        if TDENGINE in wanted:
            say("Reading the newest TDengine backup again")
            ticks = tdengine.check(estate)
            said |= {TDENGINE: asdict(ticks)}
    if json:
        print(jsonlib.dumps(said))
        return
    if POSTGRESQL in wanted:
        print(f"{found.sentence}; since the newest backup the archive has no gap.")
    if TDENGINE in wanted:
        print(f"{ticks.sentence}.")


def _show(found: Retention, store: str, uncovered: Sequence[str]) -> None:
    from rich.table import Column, Table

    table = Table(Column("backup", no_wrap=True), "ended", "bytes", "proven", "then")
    for fate, then in (*((one, "goes") for one in found.goes), *((one, "stays") for one in found.stays)):
        table.add_row(*_row(fate), then)
    screen().print(table)
    print(found.why[0].upper() + found.why[1:] + ".")
    if store == TDENGINE:
        from doors.tdengine import backups as backup_tdengine

        print(*backup_tdengine.retention(len(found.stays), uncovered), sep="\n")
        return
    if found.restorable_from is None:
        print("Afterwards nothing could be restored: there is no backup that is not known to be damaged.")
    else:
        print(f"Afterwards any moment since {utc(found.restorable_from)} UTC can be restored{_proven(found.stays)}.")


def _row(fate: Fate) -> tuple[str, ...]:
    from runbooks.judge.objectives import size

    proven = "damaged" if fate.damaged else f"{utc(fate.proven_at)} UTC" if fate.proven_at else "never"
    return (fate.label, f"{utc(fate.stopped_at)} UTC", size(fate.bytes), proven)


def _proven(stays: Sequence[Fate]) -> str:
    proven = [fate.label for fate in stays if fate.proven_at]
    return f"; proven are {', '.join(proven)}" if proven else "; none of it is proven"
