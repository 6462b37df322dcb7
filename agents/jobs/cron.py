"""When a cron expression last came round, in UTC: what a schedule promised, whatever cron itself did about it.

Five fields as in crontab(5): numbers, ranges, lists, steps. Where day of month and day of week are both restricted,
either is enough. The catalogue takes the same expressions (inventories/catalog/recovery.py). Neither side may import
the other, so a test holds them together. Why this is no library: docs/decisions.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from agents.base.errors import BadConfig

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_PART = re.compile(r"(?:(\*)|([0-9]+)(?:-([0-9]+))?)(?:/([0-9]+))?")
_DAYS = 8 * 366 + 2  # 29 February is missing in 2100, so eight years may pass without one


@dataclass(frozen=True)
class Schedule:
    """One expression, parsed; days of the week count from Sunday, 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week

    def previous(self, at: float) -> float | None:
        """Unix seconds of the last scheduled minute that is not after `at`; None when it never comes (30 February)."""
        moment = datetime.fromtimestamp(at, timezone.utc)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for ago in range(_DAYS):
            day = midnight - timedelta(days=ago)
            if not self.on(day):
                continue
            limit = (moment.hour, moment.minute) if ago == 0 else (23, 59)
            times = [(h, m) for h in self.hours for m in self.minutes if (h, m) <= limit]
            if times:
                hour, minute = max(times)
                return day.replace(hour=hour, minute=minute).timestamp()
        return None


def parse(expression: str) -> Schedule:
    """Raises BadConfig for what is no cron expression."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise BadConfig(f"{expression!r} has {len(fields)} fields.", "A cron expression has five.")
    minutes, hours, days, months, weekdays = (
        _values(expression, field, *span) for field, span in zip(fields, _FIELDS)  # noqa: B905 - lengths are equal
    )
    return Schedule(
        minutes, hours, days, months, frozenset(day % 7 for day in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )  # fmt: skip


def previous(expression: str, at: float) -> float | None:
    """`Schedule.previous` of an expression. Raises BadConfig."""
    return parse(expression).previous(at)


def _values(expression: str, field: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadConfig(f"{expression!r}: {part!r} is no {name}.", "Give numbers, ranges, lists and steps.")
        star, first, last, step = match.groups()
        start, end = (low, high) if star else (int(first), int(last or first))
        alone = step is not None and not star and last is None  # cron drops such a step without a word
        if not low <= start <= end <= high or alone or (step is not None and not 1 <= int(step) <= high):
            raise BadConfig(f"{expression!r}: {part!r} is no {name}.", f"It is {low} to {high}; a step needs a range.")
        found |= set(range(start, end + 1, int(step or 1)))
    return frozenset(found)
