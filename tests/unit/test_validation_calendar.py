"""Days and hours of rows are held to the exchange's: by the catalogue's table, then a package; unknown is said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from inventories.catalog import load_quality, load_tables
from inventories.catalog.quality import Quality
from inventories.errors import BadInput
from runbooks.validation import exchange, run
from runbooks.validation.difference import Check, Looked
from runbooks.validation.exchange import Absent, Days
from runbooks.validation.known_days import Package
from runbooks.validation.report import Report
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import CALENDAR, COLUMNS, Validated, no_package, validated

KNOWN = load_tables()
BARS = (
    f"INSERT INTO daily_kline {COLUMNS['daily_kline']} SELECT 4000000 + i, '600000.SH', date '2026-11-23' + i, "
    "11, 12, 9, 11, 1, 1, 0, 1 FROM generate_series(0, 4) i"
)


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 100) as made:
        yield made


@pytest.fixture
def bars(database: Validated) -> Validated:
    """Five bars of a market's symbol, Monday to Friday, and those of the kit, which are nobody's."""
    database.sql("DELETE FROM transaction_records", BARS)
    return database


def days(first: str, last: str, *closed: str) -> Package:
    one, two = date.fromisoformat(first), date.fromisoformat(last)
    every = {one + timedelta(days=n) for n in range((two - one).days + 1)}
    opened = frozenset(every - {date.fromisoformat(day) for day in closed})
    return lambda name: Days(f"a package ({name})", one, two, opened)


def looked(database: Validated, package: Package = no_package, quality: Quality | None = None) -> Looked:
    quality = (quality or load_quality()).fits(KNOWN)
    every = run.look(
        database.asked, KNOWN, quality, run.chosen(KNOWN, ()), run.Level.FULL, lambda _: None, package
    )
    [found] = [one for one in every if one.check is Check.CALENDAR]
    return found


def told(found: Looked) -> list[str]:
    return [f"{one.table}: {one.what}: {one.expected}: {one.found}" for one in found.differences]


class TestTheTable:
    """The catalogue's own calendar comes first."""

    def test_rows_of_open_days_within_sessions_are_sound(self, database: Validated) -> None:
        database.sql(CALENDAR)
        found = looked(database)
        assert found.sound and found.number == 5 and not found.unknown  # five days of fills; the kit's bars are .SIM

    def test_a_closed_day_and_a_missing_one_are_told(self, bars: Validated) -> None:
        bars.sql(
            "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) SELECT 1, 'SH', d, "
            "d <> '2026-11-25' FROM generate_series(date '2026-11-20', '2028-01-01', interval '1 day') d",
            "DELETE FROM daily_kline WHERE trade_date = '2026-11-26' AND symbol = '600000.SH'",
        )
        assert told(looked(bars)) == [
            "daily_kline: rows of 2026-11-25: none, a closed day by trade_calendar: 1 rows, one of them "
            "event_id=4000002",
            "daily_kline: rows of 2026-11-26: some, an open day by trade_calendar: none",
        ]

    def test_a_fill_beside_the_sessions_is_told_with_its_hour(self, database: Validated) -> None:
        database.sql(
            CALENDAR,
            "UPDATE transaction_records SET trade_time = trade_time + interval '2 hours 31 minutes' "
            "WHERE order_id = 'O17'",
        )
        [found] = told(looked(database))
        assert found.startswith("transaction_records: times of ")
        assert found.endswith(
            ": all within 09:15-11:30, 13:00-15:30 (Asia/Shanghai): 1 others, at 12:31:00 for one, and event_id=1000017"
        )

    def test_the_last_minute_of_a_session_counts(self, database: Validated) -> None:
        last = "(trade_time AT TIME ZONE 'Asia/Shanghai')::date + time '%s') AT TIME ZONE 'Asia/Shanghai'"
        database.sql(CALENDAR, f"UPDATE transaction_records SET trade_time = ({last % '11:30:59.9'}")
        assert looked(database).sound
        database.sql(f"UPDATE transaction_records SET trade_time = ({last % '11:31:00'}")
        assert len(looked(database).differences) == 5

    def test_days_of_another_market_say_nothing(self, bars: Validated) -> None:
        bars.sql(
            "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) SELECT 1, 'HKEX', d, false "
            "FROM generate_series(date '2026-11-20', '2026-11-30', interval '1 day') d"
        )
        found = looked(bars)
        assert not found.number and "it has no day of these exchanges" in found.unknown

    def test_many_days_are_named_in_part(self, bars: Validated) -> None:
        bars.sql(
            "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) SELECT 1, 'SH', d, false "
            "FROM generate_series(date '2026-01-01', '2026-12-31', interval '1 day') d",
            BARS.replace("4000000", "5000000").replace("2026-11-23", "2026-11-02"),
        )
        assert told(looked(bars))[-1].startswith("daily_kline: further days: none, a closed day by trade_calendar: 5 ")


class TestThePackage:
    """Where the table has no day, if it is there."""

    def test_it_judges_what_the_table_does_not_have(self, bars: Validated) -> None:
        bars.sql(
            "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) "
            "VALUES (1, 'SH', '2026-11-23', true)"
        )
        found = looked(bars, days("2026-01-01", "2099-12-31", "2026-11-23", "2026-11-27"))
        assert told(found) == [
            "daily_kline: rows of 2026-11-27: none, a closed day by a package (XSHG): 1 rows, one of them "
            "event_id=4000004"
        ]
        assert found.number == 5

    def test_days_after_its_end_are_unknown_and_no_good_news(self, bars: Validated) -> None:
        found = looked(bars, days("2026-01-01", "2026-11-24"))
        assert found.number == 2
        assert found.unknown.startswith("3 days, 2026-11-25 to 2026-11-27, of daily_kline, which no calendar has")
        report = Report("postgresql", "pg1", "full", "", 1, (found,), 1.0)
        assert report.sound and report.brief.startswith("Whole as far as anybody can tell (calendar: unknown): ")

    def test_without_any_calendar_all_is_unknown_and_fails_where_one_must_be_there(self, bars: Validated) -> None:
        found = looked(bars)
        assert found.sound and found.number == 0 and "no package is asked here" in found.unknown
        assert "which proves nothing" in str(found) and "unknown: 5 days" in str(found)
        quality = load_quality()
        kept = tuple(name for name in quality.may_be_empty if name != "trade_calendar")
        strict = looked(bars, quality=quality.model_copy(update={"may_be_empty": kept}))
        assert not strict.sound

    def test_no_row_of_the_market_is_no_failure_and_asks_no_package(self, database: Validated) -> None:
        database.sql("DELETE FROM transaction_records")
        found = looked(database, lambda name: pytest.fail("it was loaded"))
        assert found.sound and not found.number and found.undecided == "no row of this market"


class TestTheEnd:
    """A calendar that ends before long is told before it does."""

    def test_within_its_days_it_is_warned_of(self, bars: Validated) -> None:
        bars.sql(
            "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) SELECT 1, 'SH', d, true "
            "FROM generate_series(date '2026-11-20', current_date + 30, interval '1 day') d",
            "DELETE FROM daily_kline WHERE symbol <> '600000.SH'",
        )
        soon = (date.today() + timedelta(days=40)).isoformat()
        found = looked(bars, days("2026-01-01", soon))
        assert found.warns.startswith("trade_calendar ends on ") and "; a package (XSHG) ends on " in found.warns
        report = Report("postgresql", "pg1", "full", "", 1, (found,), 1.0)
        assert report.warns == found.warns and f"WARNING: {found.warns}." in report.render()
        far = looked(bars, days("2026-01-01", "2099-12-31"))
        assert "a package" not in far.warns and far.warns

    def test_what_goes_further_is_not(self, bars: Validated) -> None:
        bars.sql(
            "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) SELECT 1, 'SH', d, true "
            "FROM generate_series(date '2026-11-20', current_date + 60, interval '1 day') d"
        )
        assert looked(bars).warns == ""


class TestWhatIsInstalled:
    """exchange_calendars, or nothing: neither is an error."""

    def test_not_installed_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "exchange_calendars", None)
        with pytest.raises(Absent, match="exchange_calendars is not installed"):
            exchange.days("XSHG")

    def test_its_days_are_from_its_first_to_its_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "exchange_calendars", module(Calendar))
        monkeypatch.setattr(exchange, "version", lambda name: "4.13")
        found = exchange.days("XSHG")
        assert (found.first, found.last) == (date(2026, 1, 5), date(2026, 12, 31))
        assert found.open == {date(2026, 1, 5), date(2026, 12, 30)}
        assert found.source == "exchange_calendars 4.13 (XSHG)"

    def test_one_that_answers_otherwise_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "exchange_calendars", module(SimpleNamespace))
        monkeypatch.setattr(exchange, "version", lambda name: "9")
        with pytest.raises(Absent, match="exchange_calendars does not tell XSHG: "):
            exchange.days("XSHG")

    def test_the_real_one_knows_what_it_is_asked(self) -> None:
        pytest.importorskip("exchange_calendars")
        found = exchange.days("XSHG")
        assert date(2026, 10, 1) not in found.open and date(2026, 11, 27) in found.open
        assert date(1995, 1, 3) in found.open and found.knows(date(1995, 1, 1)) and not found.knows(date(2126, 1, 1))


class _Day:
    """As much of a pandas Timestamp as is asked."""

    def __init__(self, *when: int) -> None:
        self._day = date(*when)

    def date(self) -> date:
        return self._day


class Calendar:
    """As much of a calendar as is asked; without both bounds it would be another span."""

    def __init__(self, start: object = None, end: object = None) -> None:
        self.sessions = [_Day(2026, 1, 5), _Day(2026, 12, 30)] if start and end else []
        self.first_session, self.last_session = _Day(2026, 1, 5), _Day(2026, 12, 30)

    @classmethod
    def bound_min(cls) -> _Day:
        return _Day(2026, 1, 1)

    @classmethod
    def bound_max(cls) -> _Day:
        return _Day(2026, 12, 31)


def module(kind: Callable[..., Any]) -> ModuleType:
    made = ModuleType("exchange_calendars")
    made.get_calendar = lambda name, **bounds: kind(**bounds)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": "nobodys"}, "calendar.table names nobodys"),
        ({"table": "symbols"}, "calendar.table names calendar_date"),
        ({"held": {"daily_kline": {"column": "close"}}}, "calendar.held.daily_kline names close"),
        ({"held": {"account_funds": {"column": "record_date"}}}, "calendar.held.account_funds names symbol"),
    ],
)
def test_a_calendar_of_what_is_not_there_is_bad_input(change: dict[str, Any], said: str) -> None:
    calendar = load_quality().calendar
    assert calendar is not None
    raw = {**calendar.model_dump(exclude_unset=True), **change}
    with pytest.raises(BadInput, match=said):
        Quality.model_validate({"version": 1, "calendar": raw}).fits(KNOWN)


def test_a_catalogue_without_a_calendar_holds_nothing_to_one(database: Validated) -> None:
    quality = load_quality().model_copy(update={"calendar": None})
    every = run.look(database.asked, KNOWN, quality, ("daily_kline",), run.Level.FULL, lambda _: None)
    assert Check.CALENDAR not in {one.check for one in every}


def test_a_warning_does_not_make_a_difference() -> None:
    one = Looked(Check.CALENDAR, "days of rows", 3, warns="it ends")
    assert one.sound and not replace(one, number=0).sound
