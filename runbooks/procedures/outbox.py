"""Wait until an outbox of the application host holds nothing but what waits for a table: the rest is in the store."""

from __future__ import annotations

from inventories.errors import TimedOut, Unreachable
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes import app
from runbooks.probes.app import Outbox


def emptied(host: Host, limit: str | float, settings: str = "agent.json", store: str = "") -> Outbox:
    """The outbox without a record that is ready; `settings` is the writer's of one store. Raises TimedOut.

    What a missing or changed table holds back is a finding of `status`, and would be waited for in vain here. A host
    that is too busy to answer once, with the rows of a failover coming back, is asked again.
    """
    return until(
        lambda: app.outbox(host, settings=settings),
        limit,
        what=f"an empty outbox of {store}" if store else "an empty outbox",
        accept=lambda box: box.ready_records == 0,
        every=0.2,
        retry=(Unreachable, TimedOut),
    )
