"""What a failover will call, begun while it waits for something else; each waits on its host for its word."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from inventories.errors import DrError
from runbooks.actions.postgresql import asking, promotion
from runbooks.engine.budgets import budget
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql import fence_proof
from runbooks.procedures.postgresql.roles import layout


def get_ready(context: Run, old: Host, new: Host, asks: tuple[str, ...]) -> None:
    """Log in and start what will prove that `old` is fenced, and what promotes `new`.

    Nothing is done before its word, so it may be for a failover that is refused, or of another host in the end. What is
    not ready is started in its turn.
    """
    with suppress(DrError), ThreadPoolExecutor(3) as pool:
        pool.submit(promotion.get_ready, new, layout(context))
        pool.submit(fence_proof.begin, context, old, new)
        pool.submit(asking.begin, new, asks)


def asks(standby: server.Node) -> tuple[str, ...]:
    """The files for which this standby will ask the archive when it is promoted."""
    timeline, position = standby.timeline or 0, standby.written or standby.replayed or 0
    histories = (f"{one:08X}.history" for one in (timeline + 1, timeline) if one > 1)
    return server.segment(timeline, position), *histories


def ask_archive(context: Run, new: Host, names: tuple[str, ...]) -> None:
    """Only when the old primary is fenced: nobody archives any more, so what is not there now never comes.

    Nobody waits for it, since a promotion asks by itself for what was not asked.
    """

    def ask() -> None:
        with suppress(DrError):
            asking.ahead(new, names, budget("promote.ask"))

    if names:
        threading.Thread(target=ask, daemon=True).start()
