"""The page that answers "am I safe", as a task."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door, progress


@task(help={"out": "folder for index.html (default: runs/page)", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def page(c: Context, out: str = "", inventory: str = "", lab: str = "") -> None:
    """Write one static page: am I safe, and what to do next.

    Roles, possible loss, promises against their drills, recovery times, backups with their gaps, the outbox. It is made
    whatever it says: `./dr status` and `./dr drills.due` end with 1 for a cron line. It turns red by itself when it is
    older than page.stale_min of inventories/catalog/recovery.yaml.
    """
    from doors.calendar import estate_or_none
    from drills.board.answer import answer
    from drills.board.facts import gather
    from drills.board.page import write
    from drills.evidence.files import files
    from runbooks.engine.rundir import runs_dir

    with progress() as say:
        say("Asking the estate, its backups and the history")
        facts = gather(estate_or_none(inventory), files())
    path = write(facts, caller_path(out) if out else runs_dir() / "page")
    safe = answer(facts)
    print(f"{safe.word}. {safe.sentence}")
    print(f"page: {path}")


TOP_LEVEL = (page,)
