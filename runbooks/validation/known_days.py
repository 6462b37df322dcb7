"""Which days are open: the catalogue's own table first, a package's calendar where that has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from inventories.catalog.market import Calendar
from runbooks.validation.exchange import Absent, Days

Package = Callable[[str], Days]


@dataclass(frozen=True)
class Open:
    """Whether some exchange is open, and whether every one is; `source`: who says so."""

    some: bool
    every: bool
    source: str


@dataclass(frozen=True)
class Known:
    """Days are ISO dates. `own` is what the table says of them; `refused`: why it could not be read, if so."""

    calendar: Calendar
    today: date
    own: Mapping[str, Open]
    load: Package
    refused: str = ""

    @cached_property
    def package(self) -> Days | Absent:
        """Loaded once somebody needs it: it brings pandas along."""
        if self.calendar.package is None:
            return Absent("quality.yaml names no package")
        try:
            return self.load(self.calendar.package)
        except Absent as error:
            return error

    def of(self, day: str) -> Open | None:
        """None where nobody knows."""
        if day in self.own:
            return self.own[day]
        with suppress(ValueError):  # infinity, and what is before Christ
            there = date.fromisoformat(day)
            if isinstance(self.package, Days) and self.package.knows(there):
                opened = there in self.package.open
                return Open(opened, opened, self.package.source)
        return None

    def open_between(self, first: str, last: str) -> Iterator[str]:
        """Days after the first and before the last on which every exchange is open."""
        days = set(self.own)
        beyond = not self.own or first < min(self.own) or last > max(self.own)
        if beyond and isinstance(self.package, Days):
            days |= {day.isoformat() for day in self.package.open}
        for day in sorted(days):
            if first < day < last and (said := self.of(day)) and said.every:
                yield day

    def ending(self) -> Iterator[str]:
        """Calendars that end within `warn_days`: the table, and the package where the table does not go further."""
        last = date.fromisoformat(max(self.own)) if self.own else None
        if last is not None and self._far(last):
            return
        if last is not None:
            yield self._ends(self.calendar.table, last)
        if isinstance(self.package, Days) and not self._far(self.package.last):
            yield self._ends(self.package.source, self.package.last)

    def why_unknown(self) -> str:
        """What each calendar has instead."""
        ends = f"it ends on {max(self.own)}" if self.own else "it has no day of these exchanges"
        own = f"{self.calendar.table}: {self.refused or ends}"
        if isinstance(self.package, Days):
            return f"{own}; {self.package.source} is of {self.package.first} to {self.package.last}"
        return f"{own}; {self.package}"

    def _far(self, last: date) -> bool:
        return (last - self.today).days > self.calendar.warn_days

    def _ends(self, who: str, last: date) -> str:
        left = (last - self.today).days
        if left < 0:
            return f"{who} ended on {last}, {-left} d ago"
        return f"{who} ends on {last}, in {left} d"
