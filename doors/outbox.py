"""The outbox on the application host: rows that wait for the database."""

from __future__ import annotations

import json as jsonlib

from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door
from inventories.errors import BadInput, TargetFailed


@task(help={"json": "print JSON", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def status(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Show what waits in the outbox, and dead letters."""
    from runbooks import hosts
    from runbooks.probes import app

    box = app.outbox(hosts.load(inventory or None).app)
    if json:
        print(jsonlib.dumps(box.__dict__))
        return
    age = "" if box.oldest_age_s is None else f", the oldest for {box.oldest_age_s:.0f} s"
    print(
        f"{box.pending_rows} rows in {box.pending_records} records wait{age}; {box.dead_rows} dead letters; "
        f"replayer {'runs' if box.replayer_running else 'does not run'}"
    )


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def replay(c: Context, inventory: str = "", lab: str = "") -> None:
    """Replay the outbox into the database until it is empty."""
    from runbooks import hosts
    from runbooks.actions import app as act
    from runbooks.probes import app

    host = hosts.load(inventory or None).app
    before = app.outbox(host)
    act.replay(host)
    after = app.outbox(host)
    print(
        f"{before.pending_rows - after.pending_rows} rows replayed, {after.pending_rows} wait, "
        f"{after.dead_rows} dead letters"
    )


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
