"""What has happened: drills, runs of runbooks, backups, in one list."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
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


@task(
    help={
        "what": "drills, runs or backups (default: all)",
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
    """List drills, runs and backups, the newest first.

    Drills as they were signed, runs as their journals tell, backups as the backup host keeps them now. Ends with 1 when
    a part cannot be read, or the history of drills does not hold; the rest is shown all the same.
    """
    from drills import history as past
    from drills.evidence.since import moment

    if what and what not in list(past.What):
        raise BadInput(f"there is no history of {what!r}", f"--what {', '.join(past.What)}")
    begin = moment(since, datetime.now(UTC))
    troubles: list[str] = []
    every = [one for kind in past.What if what in ("", kind) for one in _of(kind, inventory, troubles)]
    found = past.in_order(every, begin)
    if json:
        print(jsonlib.dumps({"entries": [one.as_json() for one in found], "troubles": troubles}, indent=2))
    else:
        _show(found)
    if troubles:
        raise Exit("\n".join(f"{one}." for one in troubles), code=int(ExitCode.FAILED))


def _of(what: What, inventory: str, troubles: list[str]) -> Iterator[Entry]:
    """One kind; what cannot be read goes to `troubles`."""
    from drills import history as past
    from drills.evidence.checking import check
    from drills.evidence.files import files
    from runbooks import hosts
    from runbooks.engine.rundir import runs_dir

    if what is past.What.DRILLS:
        checked = check(files())
        troubles += checked.troubles
        yield from past.drills(checked.records)
    elif what is past.What.RUNS:
        yield from past.runs(runs_dir())
    else:
        try:
            yield from past.backups(hosts.load(inventory or None))
        except DrError as error:
            troubles.append(f"backups are unknown: {error}")


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
