"""The drill calendar for the alarms, asked now and then: the history is long, and changes with a drill only."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from drills.board.figures import of_calendar
from drills.calendar import due as calendar
from drills.evidence.checking import check
from drills.evidence.files import files
from inventories.errors import DrError
from runbooks.figures.kinds import Reading
from runbooks.hosts import Estate


def calendar_source(estate: Estate, every_s: float) -> Callable[[], Reading]:
    """What was read last, read anew every so many seconds; where it cannot be, nothing is said of it."""
    last: list[tuple[float, Reading]] = []

    def read() -> Reading:
        now = time.monotonic()
        if not last or now - last[0][0] >= every_s:
            last[:] = [(now, _read(estate))]
        return last[0][1]

    return read


def _read(estate: Estate) -> Reading:
    try:
        kept = files()
        checked = check(kept)
        return of_calendar(calendar.due(checked, kept, calendar.look(estate, checked), datetime.now(UTC)))
    except DrError:
        return Reading(time.time())
