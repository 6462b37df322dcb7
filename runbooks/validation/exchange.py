"""A calendar of exchange_calendars, where this machine has that package: it is nobody's requirement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from importlib import import_module
from importlib.metadata import version
from typing import Any

PACKAGE = "exchange_calendars"


class Absent(Exception):  # noqa: N818
    """Nobody can tell which days it has open; the text says why."""


@dataclass(frozen=True)
class Days:
    """Every day from `first` to `last` is known, and open or not. `source` names who says so."""

    source: str
    first: date
    last: date
    open: frozenset[date]

    def knows(self, day: date) -> bool:
        return self.first <= day <= self.last


def days(name: str) -> Days:
    """All that the package knows of a calendar, from its first day to its last. Raises Absent."""
    try:
        package: Any = import_module(PACKAGE)
    except ImportError as error:
        raise Absent(f"{PACKAGE} is not installed ({error})") from None
    try:
        source = f"{PACKAGE} {version(PACKAGE)} ({name})"
        # Without both bounds it gives the last twenty years.
        kind = type(package.get_calendar(name))
        first, last = kind.bound_min(), kind.bound_max()
        calendar = package.get_calendar(name, start=first, end=last)
        sessions = frozenset(one.date() for one in calendar.sessions)
        return Days(source, calendar.first_session.date(), (last or calendar.last_session).date(), sessions)
    except Exception as error:  # whatever another release of it, or of pandas, makes of this
        raise Absent(f"{PACKAGE} does not tell {name}: {error!r}") from error
