"""A recovery queue that the trading system left on the application host."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door
from inventories.errors import BadInput, TargetFailed


@task(
    name="import",
    positional=["file"],
    help={"file": "the queue's path on the application host", "inventory": INVENTORY_HELP, "lab": LAB_HELP},
)
@door
def take_over(c: Context, file: str, inventory: str = "", lab: str = "") -> None:
    """Save what waits in a recovery queue left on the host.

    Its items are as old as they say: nothing newer is overwritten. What cannot be saved stays in the file, is marked
    failed there and named here. May be repeated.
    """
    from runbooks import hosts
    from runbooks.actions import app as act

    if not file.startswith("/"):
        raise BadInput(f"{file} is no path from the root of the application host", "name it as /tmp/queue.db")
    taken = act.take_over(hosts.load(inventory or None).app, file)
    for item in taken.set_aside:
        rows = "" if item.rows is None else f" ({item.rows} rows)"
        print(f"item {item.id}, {item.classification}{rows}: {item.why}")
    aside = len(taken.set_aside)
    print(
        f"{taken.rows} rows of {taken.items} items are acknowledged: {taken.by_store} by the store, {taken.by_outbox} "
        f"by the outbox; {aside} items set aside, {taken.failed_before} had failed before, {taken.left} left"
    )
    if not taken.marked:
        print("The file cannot be written, so that nothing is marked in it; taking it over again is harmless.")
    if taken.left:
        raise TargetFailed(f"{taken.left} items wait still: {taken.why_left}", "./dr outbox.status shows why")
    if aside:
        raise TargetFailed(f"{aside} items are not saved, or not whole", "they stay in the file, each with its rows")
