"""Marks: bind a moment of every store to a name, list those there are, restore to one."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.table import Table

from doors.support import INVENTORY_HELP, LAB_HELP, door, progress, screen
from inventories.errors import BadInput, DrError, ExitCode
from runbooks.engine.context import Options

if TYPE_CHECKING:
    from runbooks.marks.reaching import Reach
    from runbooks.marks.types import Kept, Mark, Transaction

O = TypeVar("O", bound=Options)  # noqa: E741 - a type variable, not a number
_OTHER_TARGETS = {
    "to_time": "--to-time", "to_lsn": "--to-lsn", "to_xid": "--to-xid", "to_name": "--to-name",
    "inclusive": "--inclusive", "timeline": "--timeline", "source": "--from",
}  # fmt: skip
TO_MARK_HELP = "a mark that ./dr mark has taken: its LSN and timeline, and nothing that was committed after it"


@task(
    help={
        "name": "what to call it",
        "scheduled": "for a timer: its moment comes behind the name, and after a day one of these an hour is kept",
        "json": "print JSON",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def mark(
    c: Context, name: str, scheduled: bool = False, json: bool = False, inventory: str = "", lab: str = ""
) -> None:
    """Bind this moment of every store to a name.

    Ends with 1 when something that is there could not be bound: the mark is kept, and says what it lacks.
    """
    from runbooks import hosts
    from runbooks.marks import expiring, taking

    estate = hosts.load(inventory or None)
    name = taking.scheduled_name(name, time.time()) if scheduled else name
    taken = taking.take(estate, name, scheduled=scheduled)
    found, warnings = taken.mark, list(taken.mark.lacks)
    gone: tuple[Mark, ...] = ()
    try:
        gone = expiring.expire(estate, taken.kept, found.at)
    except DrError as error:
        warnings.append(f"no mark was let go: {error}")
    if json:
        gone_names = [one.name for one in gone]
        print(jsonlib.dumps({**found.model_dump(mode="json"), "ms": _ms(taken.seconds), "expired": gone_names}))
    else:
        print(f"mark {name}: {found.lsn} on timeline {found.timeline}, {found.moment}, in {_ms(taken.seconds)} ms")
        print(*_bound(found), sep="\n")
        if gone:
            print(f"{len(gone)} marks that nothing leads to any more were let go")
    for sentence in warnings:
        print(f"WARNING: {sentence}", file=sys.stderr)
    if found.lacks:
        raise Exit(code=int(ExitCode.FAILED))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _bound(found: Mark) -> list[str]:
    """A line for each store; what is absent is said."""
    held = found.tdengine
    backup = f"backup {held.label}, {held.rows:,} rows in {len(held.tables)} tables" if held else "none"
    files = [f"  {one}" for one in found.databases] or ["  SQLite databases: none"]
    return [*(f"  {one}" for one in found.positions), f"  TDengine: {backup}", *files]


@task(help={"json": "print JSON", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def marks(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """List the marks, and which can be restored to.

    The newest first. Ends with 1 when the file of one is damaged, or nobody can say what leads to them.
    """
    from runbooks import hosts
    from runbooks.marks import keeping, reaching

    estate = hosts.load(inventory or None)
    with progress() as say:
        say("Asking which backups and WAL lead to each mark")
        kept = keeping.look(estate.backup)
        there = reaching.ground(estate, kept.now)
        found = [(one, reaching.reach(one, there)) for one in reversed(kept.marks)]
    if json:
        print(jsonlib.dumps(_listed(kept, found), indent=2))
    else:
        _show(kept, found)
    if kept.damaged:
        raise Exit(code=int(ExitCode.FAILED))


def _listed(kept: Kept, found: list[tuple[Mark, Reach]]) -> dict[str, Any]:
    return {
        "marks": [
            {
                "name": one.name, "at": one.moment, "age_s": round(kept.now - one.at, 1), "lsn": one.lsn,
                "timeline": one.timeline, "stores": list(one.stores), "lacks": list(one.lacks),
                "restorable": reach.possible, "state": reach.state.value, "why": reach.why,
            }
            for one, reach in found
        ],
        "damaged": [one.model_dump() for one in kept.damaged],
    }  # fmt: skip


def _show(kept: Kept, found: list[tuple[Mark, Reach]]) -> None:
    if not found and not kept.damaged:
        print("No mark is kept; ./dr mark NAME takes one.")
        return
    table = Table("mark", "at", "age", "binds", "a restore to it")
    for one, reach in found:
        says = "is possible" if reach.possible else reach.why
        table.add_row(one.name, one.moment[:19], _age(kept.now - one.at), ", ".join(one.stores), says)
    for bad in kept.damaged:
        table.add_row(bad.name, "?", "?", "", f"DAMAGED, {bad.file}: {bad.why}")
    screen().print(table)


def _age(seconds: float) -> str:
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.1f} d"
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"


def to_the_mark(options: O, name: str, inventory: str, resume: bool) -> O:
    """A restore's options with the LSN and the timeline of a mark in them; as they are where none was named.

    Raises BadInput beside a target of another kind, and what resolving raises.
    """
    if not name:
        return options
    from runbooks.procedures.postgresql.delayed import DELAYED, REPOSITORY

    for field, option in _OTHER_TARGETS.items():
        said = getattr(options, field, None)
        # Whence a target is restored is no target; a side cluster that is open has one of its own.
        if said and not (field == "source" and said in (DELAYED, REPOSITORY)):
            raise BadInput(f"two targets were given: --to-mark {name} and {option}", f"leave {option} or --to-mark out")
    from runbooks import hosts
    from runbooks.marks.resolving import resolve

    with progress() as say:
        goal = resolve(hosts.load(inventory or None), name, resumed=resume)
        say(f"mark {name} of {goal.mark.moment}: LSN {goal.lsn}, along timeline {goal.timeline}")
    return options.model_copy(update={"to_lsn": goal.lsn, "timeline": goal.timeline})


def backup_at_the_mark(name: str, label: str, inventory: str, resume: bool) -> str:
    """The backup of TDengine that was the newest one at a mark; `label` where none is named. Raises BadInput beside
    that, and Refused where the backup is not what the mark bound; a run that is resumed was begun with one that was.
    """
    if not name:
        return label
    if label:
        raise BadInput(
            f"two targets were given: --to-mark {name} and --label {label}", "leave --label or --to-mark out"
        )
    from runbooks import hosts
    from runbooks.marks import holding, names, resolving

    names.check(name)
    estate = hosts.load(inventory or None)
    with progress() as say:
        found = resolving.of_this_estate(estate, name)
        if resume and found.tdengine:
            return found.tdengine.label
        label = holding.backup_of(estate, found, "./dr tdengine-restore without --to-mark takes the newest backup")
        say(
            f"mark {name} of {found.moment}: backup {label}. What TDengine acknowledged after that began is in the "
            "shadow of the application hosts: ./dr reconcile --store tdengine names it, and with --yes sends it again"
        )
    return label


def transaction_at_the_mark(name: str, database: str, host: str, inventory: str, kept_there: bool) -> Transaction:
    """Of a SQLite database what a mark bound. Raises BadInput; Refused where it has to be `kept_there` and is not."""
    from runbooks import hosts
    from runbooks.marks import holding, names, resolving

    names.check(name)
    estate = hosts.load(inventory or None)
    with progress() as say:
        found = resolving.of_this_estate(estate, name)
        bound = holding.transaction_of(estate, found, database, host, kept_there=kept_there)
        say(f"mark {name} of {found.moment}: {bound}")
    return bound


TOP_LEVEL = (mark, marks)
