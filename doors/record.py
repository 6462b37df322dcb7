"""The estate record and its lock: see what is written where, settle it, break the lock of a machine that is gone."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door, progress
from inventories.errors import ExitCode, Refused

if TYPE_CHECKING:
    from runbooks.record.types import Page


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP, "json": "print JSON instead of lines"}, name="show")
@door
def show(c: Context, inventory: str = "", lab: str = "", json: bool = False) -> None:
    """Show the estate record as each host has it.

    Ends with 1 when nobody can say what is so, or only a copy does.
    """
    from runbooks import hosts
    from runbooks.record.read import pages
    from runbooks.record.types import Known, Unknown

    found = pages(hosts.load(inventory or None))
    answer = found.answer
    every = (found.arbiter, *found.copies)
    if json:
        held = {page.host: _page(page) for page in every}
        print(jsonlib.dumps({"answer": type(answer).__name__.lower(), "hosts": held}, indent=2))
    else:
        print(f"unknown: {answer.why}" if isinstance(answer, Unknown) else f"{answer.record.says} ({answer.source})")
        for page in every:
            held_by = "arbiter" if page is found.arbiter else "copy"
            says = f"revision {page.record.revision}: {page.record.says}" if page.record else page.why or "none"
            print(f"{page.host} ({held_by}): {says}")
        if isinstance(answer, Unknown) and answer.hint:
            print(f"HINT: {answer.hint}")
    if not isinstance(answer, Known):
        raise Exit(code=int(ExitCode.FAILED))


def _page(page: Page) -> dict[str, Any]:
    record = page.record.model_dump(mode="json") if page.record else None
    return {"record": record, "acting": page.acting, "why": page.why, "away": page.away}


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP, "yes": "put a record aside that cannot be believed"})
@door
def settle(c: Context, inventory: str = "", lab: str = "", yes: bool = False) -> None:
    """Bring the estate record in line with what the hosts are.

    Refuses to replace a record that cannot be believed, or that knows a newer primary, unless --yes says so. Writes
    nothing while there is not exactly one primary.
    """
    from runbooks import hosts
    from runbooks.acting import acting
    from runbooks.engine.rundir import new_run_dir
    from runbooks.record.settle import Settled
    from runbooks.record.settle import settle as bring_in_line

    estate = hosts.load(inventory or None)
    with progress() as say, acting(estate, "record-settle", new_run_dir("record-settle"), say, anew=yes) as keeper:
        settled = bring_in_line(keeper, anew=yes)
        if settled.what is Settled.LEFT:
            raise Refused(settled.says, "./dr status says what leads to one primary")
    print(settled.says)


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP}, name="status")
@door
def lock_status(c: Context, inventory: str = "", lab: str = "") -> None:
    """Show who is acting on the estate."""
    from runbooks import hosts
    from runbooks.record.arbiter import FileOn

    acting = FileOn(hosts.load(inventory or None).backup).show()["acting"]
    if not acting:
        print("Nobody is acting on this estate.")
        return
    print(f"{acting['owner']} is running {acting['procedure']} since {acting['since']} (process {acting['pid']})")
    print(f"last sign of life: {_age(acting['beat_age_s'])}; its journal: {acting['run_dir']}")


def _age(seconds: float | None) -> str:
    return "before the backup host was booted" if seconds is None else f"{seconds:.0f} s ago"


@task(
    help={"inventory": INVENTORY_HELP, "lab": LAB_HELP, "yes": "although its holder still shows signs of life"},
    name="break",
)
@door
def lock_break(c: Context, inventory: str = "", lab: str = "", yes: bool = False) -> None:
    """End the lock of a run whose machine is gone.

    Refuses while its holder shows signs of life, unless --yes says so: that run stops before its next step.
    """
    from runbooks import hosts
    from runbooks.engine.rundir import new_run_dir
    from runbooks.record.breaking import break_lock

    estate = hosts.load(inventory or None)
    print(break_lock(estate, new_run_dir("lock-break"), yes=yes))


collection = Collection("record", show, settle)
lock_collection = Collection("lock", lock_status, lock_break)
