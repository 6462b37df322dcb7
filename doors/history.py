"""What has happened: drills, runs of runbooks, backups, alarms, in one list."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.table import Column, Table

from doors.evidence import SINCE_HELP
from doors.support import INVENTORY_HELP, LAB_HELP, door, screen
from inventories.errors import BadInput, DrError, ExitCode

if TYPE_CHECKING:
    from drills.history import Entry, What
    from runbooks.hosts import Estate, Host

_HERE = "this machine's files"


@dataclass
class _Told:
    """What was found, where, and what could not be read or was never kept."""

    source: str
    entries: list[Entry] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


@task(
    help={
        "what": "drills, runs, backups or alarms (default: all)",
        "since": SINCE_HELP,
        "json": "print JSON instead of a table",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def history(
    c: Context, what: str = "", since: str = "", json: bool = False, inventory: str = "", lab: str = ""
) -> None:
    """List drills, runs, backups and alarms, the newest first.

    From the estate's monitoring database, once what this machine has to tell is there; where there is none, or it does
    not answer, from this machine's files: drills as they were signed, runs as their journals tell, backups as the
    backup host keeps them now, alarms where they are raised. It says which. Ends with 1 when a part cannot be read, or
    the history of drills does not hold; the rest is shown all the same.
    """
    from drills import history as past
    from drills.evidence.since import moment

    if what and what not in list(past.What):
        raise BadInput(f"there is no history of {what!r}", f"--what {', '.join(past.What)}")
    begin = moment(since, datetime.now(UTC))
    wanted = tuple(kind for kind in past.What if what in ("", kind))
    told = _told(wanted, begin, inventory)
    found = past.in_order(told.entries, begin)
    if json:
        shown = {"source": told.source, "entries": [one.as_json() for one in found], "troubles": told.troubles}
        print(jsonlib.dumps(shown, indent=2))
    else:
        _show(found)
        print(f"From {told.source}.")
    if told.troubles:
        raise Exit("\n".join(f"{one}." for one in told.troubles), code=int(ExitCode.FAILED))


def _told(wanted: tuple[What, ...], begin: datetime | None, inventory: str) -> _Told:
    from runbooks import hosts
    from runbooks.monitoring import where

    try:
        estate = hosts.load(inventory or None)
    except DrError:  # told by what needs the estate
        return _here(wanted, inventory, [])
    try:
        there = where.host(estate)
        return _there(wanted, begin, estate, there) if there else _here(wanted, inventory, [])
    except DrError as error:
        return _here(wanted, inventory, [f"the monitoring database does not tell: {error}"])


def _there(wanted: tuple[What, ...], begin: datetime | None, estate: Estate, there: Host) -> _Told:
    """Raises DrError."""
    from doors.monitor import sources
    from drills import history as past
    from runbooks.monitoring import shipping

    troubles = []
    try:
        shipping.ship(estate, there, sources(estate))
    except DrError as error:
        troubles.append(f"what this machine has to tell is not in it: {error}")
    told = shipping.past(estate, there, wanted, begin)
    troubles += [*told["losses"], *([f"{told['rejected']} lines fit no table"] if told["rejected"] else [])]
    entries = [past.entry(one) for one in told["entries"]]
    if told["cut"]:
        troubles.append(f"only the newest {len(entries):,} are shown: --what or --since asks for less")
    return _Told(f"the monitoring database on {there}", entries, troubles)


def _here(wanted: tuple[What, ...], inventory: str, troubles: list[str]) -> _Told:
    told = _Told(_HERE, troubles=troubles)
    told.entries += [one for kind in wanted for one in _of(kind, inventory, told.troubles)]
    return told


def _of(what: What, inventory: str, troubles: list[str]) -> Iterator[Entry]:
    """One kind; what cannot be read goes to `troubles`."""
    from drills import history as past
    from drills.evidence.checking import check
    from drills.evidence.files import files
    from runbooks import hosts
    from runbooks.alarms import far
    from runbooks.engine.rundir import runs_dir

    if what is past.What.DRILLS:
        checked = check(files())
        troubles += checked.troubles
        yield from past.drills(checked.records)
    elif what is past.What.RUNS:
        yield from past.runs(runs_dir())
    else:
        try:
            estate = hosts.load(inventory or None)
            of_backups = what is past.What.BACKUPS
            yield from past.backups(estate) if of_backups else past.alarms(far.listed(estate), estate.name)
        except DrError as error:
            troubles.append(f"{what.value} are unknown: {error}")


def _show(found: list[Entry]) -> None:
    table = Table(
        Column("UTC", no_wrap=True), "what", "name", "estate", "outcome", Column("took", justify="right"),
        Column("", overflow="fold"), box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for one in found:
        took = "" if one.seconds is None else f"{one.seconds:.1f} s"
        at, outcome = f"{one.at:%Y-%m-%d %H:%M}", one.outcome or "unfinished"
        table.add_row(at, one.what, one.name, one.estate, outcome, took, one.says)
    screen(highlight=False).print(table)
    if not found:
        print("Nothing has happened.")


TOP_LEVEL = (history,)
