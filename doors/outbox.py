"""The outbox on the application host: rows that wait for the database."""

from __future__ import annotations

import json as jsonlib

from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door


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
