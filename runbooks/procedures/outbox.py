"""Wait until an outbox of the application host is empty: its rows are in the store then."""

from __future__ import annotations

from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes import app
from runbooks.probes.app import Outbox


def emptied(host: Host, limit: str | float, settings: str = "agent.json", store: str = "") -> Outbox:
    """The outbox without a record in it; `settings` is the writer's of one store. Raises TimedOut."""
    return until(
        lambda: app.outbox(host, settings=settings),
        limit,
        what=f"an empty outbox of {store}" if store else "an empty outbox",
        accept=lambda box: box.pending_records == 0,
        every=0.2,
    )
