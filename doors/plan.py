"""Which promised recovery can be kept with today's sizes: computed from measurements, checked by CI."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.table import Table

from doors.support import INVENTORY_HELP, LAB_HELP, door, screen
from inventories.errors import ExitCode

if TYPE_CHECKING:
    from runbooks.judge.feasibility import Answer


@task(help={"json": "print JSON instead of a table", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def plan(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Compute which promised recovery times can be kept today.

    From measured restores, replays and runs of this estate, and from what the repository holds now. Ends with 1 when
    one cannot be kept, and also when something was never measured: a guess is no plan.
    """
    from runbooks import hosts
    from runbooks.engine.rundir import runs_dir
    from runbooks.judge import feasibility, objectives
    from runbooks.look import plan as planning

    estate = hosts.load(inventory or None)
    found = planning.answers(estate, runs_dir(), _drills(estate.name))
    if not estate.least:  # a time may hold where rows do not
        print(f"WARNING: ASYNCHRONOUS BY CHOICE: {objectives.price('the primary')}.", file=sys.stderr)
    if json:
        print(jsonlib.dumps([{**asdict(one), "total_s": one.total_s} for one in found], indent=2))
    else:
        _print(found)
    bad = [one.scenario for one in found if one.verdict is not feasibility.Verdict.FITS]
    if bad:
        raise Exit(
            f"{len(bad)} of {len(found)} promises cannot be shown to hold: {', '.join(bad)}.\n"
            "HINT: the levers are beside them; what was never measured is measured by its drill",
            code=int(ExitCode.FAILED),
        )


def _drills(estate: str) -> Mapping[str, Sequence[float]]:
    """scenario -> RTO of each drill of this lab that passed, the newest ones; rounds are drills too."""
    from drills.judging.summary import past_drills
    from runbooks.engine.rundir import runs_dir
    from runbooks.look.measurements import LATEST

    found: dict[str, list[float]] = {}
    for drill in past_drills(runs_dir()):
        if estate == f"lab-{drill.lab}" and len(found.setdefault(drill.scenario, [])) < LATEST:
            found[drill.scenario].append(drill.rto_s)
    return found


def _print(found: Sequence[Answer]) -> None:
    """A line a scenario, its parts and its lever below it: readable on a narrow terminal too."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        total = "?" if one.total_s is None else f"{one.total_s:.1f} s"
        told = f"[bold]{one.verdict.value}[/], promised {one.rto_s:g} s: {one.way.value}"
        table.add_row(f"[bold]{one.scenario}[/]", total, told)
        for part in one.parts:
            table.add_row(f"  {part.name}", "?" if part.seconds is None else f"{part.seconds:.1f} s", part.says)
        if one.lever:
            table.add_row("  [bold]lever[/]", "", one.lever)
    screen(highlight=False).print(table)


TOP_LEVEL = (plan,)
