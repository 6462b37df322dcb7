"""The drill calendar: what is due, and runs that count as drills where nothing is broken on purpose."""

from __future__ import annotations

import json as jsonlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.table import Column, Table

from doors.support import INVENTORY_HELP, LAB_HELP, door, screen
from inventories.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from drills.calendar.due import Due
    from runbooks.hosts import Estate


@task(help={"json": "print JSON instead of a table", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def due(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Show which promise was drilled when, and what is due.

    Holds the calendar of inventories/catalog/recovery.yaml against the signed history. A proof counts for the code, the
    catalogue and the versions that it ran with: what has changed since is named. Ends with 1 when anything was never
    drilled, is overdue, failed the last time, is stale, or cannot be told.
    """
    from drills.calendar import due as calendar
    from drills.evidence.checking import check
    from drills.evidence.files import files

    kept = files()
    checked = check(kept)
    found = calendar.due(checked, kept, calendar.look(estate_or_none(inventory), checked), datetime.now(UTC))
    if json:
        print(jsonlib.dumps(calendar.as_json(found), indent=2))
    else:
        _show(found)
    if not found.kept:
        raise Exit(_sentence(found), code=int(ExitCode.FAILED))


def estate_or_none(inventory: str) -> Estate | None:
    """None where nothing was named and there is no lab: promises are due on a bare machine, too."""
    from runbooks import hosts

    if inventory:
        return hosts.load(inventory)
    with suppress(BadInput):
        return hosts.load(None)
    return None


def _show(found: Due) -> None:
    from drills.calendar.judge import State, span

    table = Table(
        Column("drill", no_wrap=True), "where", "every", "last passed", "RTO", "state", Column("why", overflow="fold"),
        box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    colours = {State.FRESH: "green", State.STALE: "yellow", State.UNKNOWN: "magenta"}
    for one in found.rows:
        wanted = one.wanted
        age = "never" if one.age_s is None else f"{span(one.age_s)} ago"
        rto = f"{one.rtos[-1]:.2f} s" if one.rtos else ""
        state = f"[{colours.get(one.state, 'red')}]{one.state.value}[/]"
        table.add_row(wanted.named, wanted.place, span(wanted.every_s), age, rto, state, "; ".join(one.shortly))
    console = screen(highlight=False)
    console.print(table)
    for trouble in found.troubles:
        console.print(f"[red]HISTORY[/]  {trouble}.", soft_wrap=True)
    for one in found.grown:
        console.print(f"[yellow]SLOWER[/]  {one.wanted.named} in {one.wanted.place}: {one.grown}.", soft_wrap=True)
    for note in filter(None, found.notes):
        console.print(note, soft_wrap=True)


def _sentence(found: Due) -> str:
    """What is wrong in one sentence, and the command for the first of it."""
    from drills.calendar.due import worst_first
    from drills.calendar.judge import State

    if found.troubles and not found.bad:
        return f"{found.troubles[0]}.\nHINT: ./dr evidence.verify tells everything that is wrong with the history"
    counts = [(found.count(state), state.value) for state in State if state is not State.FRESH]
    told = ", ".join(f"{number} {state}" for number, state in counts if number)
    commands = (one.wanted.command for one in worst_first(found) if one.wanted.command)
    hint = next(commands, "./dr scenarios lists what can be drilled")
    return f"{len(found.bad)} of {len(found.rows)} drills are due: {told or 'the calendar is empty'}.\nHINT: {hint}"


@task(
    help={
        "promise": "the promise of the calendar that the run counts for",
        "run": "folder of the run (default: the newest finished one of its runbook)",
        "consent": "who agreed, and to what, where the calendar asks for it",
        "inventory": INVENTORY_HELP,
    }
)
@door
def record(c: Context, promise: str, run: str = "", consent: str = "", inventory: str = "") -> None:
    """Take a runbook's run into the history, as a drill.

    In staging and production nothing is broken on purpose: what counts there is the run of the runbook that the
    calendar names, once it was taken in here.
    """
    from drills.calendar.recording import record as take_in
    from drills.evidence.files import files
    from runbooks import hosts

    estate = hosts.load(inventory or None)
    taken = take_in(estate, promise, run, consent, files())
    print(f"Record {taken.seq}: {taken.told['run']} counts as {promise} in {taken.told['place']}.")


collection = Collection("drills", due, record)
