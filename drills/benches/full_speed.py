"""How fast the synchronous store takes rows when nobody holds the feed back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from drills import feed as feeds
from drills.measuring.ledger import read_ledger
from drills.measuring.tally import Feed, tally
from drills.stores import POSTGRESQL
from inventories.errors import TargetFailed, TimedOut
from runbooks.hosts import Estate
from runbooks.procedures.outbox import emptied

RATE = 50000.0  # rows a second that are asked for, and that no store of a lab takes
DRAINS_S = 600.0  # what such a feed leaves in its outbox until it is given up


def rows_per_s(estate: Estate, rate: float, seconds: float, folder: Path, say: Callable[[str], None]) -> float:
    """Rows a second that the store acknowledged over so long. Raises TargetFailed where the feed has died, TimedOut.

    A feed whose first connection comes late turns to its outbox, and at such a rate it never turns back: the outbox
    drains then, and the feed starts again, once, and says so.
    """
    try:
        return _measured(estate, rate, seconds, folder)
    except TimedOut as late:
        if not _in_outbox_alone(folder):
            raise
        say(f"{late} They went to the outbox: it drains, and the feed starts again, once.")
    emptied(estate.app, DRAINS_S)
    again = folder / "again"
    again.mkdir()
    return _measured(estate, rate, seconds, again)


def _measured(estate: Estate, rate: float, seconds: float, folder: Path) -> float:
    with feeds.running(estate.app, rate, 1, folder) as feed:
        before, began = feed.ledger.view().by_store, time.monotonic()
        with suppress(TimedOut):
            feed.ledger.wait_for(lambda view: view.feed is Feed.DIED, seconds, "the feed's death")
            raise TargetFailed(f"the feed on {estate.app} died", f"see {folder}/logs")
        return (feed.ledger.view().by_store - before) / (time.monotonic() - began)


def _in_outbox_alone(folder: Path) -> bool:
    view = tally(read_ledger(folder / POSTGRESQL.ledger)).view
    return view.by_outbox > 0 and not view.by_store
