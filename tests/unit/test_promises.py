"""Promises of the catalogue that no single value breaks."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from inventories.catalog import load_recovery


def _values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start, end = (low, high) if first == "*" else (int(first), int(last or first))
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def _times(expression: str, start: datetime, days: int) -> list[datetime]:
    minute, hour, _, _, weekday = expression.split()
    on = {day % 7 for day in _values(weekday, 0, 6)}
    dates = (start + timedelta(days=n) for n in range(days))
    return [
        date.replace(hour=h, minute=m)
        for date in dates
        if date.isoweekday() % 7 in on
        for h in sorted(_values(hour, 0, 23))
        for m in sorted(_values(minute, 0, 59))
    ]


def test_no_two_scheduled_backups_are_further_apart_than_the_limit_on_their_age() -> None:
    """Otherwise `./dr status` fails every weekend, and people learn to look away."""
    recovery = load_recovery()
    schedule = recovery.stores["postgresql"].schedule
    assert all(expression.split()[2:4] == ["*", "*"] for expression in schedule.values())
    times = sorted(time for cron in schedule.values() for time in _times(cron, datetime(2026, 1, 5), 21))
    assert len(times) > 10
    widest = max(later - earlier for earlier, later in pairwise(times))
    assert widest < timedelta(hours=recovery.limits.max_backup_age_h)
