"""What must be true of rows: each thing that is not is told by its own rule, and by no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inventories.catalog import load_quality, load_tables
from inventories.catalog.quality import Quality
from inventories.catalog.tables import Nan
from inventories.errors import BadInput
from runbooks.validation import rules, yielding
from runbooks.validation.difference import Check
from runbooks.validation.run import Level, chosen
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import CALENDAR, COLUMNS, Validated, validated


@pytest.fixture(scope="module")
def module_database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 400) as made:
        made.sql(CALENDAR)
        yield made


@pytest.fixture
def database(module_database: Validated) -> Iterator[Validated]:
    """What a test damages is undone by the next one's fixture: by a copy of every table."""
    tables = [table.name for table in load_tables().tables.values() if table.store.value == "postgresql"]
    module_database.sql(
        "CREATE SCHEMA saved", *(f"CREATE TABLE saved.{name} AS TABLE public.{name}" for name in tables)
    )
    yield module_database
    module_database.sql(
        *(f"TRUNCATE public.{name}" for name in tables),
        *(f"INSERT INTO public.{name} SELECT * FROM saved.{name}" for name in tables),
        "DROP SCHEMA saved CASCADE",
    )


def told(database: Validated, level: Level = Level.FULL) -> list[str]:
    return [str(one) for one in database.found(level) if one.check is not Check.STRUCTURE]


def test_sound_rows_break_no_rule(database: Validated) -> None:
    assert told(database) == []
    rules = next(one for one in database.looked(Level.FULL) if one.check is Check.RULE)
    assert (rules.check, rules.number) == (Check.RULE, len(load_quality().rules))
    assert rules.undecided == "nothing to go over for jumps-within-limit, positions-are-fills, funds-add-up"


ONE = "WHERE event_id = 17"
BAR = "WHERE event_id = 3000017"
DAMAGES = {
    "price-range": f"UPDATE daily_kline SET high = 20000 {BAR}",
    "volume-range": f"UPDATE daily_kline SET volume = -1 {BAR}",
    "ohlc-sane": f"UPDATE daily_kline SET low = 10.5 {BAR}",
    "orders-legal": f"UPDATE order_records SET status = 'SOLD' {ONE}",
    "one-order-per-id": (
        f"INSERT INTO order_records {COLUMNS['order_records']} SELECT 777777, order_id, order_time, account_id, "
        f"strategy_id, symbol, side, order_type, price, quantity, status FROM order_records {ONE}"
    ),
    "one-fill-per-id": "UPDATE transaction_records SET transaction_id = 'T17' WHERE order_id = 'O18'",
    "fills-priced": "UPDATE transaction_records SET amount = amount + 1 WHERE order_id = 'O17'",
    "fills-of-their-order": "UPDATE transaction_records SET account_id = 'A99' WHERE order_id = 'O17'",
    "fills-within-order": "UPDATE order_records SET quantity = 1 WHERE order_id = 'O17'",
    "positions-valued": "UPDATE position_records SET market_value = 1 WHERE event_id = 2000017",
    "positions-are-fills": (
        f"INSERT INTO position_records {COLUMNS['position_records']} SELECT 777777, account_id, symbol, "
        "current_date + 1, sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) + 100, 0, 1, 0, 0, 0 "
        "FROM transaction_records WHERE symbol = '600007.SH' AND account_id = 'A3' GROUP BY 2, 3"
    ),
    "funds-add-up": (
        "INSERT INTO account_funds (event_id, account_id, record_date, total_assets, cash_balance, market_value) "
        "VALUES (1, 'A1', current_date, 100, 50, 40)"
    ),
    "jumps-within-limit": (
        f"INSERT INTO daily_kline {COLUMNS['daily_kline']} SELECT 4000000 + i, "
        " '600000.SH', current_date - 9 + i, 10, 20, 9, "
        "CASE WHEN i = 9 THEN 12.5 ELSE 11 END, 1, 1, 0, 1 FROM generate_series(1, 9) i"
    ),
}


@pytest.mark.parametrize("rule", DAMAGES)
def test_each_rule_tells_what_breaks_it_and_no_other_does(database: Validated, rule: str) -> None:
    database.sql(DAMAGES[rule])
    found = [one for one in database.found() if one.check is not Check.STRUCTURE]
    assert {(one.check, one.what.partition(":")[0]) for one in found} == {(Check.RULE, rule)}, told(database)


def test_every_rule_of_the_catalogue_has_a_damage() -> None:
    assert set(DAMAGES) == set(load_quality().rules)


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        ("TRUNCATE daily_kline", "empty: daily_kline: rows: expected some, found none"),
        (
            "UPDATE order_records SET strategy_id = NULL WHERE event_id <= 40",
            "completeness: order_records: strategy_id: expected a value in 0.95 of rows, found 0.9000 of 400 rows",
        ),
        (
            "DELETE FROM order_records WHERE order_time > now() - interval '60 hours'; "
            "UPDATE trade_calendar SET is_open = true; DELETE FROM transaction_records",
            "freshness: order_records: newest order_time: expected 24 h old, found ",
        ),
    ],
)
def test_what_is_empty_incomplete_or_stale_is_told(database: Validated, damage: str, wanted: str) -> None:
    database.sql(*damage.split("; "))
    found = told(database, Level.QUICK)
    assert any(line.startswith(wanted) for line in found), found
    assert {line.partition(":")[0] for line in found} <= {wanted.partition(":")[0], "empty"}


def test_closed_days_do_not_make_rows_stale(database: Validated) -> None:
    database.sql(
        "DELETE FROM order_records WHERE order_time > now() - interval '60 hours'",
        "UPDATE trade_calendar SET is_open = false",
    )
    assert [line for line in told(database, Level.QUICK) if line.startswith("freshness")] == []


def test_a_rule_that_the_server_refuses_is_told_and_the_others_are_asked(database: Validated) -> None:
    database.sql("ALTER TABLE transaction_records RENAME COLUMN side TO way")
    found = told(database)
    assert "empty: daily_kline: rows: expected some, found none" not in found
    assert any('no answer: ' in line and "fills-of-their-order" in line for line in found)
    assert not any("ohlc-sane" in line for line in found)
    database.sql("ALTER TABLE transaction_records RENAME COLUMN way TO side")


def test_a_table_that_nobody_declared_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no table nobodys in PostgreSQL"):
        chosen(load_tables(), ("nobodys",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"may_be_empty": ["nobodys"]},
        {"tables": {"daily_kline": {"complete": ["nobodys"]}}},
        {"tables": {"tick_data": {"complete": []}}},
        {"rules": {"r": {"table": "nobodys", "says": "x", "every": "true"}}},
    ],
)
def test_a_catalogue_that_names_what_is_not_there_is_bad_input(wrong: dict[str, object]) -> None:
    quality = Quality.model_validate({"version": 1, **wrong})
    with pytest.raises(BadInput, match=r"quality.yaml: .* names .*, but "):
        quality.fits(load_tables())


class TestWhatNobodyKnows:
    """An age that cannot be told, a clock that is wrong, a value that is none: each is a difference."""

    def test_an_age_that_the_server_does_not_tell_is_no_fresh_row(self, database: Validated) -> None:
        database.sql("ALTER TABLE trade_calendar RENAME TO days_of_trade")
        found = [line for line in told(database, Level.QUICK) if line.startswith("freshness")]
        database.sql("ALTER TABLE days_of_trade RENAME TO trade_calendar")
        assert len(found) == 2
        assert all("expected a moment, found" in line and "trade_calendar" in line for line in found)

    def test_a_catalogue_without_a_calendar_asks_for_no_table_of_it(self, database: Validated) -> None:
        quality = load_quality().model_copy(update={"calendar": None})
        asked = rules.questions(load_tables(), quality, ["order_records"], False)
        said = yielding.ask(database.asked, asked, 60)
        assert all(one.differences == () for one in rules.judge(load_tables(), quality, asked, said))
        assert "trade_calendar" not in asked["age order_records"]

    def test_a_row_that_a_clock_ahead_has_written_hides_no_stale_ones(self, database: Validated) -> None:
        database.sql(
            "DELETE FROM order_records WHERE order_time > now() - interval '60 hours'",
            "UPDATE order_records SET order_time = now() + interval '30 days' WHERE event_id = (SELECT min(event_id) "
            "FROM order_records)",
        )
        [line] = [line for line in told(database, Level.QUICK) if line.startswith("freshness")]
        assert "newest order_time: expected no later than now" in line
        assert line.endswith("720.0 h ahead of the server's clock")

    def test_a_moment_without_end_is_no_newest_row_and_no_moment(self, database: Validated) -> None:
        database.sql(
            "DELETE FROM order_records WHERE order_time > now() - interval '60 hours'",
            "UPDATE trade_calendar SET is_open = true",
            "UPDATE order_records SET order_time = 'infinity' "
            "WHERE event_id = (SELECT min(event_id) FROM order_records)",
        )
        found = told(database)
        assert any(line.startswith("freshness: order_records: newest order_time: expected 24 h old") for line in found)
        assert "rule: order_records: order_time: expected a moment that ends, found 1 rows with something else" in found

    @pytest.mark.parametrize(
        ("damage", "wanted"),
        [
            ("UPDATE order_records SET price = 'NaN' WHERE event_id = 17", "rule: order_records: NaN in price"),
            ("UPDATE transaction_records SET commission = 'NaN' WHERE event_id = 1000017", "rule: transaction_records: "
             "NaN in price, amount, commission, stamp_duty"),
            ("UPDATE position_records SET unrealized_pnl = 'NaN'", "completeness: position_records: unrealized_pnl"),
        ],
    )
    def test_nan_is_no_value(self, database: Validated, damage: str, wanted: str) -> None:
        database.sql(damage)
        assert [line for line in told(database) if line.startswith(wanted)], told(database)

    def test_a_column_that_keeps_nan_may_have_it_and_one_with_values_no_other(self, database: Validated) -> None:
        known = load_tables()
        table = known["technical_indicators"]
        changes = {"indicator_value": {"nan": Nan.KEEP}, "indicator_name": {"values": ("MA5", "MA10")}}
        columns = tuple(one.model_copy(update=changes.get(one.name, {})) for one in table.columns)
        mine = known.model_copy(update={"tables": {
            **known.tables, table.name: table.model_copy(update={"columns": columns}),
        }})  # fmt: skip
        database.sql(
            "INSERT INTO technical_indicators (event_id, symbol, calc_date, indicator_name, indicator_value) "
            "VALUES (1, 'X', current_date, 'MA5', 'NaN'), (2, 'X', current_date, 'MA7', 1)"
        )
        asked = rules.questions(mine, load_quality(), [table.name], True)
        said = yielding.ask(database.asked, asked, 60)
        found = [str(one) for check in rules.judge(mine, load_quality(), asked, said) for one in check.differences]
        assert found == [
            "rule: technical_indicators: indicator_name: expected one of MA5, MA10, found 1 rows with something else"
        ]
        found = [line for line in told(database) if "technical_indicators" in line]
        assert any("completeness: technical_indicators: indicator_value" in line for line in found)
