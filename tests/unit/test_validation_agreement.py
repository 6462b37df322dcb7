"""Rows that do not agree across stores at a mark are listed by key; what nobody declared is not judged, and said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from agents.validation import agreement as agent
from agents.validation.asked import BadRequest
from inventories.catalog import load_quality, load_tables
from inventories.catalog.agreement import Agreement, Series
from inventories.catalog.quality import Quality
from inventories.errors import BadInput, TargetFailed
from runbooks.hosts import Host, Ran
from runbooks.probes.tdengine import agreement as probe
from runbooks.probes.tdengine.agreement import Lacking, Wanted
from runbooks.validation import agreement, yielding
from runbooks.validation.agreement import Span
from runbooks.validation.difference import Check, Looked
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import COLUMNS, Validated, validated

KNOWN = load_tables()
NOON = 1_795_492_800  # 2026-11-24 04:00 UTC, noon of the exchange
HOUR = Span(NOON - 3600, NOON)
MINUTE = NOON // 60
SYMBOL = "600000.SH"


def declared() -> Agreement:
    found = load_quality().fits(KNOWN).agreement
    assert found is not None
    return found


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    """Four filled orders and their fills in the hour before noon, a minute apart, and rows of other kinds beside."""
    with validated(copying_server, 10) as made:
        made.sql(
            "TRUNCATE order_records, transaction_records",
            f"INSERT INTO order_records {COLUMNS['order_records']} SELECT i, 'O' || i, to_timestamp({NOON} - i * 60), "
            f"'A1', 's1', '{SYMBOL}', 'BUY', 'LIMIT', 10, 100, 'FILLED' FROM generate_series(1, 4) i",
            f"INSERT INTO transaction_records {COLUMNS['transaction_records']} SELECT 100 + event_id, 'T' || event_id, "
            "order_time, order_id, account_id, symbol, side, price, quantity, price * quantity, 5, 0 "
            "FROM order_records",
        )
        yield made


def looked(database: Validated, look: agreement.Look | None = None, wanted: Agreement | None = None) -> Looked:
    wanted = wanted or declared()
    said = yielding.ask(database.asked, agreement.questions(wanted, HOUR), 60)
    return agreement.judge(wanted, KNOWN, HOUR, said, look)


def told(found: Looked) -> list[str]:
    return [f"{one.table}: {one.what}: {one.expected}: {one.found}" for one in found.differences]


def nothing_lacks(wanted: Wanted) -> tuple[Lacking, Lacking]:
    return Lacking(len(wanted.fills), 0, ()), Lacking(7, 0, ())


class TestPostgresql:
    """Orders and fills, of the time before the mark."""

    def test_stores_that_agree_differ_in_nothing(self, database: Validated) -> None:
        found = looked(database, nothing_lacks)
        assert found.sound and found.number == 4 + 4 + 7

    def test_a_filled_order_without_a_fill_is_listed_by_its_key(self, database: Validated) -> None:
        database.sql("DELETE FROM transaction_records WHERE order_id IN ('O2', 'O3')")
        assert told(looked(database, nothing_lacks)) == [
            "order_records: order O3 of 2026-11-24 03:57:00 UTC: a fill in transaction_records: none",
            "order_records: order O2 of 2026-11-24 03:58:00 UTC: a fill in transaction_records: none",
        ]

    def test_what_is_not_filled_of_later_or_of_another_market_is_not_looked_at(self, database: Validated) -> None:
        database.sql(
            "DELETE FROM transaction_records",
            "UPDATE order_records SET status = 'NEW' WHERE order_id = 'O1'",
            "UPDATE order_records SET symbol = 'GOOG' WHERE order_id = 'O2'",
            "UPDATE order_records SET order_time = order_time + interval '1 hour' WHERE order_id = 'O3'",
            "UPDATE order_records SET order_time = order_time - interval '2 hours' WHERE order_id = 'O4'",
        )
        assert told(looked(database, nothing_lacks)) == []

    def test_a_fill_of_after_the_mark_is_one(self, database: Validated) -> None:
        database.sql("UPDATE transaction_records SET trade_time = trade_time + interval '1 day' WHERE order_id = 'O1'")
        assert looked(database, nothing_lacks).sound

    def test_many_are_listed_in_part(self, database: Validated, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agreement, "NAMED", 1)
        database.sql("DELETE FROM transaction_records")
        assert told(looked(database, nothing_lacks))[-1] == (
            "order_records: further orders: a fill in transaction_records: none for 3"
        )

    def test_fills_are_handed_over_by_symbol_and_minute(self, database: Validated) -> None:
        database.sql("UPDATE transaction_records SET trade_time = trade_time + interval '30 s' WHERE order_id <> 'O4'")
        database.sql(f"UPDATE transaction_records SET trade_time = to_timestamp({NOON} - 61) WHERE order_id = 'O3'")
        asked: list[Wanted] = []
        found = looked(database, lambda wanted: (asked.append(wanted), nothing_lacks(wanted))[1])
        assert sorted(asked[0].fills) == [(SYMBOL, MINUTE - 4), (SYMBOL, MINUTE - 2), (SYMBOL, MINUTE - 1)]
        assert (asked[0].ticks, asked[0].bars) == ("`market_data`.`tick_data`", "`market_data`.`minute_kline`")
        assert asked[0].traded == "`volume` > 0 AND (frequency = '1m')" and found.sound

    def test_bars_of_a_longer_span_are_not_asked_for_a_tick_beside_them(self, database: Validated) -> None:
        asked: list[Wanted] = []
        every = declared().model_copy(update={"bars": Series(table="minute_kline")})
        looked(database, lambda wanted: (asked.append(wanted), nothing_lacks(wanted))[1], every)
        assert asked[0].traded == ""

    def test_where_nothing_was_there_to_be_looked_at_it_is_said(self, database: Validated) -> None:
        database.sql("DELETE FROM transaction_records")
        nothing = Lacking(0, 0, ()), Lacking(0, 0, ())
        assert "no fills of that time; no bars of that time" in looked(database, lambda _: nothing).undecided

    def test_fills_and_bars_without_ticks_are_listed(self, database: Validated) -> None:
        database.sql("UPDATE transaction_records SET trade_time = date_trunc('hour', trade_time)")
        lacking = Lacking(1, 1, ((SYMBOL, MINUTE - 60),)), Lacking(9, 2, (("000001.SZ", MINUTE - 5),))
        assert told(looked(database, lambda _: lacking)) == [
            "transaction_records: fill T1 and 3 more of 600000.SH at 2026-11-24 03:00:00 UTC: a tick of it within 1 "
            "min in tick_data: none",
            "minute_kline: bar of 000001.SZ at 2026-11-24 03:55:00 UTC: a tick of it within 1 min in tick_data: none",
            "minute_kline: further minutes: a tick of it within 1 min in tick_data: none for 1",
        ]


class TestWhatCannotBeJudged:
    """It is said, and is no good news where somebody should have answered."""

    def test_nothing_declared_is_said(self, database: Validated) -> None:
        assert agreement.questions(None, HOUR) == {}
        found = agreement.judge(None, KNOWN, HOUR, {}, nothing_lacks)
        assert found.sound and "quality.yaml declares no agreement: not judged" in str(found)

    @pytest.mark.parametrize(
        ("gone", "said"),
        [
            ("orders", "orders and fills are not both declared: not judged"),
            ("ticks", "ticks, and fills or bars, are not declared: not judged"),
            ("bars", "bars are not declared: not judged"),
        ],
    )
    def test_a_table_that_is_not_declared_is_said(self, database: Validated, gone: str, said: str) -> None:
        wanted = declared().model_copy(update={gone: None})
        found = looked(database, nothing_lacks, wanted)
        assert found.sound and said in found.undecided

    def test_an_estate_without_tdengine_is_said(self, database: Validated) -> None:
        found = looked(database, None)
        assert found.sound and "no TDengine here" in found.undecided and found.number == 4

    def test_a_host_that_does_not_answer_is_a_difference(self, database: Validated) -> None:
        def fails(_: Wanted) -> tuple[Lacking, Lacking]:
            raise TargetFailed("backup1: No module named agents.validation.agreement")

        [one] = looked(database, fails).differences
        assert (one.check, one.table) == (Check.AGREEMENT, "tick_data") and "No module named" in one.found

    def test_a_question_that_is_refused_is_a_difference(self, database: Validated) -> None:
        database.sql("ALTER TABLE transaction_records RENAME COLUMN order_id TO theirs")
        try:
            found = told(looked(database, nothing_lacks))
        finally:
            database.sql("ALTER TABLE transaction_records RENAME COLUMN theirs TO order_id")
        assert len(found) == 1 and found[0].startswith("order_records: orders: an answer: ")


class Ticks:
    """A server with ticks and bars at these minutes, `volume` not asked for; it knows the statements it is sent."""

    def __init__(self, ticks: set[tuple[str, int]], bars: set[tuple[str, int]]) -> None:
        self.ticks, self.bars, self.asked = ticks, bars, list[str]()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        found = re.search(r"ts >= (\d+) AND ts < (\d+)", sql)
        assert found, sql
        start, end = map(int, found.groups())
        if "INTERVAL(1m)" in sql:
            return [(s, m * 60 * 10**9, 1) for s, m in self.ticks if start <= m * 60 * 10**9 < end]
        return [(s, m * 60 * 10**9) for s, m in self.bars if start <= m * 60 * 10**9 < end]

    def run(self, command: str, *_: object, stdin: str = "", **__: object) -> Ran:
        assert "agents.validation.agreement" in command
        return Ran(0, json.dumps(agent.look(self, json.loads(stdin))), "", 0.1)


def asked(server: Ticks, fills: list[tuple[str, int]], within: int = 1) -> tuple[Lacking, Lacking]:
    wanted = Wanted(
        NOON - 7200, NOON, "`d`.`t`", within, "`symbol`", declared().symbols, fills, "`d`.`b`", "`volume` > 0"
    )
    return probe.look(cast(Host, server), wanted, 60)


class TestTdengine:
    """The program on the backup host, hour by hour."""

    def test_a_tick_near_is_enough_across_an_hours_end_too(self) -> None:
        hour = MINUTE - 60
        server = Ticks({(SYMBOL, hour - 1), (SYMBOL, MINUTE - 10)}, {(SYMBOL, hour)})
        fills, bars = asked(server, [(SYMBOL, hour), (SYMBOL, MINUTE - 11), (SYMBOL, MINUTE - 20)])
        assert (fills.looked, fills.lacks, fills.some) == (3, 1, ((SYMBOL, MINUTE - 20),))
        assert (bars.looked, bars.lacks) == (1, 0)
        exact, _ = asked(server, [(SYMBOL, hour), (SYMBOL, MINUTE - 11)], within=0)
        assert exact.lacks == 2

    def test_another_symbols_tick_is_none(self) -> None:
        fills, _ = asked(Ticks({("000001.SZ", MINUTE - 5)}, set()), [(SYMBOL, MINUTE - 5)])
        assert fills.lacks == 1

    def test_bars_of_another_market_are_not_looked_at_and_quiet_hours_ask_for_no_tick(self) -> None:
        server = Ticks(set(), {("GOOG", MINUTE - 5), (SYMBOL, MINUTE - 70)})
        _, bars = asked(server, [])
        assert (bars.looked, bars.some) == (1, ((SYMBOL, MINUTE - 70),))
        assert sum("INTERVAL" in sql for sql in server.asked) == 1
        assert all("`volume` > 0" in sql for sql in server.asked if "INTERVAL" not in sql)

    @pytest.mark.parametrize("wrong", [[], {}, {"from": 1, "to": "x"}])
    def test_what_is_no_request_is_refused(self, wrong: Any) -> None:
        with pytest.raises(BadRequest):
            agent.look(Ticks(set(), set()), wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"orders": {"table": "nobodys", "key": "a", "time": "b", "filled": "true"}}, "agreement.orders names nobodys"),
        ({"fills": {"table": "transaction_records", "key": "transaction_id", "time": "trade_time", "order": "of"}},
         "agreement.fills names of"),
        ({"ticks": {"table": "daily_kline"}}, "agreement.ticks names daily_kline, but .* in TDengine"),
        ({"ticks": {"table": "index_quotes"}}, "agreement.ticks names symbol"),
        ({"bars": {"table": "minute_kline", "volume": "amounts"}}, "agreement.bars names amounts"),
    ],
)  # fmt: skip
def test_an_agreement_of_what_is_not_there_is_bad_input(change: dict[str, Any], said: str) -> None:
    raw = {**declared().model_dump(exclude_unset=True), **change}
    with pytest.raises(BadInput, match=said):
        Quality.model_validate({"version": 1, "agreement": raw}).fits(KNOWN)
