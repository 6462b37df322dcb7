"""What brings a SQLite database back, and what there is of it, as one task."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.mark import transaction_at_the_mark
from doors.runbooks import HELP, run_procedure
from doors.support import door, utc
from inventories.errors import BadInput

if TYPE_CHECKING:
    from runbooks.hosts import Host
    from runbooks.probes.sqlite.databases import Kept

_LOOKS = ("list", "status", "verify", "history")


@task(
    auto_shortflags=False,  # there are more options than letters
    name="sqlite-restore",
    help={
        **HELP,
        "database": "which of sqlite_databases (default: trading)",
        "host": "which application host (default: the first)",
        "latest": "to the newest transaction that is kept (the default)",
        "to": "to this moment, with its zone: 2026-11-28T10:00:00+08:00",
        "tx": "to this transaction",
        "to_mark": "to the transaction that was the last one at a mark that ./dr mark has taken",
        "backup": "to a snapshot as it is, by its label",
        "file": "from a file on that host, such as what an earlier restore kept in pre_restore",
        "offsite": "first fetch what the backup host has lost of it from the off-site copy",
        "table": "bring back this table alone; the others stay, and others go on writing",
        "list": "show what there is to restore; touch nothing",
        "status": "show whether it is whole, and all of it protected; ends with 1 where not",
        "verify": "restore the newest snapshot (or --backup) beside and check it",
        "history": "show the restores that there were",
    },
)
@door
def sqlite_restore(
    c: Context, database: str = "trading", host: str = "", latest: bool = False, to: str = "", tx: int = 0,
    backup: str = "", file: str = "", table: str = "", list_: bool = False, status: bool = False, verify: bool = False,
    history: bool = False, offsite: bool = False, to_mark: str = "", plan: bool = False, resume: bool = False,
    yes: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Restore a SQLite database, or a table, to any moment.

    Without --yes it builds and checks what would come, and changes nothing.
    """
    from runbooks.procedures.sqlite.restore import SqliteRestoreOptions

    asked = [name for name, said in zip(_LOOKS, (list_, status, verify, history), strict=True) if said]
    if len(asked) > 1 or (asked and (yes or plan or resume or offsite)):
        raise BadInput(f"--{asked[0]} only looks", "leave the other switches out")
    if (latest or to_mark) and (to or tx or backup or file or (latest and to_mark)):
        said = "--to-mark" if to_mark else "--latest"
        raise BadInput(f"{said} and another target were given", "one target at a time")
    if asked:
        _look(asked[0], database, host, backup, json, inventory)
        return
    stream = ""
    if to_mark:
        # A run that is resumed was begun with one that was kept, and what is fetched first is not here yet.
        found = transaction_at_the_mark(to_mark, database, host, inventory, kept_there=not (resume or offsite))
        host, tx, stream = found.host, found.tx, found.stream
    options = SqliteRestoreOptions(
        yes=yes, database=database, host=host, to=to, tx=tx, backup=backup, file=file, table=table, offsite=offsite,
        stream=stream,
    )
    run_procedure("sqlite-restore", options, plan, resume, json, inventory)


def _look(what: str, database: str, name: str, backup: str, json: bool, inventory: str) -> None:
    from runbooks import hosts
    from runbooks.probes.sqlite import databases
    from runbooks.procedures.sqlite.restore import chosen

    host = chosen(hosts.load(inventory or None), database, name)
    host.must_answer()
    if what == "list":
        kept = databases.listed(host, database)
        _print(asdict(kept), _listing(kept), json)
    elif what == "history":
        restores = databases.history(host, database)
        _print({"restores": restores}, map(_restored, restores), json)
    elif what == "verify":
        label, total = databases.prove(host, database, backup)
        _print({"label": label, "rows": total, "proven": True}, [f"{label} was restored: {total:,} rows, whole"], json)
    else:
        _status(host, database, json)


def _status(host: Host, database: str, json: bool) -> None:
    from runbooks.probes.sqlite import databases
    from runbooks.procedures.sqlite.restore import described

    found = databases.status(host, database)
    age = "never" if found.snapshot_age_s is None else f"{found.snapshot_age_s:.0f} s ago"
    _print(asdict(found), [described(found), f"newest snapshot: {age}"], json)
    if not (found.whole and found.protected):
        raise Exit("", code=1)


def _print(said: object, lines: Iterable[str], json: bool) -> None:
    if json:
        print(jsonlib.dumps(said, indent=2))
        return
    for line in lines:
        print(line)


def _listing(kept: Kept) -> Iterator[str]:
    for one in kept.snapshots:
        proof = {True: "proven", False: "DAMAGED", None: "not proven yet"}[one.proven]
        yield f"{one.label}  to {one.to}, transaction {one.tx:,}, {one.bytes >> 10:,} KiB, {proof}"
    yield f"changes until {kept.changes_until or 'never'}" if kept.snapshots else "no snapshot was ever kept"
    for path in kept.here:
        yield f"on the host: {path}"
    for warning in kept.warnings:
        yield f"TROUBLE  {warning}"


def _restored(one: Mapping[str, object]) -> str:
    of = f"{one['table']} " if one.get("table") else ""
    source = one.get("snapshot") or one.get("file")
    to = f" to {one['to']}" if one.get("to") else ""
    return f"{utc(float(str(one['at'])))} UTC  {of}from {source}{to}; before: {one.get('safety') or 'nothing'}"


TOP_LEVEL = (sqlite_restore,)
