"""How fast the synchronous store takes rows when nobody holds the feed back."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from drills import feed as feeds
from drills.measuring.tally import Feed
from inventories.errors import TargetFailed, TimedOut
from runbooks.hosts import Estate

RATE = 50000.0  # rows a second that are asked for, and that no store of a lab takes


def rows_per_s(estate: Estate, rate: float, seconds: float, folder: Path) -> float:
    """Rows a second that the store acknowledged over so long. Raises TargetFailed where the feed has died."""
    with feeds.running(estate.app, rate, 1, folder) as feed:
        before, began = feed.ledger.view().by_store, time.monotonic()
        with suppress(TimedOut):
            feed.ledger.wait_for(lambda view: view.feed is Feed.DIED, seconds, "the feed's death")
            raise TargetFailed(f"the feed on {estate.app} died", f"see {folder}/logs")
        return (feed.ledger.view().by_store - before) / (time.monotonic() - began)
