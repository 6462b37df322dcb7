"""What the history tells besides the estate: for the alarms, asked now and then, and for everything at one moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from drills.board import figures
from drills.board.facts import gather
from drills.calendar import due as calendar
from drills.evidence.checking import check
from drills.evidence.files import files
from inventories.catalog.load import load_recovery
from inventories.errors import DrError
from runbooks.alarms.alarming import estate_source
from runbooks.figures import estate as of_estate
from runbooks.figures.kinds import Reading
from runbooks.hosts import Estate


def calendar_source(estate: Estate, every_s: float) -> Callable[[], Reading]:
    """What was read last, read anew every so many seconds: the history is long, and changes with a drill only. Where it
    cannot be read, nothing is said of it.
    """
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
        return figures.of_calendar(calendar.due(checked, kept, calendar.look(estate, checked), datetime.now(UTC)))
    except DrError:
        return Reading(time.time())


def everything(estate: Estate, say: Callable[[str], None]) -> tuple[Reading, ...]:
    """The estate, the calendar and the plan, asked at once. A history that cannot be read is said, and costs no more
    than its own figures.
    """
    try:
        facts = gather(estate, files())
    except DrError as error:
        say(f"WARNING: nothing is told of drills: {error}")
        return (estate_source(estate)(),)
    at = facts.at.timestamp()
    seen = of_estate.reading(facts.now.status, load_recovery().limits) if facts.now else None
    return (seen or of_estate.unseen(at, facts.why_not_seen, ""), figures.reading(facts))
