"""When a schedule last came round: a table of cases, and properties against a search minute by minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from agents.base.errors import BadConfig
from agents.jobs import cron
from inventories.catalog.recovery import _cron


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc).timestamp()


def told(expression: str, now: str) -> str | None:
    found = cron.previous(expression, at(now))
    return None if found is None else f"{datetime.fromtimestamp(found, timezone.utc):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("expression", "now", "last"),
    [
        ("* * * * *", "2026-11-21 06:19", "2026-11-21 06:19"),
        ("5 * * * *", "2026-11-21 06:05", "2026-11-21 06:05"),
        ("5 * * * *", "2026-11-21 06:04", "2026-11-21 05:05"),
        ("30 18 * * 6", "2026-11-21 18:29", "2026-11-14 18:30"),  # the 21st is a Saturday
        ("30 18 * * 6", "2026-11-21 18:30", "2026-11-21 18:30"),
        ("30 8,18 * * 0-5", "2026-11-21 06:00", "2026-11-20 18:30"),
        ("0 0 * * 7", "2026-11-21 06:00", "2026-11-15 00:00"),  # 7 is Sunday as well
        ("*/20 9-10 * * *", "2026-11-21 23:00", "2026-11-21 10:40"),
        ("0 12 1 1 *", "2026-11-21 06:00", "2026-01-01 12:00"),
        ("0 0 29 2 *", "2026-11-21 06:00", "2024-02-29 00:00"),
        ("0 0 29 2 *", "2104-02-28 00:00", "2096-02-29 00:00"),  # 2100 is no leap year
        ("0 0 31 * *", "2026-11-21 06:00", "2026-10-31 00:00"),
        ("0 0 13 * 5", "2026-11-21 06:00", "2026-11-20 00:00"),  # the 13th or a Friday
        ("0 0 */2 * 5", "2026-11-21 06:00", "2026-11-13 00:00"),  # a star: odd days that are a Friday
        ("0 0 30 2 *", "2026-11-21 06:00", None),
    ],
)
def test_previous(expression: str, now: str, last: str | None) -> None:
    assert told(expression, now) == last


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
     "*/0 * * * *", "5/10 * * * *", "a * * * *", "1, * * * *", "* * * * MON", "@daily"],
)  # fmt: skip
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(BadConfig) as refused:
        cron.parse(expression)
    assert refused.value.hint


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> str:
    def part() -> str:
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, high))
        return draw(st.sampled_from(["*", f"{first}", f"{first}-{last}", f"*/{step}", f"{first}-{last}/{step}"]))

    return ",".join(part() for _ in range(draw(st.integers(1, 2))))


expressions = st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), st.just("*"), fields(0, 7)).map(" ".join)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=timezone.utc, second=0, microsecond=0)
)


def comes_at(expression: str, minute: datetime) -> bool:
    """crontab(5), read once more and otherwise written: does this minute fit?"""

    def fits(field: str, value: int, high: int) -> bool:
        for part in field.split(","):
            span, _, step = part.partition("/")
            first, _, last = span.partition("-")
            low, top = (0 if high != 31 else 1, high) if first == "*" else (int(first), int(last or first))
            if low <= value <= top and (value - low) % int(step or 1) == 0:
                return True
        return False

    minutes, hours, days, _, weekdays = expression.split()
    weekday = minute.isoweekday() % 7
    by_week = fits(weekdays, weekday, 7) or (weekday == 0 and fits(weekdays, 7, 7))
    by_month = fits(days, minute.day, 31)
    day = by_month and by_week if days[0] == "*" or weekdays[0] == "*" else by_month or by_week
    return fits(minutes, minute.minute, 59) and fits(hours, minute.hour, 23) and day


@given(expressions, moments)
@settings(max_examples=150, deadline=None)
def test_previous_is_the_last_minute_that_fits(expression: str, now: datetime) -> None:
    found = cron.previous(expression, now.timestamp())
    minute, limit = now, now - timedelta(days=3)
    while minute > limit and not comes_at(expression, minute):
        minute -= timedelta(minutes=1)
    if minute > limit:
        assert found == minute.timestamp()
    else:
        assert found is None or found <= limit.timestamp()


@given(expressions, moments)
@settings(max_examples=100, deadline=None)
def test_what_was_found_is_found_again_from_its_own_minute(expression: str, now: datetime) -> None:
    found = cron.previous(expression, now.timestamp())
    if found is not None:
        assert found <= now.timestamp()
        assert cron.previous(expression, found) == found
        assert cron.previous(expression, found + 59) == found


@given(expressions)
def test_the_catalogue_and_the_runner_take_the_same_expressions(expression: str) -> None:
    assert _cron(expression) == expression
    cron.parse(expression)


_shaped = st.tuples(*[st.text("0123456789*-,/", max_size=7)] * 5).map(" ".join)


@given(st.one_of(_shaped, st.text("0123456789*-,/ aM@", max_size=24)))
@settings(max_examples=500, deadline=None)
@example("5/10 * * * *")  # cron would drop such a step without a word
@example("*/60 * * * *")
@example("*/24 * * * *")
@example("* * * * MON")
@example("*-5 * * * *")
@example("")
def test_neither_takes_what_the_other_refuses(expression: str) -> None:
    def is_refused(read: Callable[[str], object], by: type[Exception]) -> bool:
        try:
            read(expression)
        except by:
            return True
        return False

    assert is_refused(_cron, PydanticCustomError) == is_refused(cron.parse, BadConfig)


def test_the_zone_of_the_process_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    utc = told("30 18 * * 6", "2026-11-21 19:00")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert told("30 18 * * 6", "2026-11-21 19:00") == utc
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
