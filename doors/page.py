"""The page that answers "am I safe", as a task."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door, progress
from inventories.errors import BadInput

if TYPE_CHECKING:
    from drills.board.facts import Facts
    from runbooks.hosts import Estate

_POLITE = 10  # a drill on this machine comes first
_NOT_ASKED = "a drill runs, and asking would change what it measures; it is asked when the drill is over"


@task(
    help={
        "out": "folder for index.html (default: runs/page)",
        "serve": "show it on loopback instead, and follow a running drill live, until ctrl-c",
        "port": "with --serve: the port (default 8850; 0 takes a free one)",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def page(c: Context, out: str = "", serve: bool = False, port: str = "", inventory: str = "", lab: str = "") -> None:
    """Write one static page: am I safe, and what to do next.

    Roles, possible loss, promises against their drills, recovery times, backups with their gaps, the outbox. It is made
    whatever it says: `./dr status` and `./dr drills.due` end with 1 for a cron line. It turns red by itself when it is
    older than page.stale_min of inventories/catalog/recovery.yaml.

    With --serve it is on http://127.0.0.1:8850/ and made anew each minute while somebody looks. A drill that this
    machine runs is followed: phase, rows by store and outbox, time since the fault, and how long it will take.
    """
    from doors.calendar import estate_or_none
    from drills.board.answer import answer
    from drills.board.facts import gather
    from drills.board.page import write
    from drills.evidence.files import files
    from runbooks.engine.rundir import runs_dir

    if serve:
        if out:
            raise BadInput("--out belongs to a page that is written, --serve shows it", "./dr page --serve")
        _serve(_number(port), estate_or_none(inventory))
        return
    if port:
        raise BadInput("--port belongs to --serve", f"./dr page --serve --port {port}")
    with progress() as say:
        say("Asking the estate, its backups and the history")
        facts = gather(estate_or_none(inventory), files())
    path = write(facts, caller_path(out) if out else runs_dir() / "page")
    safe = answer(facts)
    print(f"{safe.word}. {safe.sentence}")
    print(f"page: {path}")


def _number(port: str) -> int:
    from drills.live.serve import PORT

    try:
        return int(port) if port else PORT
    except ValueError:
        raise BadInput(f"{port!r} is no port", f"--port {PORT} is the default") from None


def _serve(port: int, estate: Estate | None) -> None:
    from drills.board.facts import gather
    from drills.evidence.files import files
    from drills.live.follow import running
    from drills.live.hub import Hub, Made
    from drills.live.serve import Server
    from runbooks.engine.rundir import runs_dir

    def made(facts: Facts) -> Made:
        from drills.board.page import render

        return Made(render(facts, live=True), facts.at.isoformat())

    server = Server(port)
    os.nice(_POLITE)
    with progress() as say:
        say("Asking the estate, its backups and the history")
        facts = _unasked(estate) if running(runs_dir()) else gather(estate, files())
    hub = Hub(runs_dir(), lambda: made(gather(estate, files())), print, made(facts))
    print(f"page: {server.address} (ctrl-c ends it)", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve(hub)


def _unasked(estate: Estate | None) -> Facts:
    """The history alone."""
    from drills.board.facts import gather
    from drills.evidence.files import files

    return replace(
        gather(None, files()), estate=estate.name if estate else "", why_not_seen=_NOT_ASKED, why_no_plan=_NOT_ASKED,
        why_no_backups=_NOT_ASKED,
    )  # fmt: skip


TOP_LEVEL = (page,)
