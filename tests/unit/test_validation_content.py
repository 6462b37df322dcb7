"""Every kind of damage to a copy is found, in its table, row and column, and nothing else is blamed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from inventories.catalog import load_tables
from runbooks.validation import content, hashing, yielding
from runbooks.validation import copies as choosing
from runbooks.validation.content import Copies, compare
from runbooks.validation.difference import Looked
from runbooks.validation.snapshot import NAME, QUESTION, snapshot_of
from tests.unit.postgres_server import DATABASE, Server
from tests.unit.validation_kit import LIVE, Validated

COPY = "validated_copy"
NAMES = ("order_records", "transaction_records", "position_records", "daily_kline", "strategy_parameters")


@pytest.fixture(scope="module")
def filled(copying_server: Server) -> Iterator[Validated]:
    remove = [f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (COPY, LIVE)]
    copying_server.sql(*remove, f"CREATE DATABASE {LIVE} TEMPLATE {DATABASE}", database="postgres")
    made = Validated(copying_server)
    made.fill(2000)
    made.sql(
        "INSERT INTO strategy_parameters SELECT i, 's' || i, 1, '{\"a\": 1, \"b\": [1.0, 2]}', true, now() "
        "FROM generate_series(1, 50) i"
    )
    yield made
    copying_server.sql(*remove, database="postgres")


@pytest.fixture
def copy(filled: Validated) -> Iterator[Validated]:
    remove = f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)"
    filled.server.sql(remove, f"CREATE DATABASE {COPY} TEMPLATE {LIVE}", database="postgres")
    yield replace(filled, database=COPY)
    filled.server.sql(remove, database="postgres")


def compared(base: Validated, other: Validated, every_row: bool = False, follows: bool = True) -> Looked:
    pair = Copies(base.asked, other.asked, follows, 60, 5, every_row)
    tables, lacks = choosing.hashed(load_tables(), NAMES, pair.base, pair.other)
    found = compare(pair, tables.values(), lambda _: None)
    return replace(found, differences=(*lacks, *found.differences))


@pytest.mark.parametrize("every_row", [False, True])
def test_equal_copies_differ_in_nothing(filled: Validated, copy: Validated, every_row: bool) -> None:
    found = compared(filled, copy, every_row)
    assert (found.differences, found.undecided) == ((), "")
    assert found.number == 2000 + 1500 + 200 + 200 + 50


ORDER = "row event_id=17, order_time="
DAMAGES = {
    "altered": ("UPDATE order_records SET quantity = quantity + 1 WHERE event_id = 17", "order_records",
                {"row event_id=17: quantity"}),
    "sign": ("UPDATE order_records SET price = -price WHERE event_id = 17", "order_records",
             {"row event_id=17: price"}),
    "by 2^32": ("UPDATE daily_kline SET volume = volume + 4294967296 WHERE event_id = 3000017", "daily_kline",
                {"row symbol=G17.SIM: volume"}),
    "null for a value": ("UPDATE order_records SET strategy_id = NULL WHERE event_id = 17", "order_records",
                         {"row event_id=17: strategy_id"}),
    "empty for null": ("UPDATE order_records SET remark = '' WHERE event_id = 17", "order_records",
                       {"row event_id=17: remark"}),
    "removed": ("DELETE FROM order_records WHERE event_id = 17", "order_records", {"row event_id=17"}),
    "added": ("INSERT INTO order_records SELECT 777777, order_id, order_time, account_id, strategy_id, symbol, side, "
              "order_type, price, quantity, status FROM order_records WHERE event_id = 17", "order_records",
              {"row event_id=777777"}),
    "swapped between rows": (
        "UPDATE order_records o SET quantity = p.quantity FROM order_records p "
        "WHERE (o.event_id, p.event_id) IN ((17, 22), (22, 17))", "order_records",
        {"row event_id=17: quantity", "row event_id=22: quantity"}),
    "swapped within a row": ("UPDATE daily_kline SET open = low, low = open WHERE event_id = 3000017", "daily_kline",
                             {"row symbol=G17.SIM: open", "row symbol=G17.SIM: low"}),
    "moved by a millisecond": (
        "UPDATE order_records SET order_time = order_time + interval '1 millisecond' WHERE event_id = 17",
        "order_records", {"row event_id=17"}),
    "column shifted by a constant": ("UPDATE position_records SET cost_price = cost_price + 0.0001 "
                                     "WHERE event_id < 2000004", "position_records",
                                     {f"row account_id=B{i}: cost_price" for i in (1, 2, 3)}),
    "a day missing": ("DELETE FROM daily_kline WHERE event_id BETWEEN 3000040 AND 3000042", "daily_kline",
                      {f"row symbol=G{i}.SIM" for i in (0, 1, 2)}),
    "json value": ("UPDATE strategy_parameters SET parameters = '{\"a\": 1, \"b\": [1.0, 3]}' WHERE event_id = 17",
                   "strategy_parameters", {"row strategy_id=s17: parameters"}),
    "scale within json": ("UPDATE strategy_parameters SET parameters = '{\"a\": 1, \"b\": [1.00, 2]}' "
                          "WHERE event_id = 17", "strategy_parameters", {"row strategy_id=s17: parameters"}),
}  # fmt: skip


def short(what: str) -> str:
    """The first part of the key, and the column."""
    row, _, column = what.partition(": ")
    return row.partition(",")[0] + (f": {column}" if column else "")


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_located_and_nothing_else_is_blamed(filled: Validated, copy: Validated, damage: str) -> None:
    statement, table, whats = DAMAGES[damage]
    copy.sql(statement)
    found = compared(filled, copy)
    assert {one.table for one in found.differences} == {table}
    assert {short(one.what) for one in found.differences} == whats, found.differences
    assert found.undecided == ""


@pytest.mark.parametrize("runs", [0, 1, 16])
@pytest.mark.parametrize("table", ["order_records", "daily_kline", "strategy_parameters"])
def test_days_and_key_ranges_hold_the_rows_that_their_numbers_say(
    filled: Validated, table: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever days are asked for: one, some that follow one another, and some that do not."""
    monkeypatch.setattr(hashing, "MOST_RUNS", runs)
    database = filled.asked
    of = choosing.hashed(load_tables(), NAMES, database)[0][table]
    days = {int(row["bucket"]): int(row["n"]) for row in database.query(of.buckets())}
    for some in (list(days)[:1], list(days)[:2], list(days)[::2], list(days)):
        parts = database.query(of.ranges(some, 4))
        assert {int(row["bucket"]) for row in parts} == set(some)
        assert sum(int(row["n"]) for row in parts) == sum(days[day] for day in some)
        asked = {(int(row["bucket"]), int(row["part"])): int(row["n"]) for row in parts[::2]}
        assert len(database.query(of.rows(asked, 4))) == sum(asked.values())


def test_an_altered_value_is_told_with_the_old_one_and_the_new_one(filled: Validated, copy: Validated) -> None:
    copy.sql("UPDATE order_records SET price = 99 WHERE event_id = 17")
    told = [str(one) for one in compared(filled, copy).differences]
    assert len(told) == 1
    assert told[0].startswith("content: order_records: row event_id=17, order_time=")
    assert told[0].endswith(": price: expected 10.1700, found 99.0000")


def test_a_row_that_is_there_twice_is_told(filled: Validated, copy: Validated) -> None:
    copy.sql(
        "ALTER TABLE position_records DROP CONSTRAINT position_records_pkey",
        "INSERT INTO position_records SELECT * FROM position_records WHERE event_id = 2000017",
    )
    [found] = compared(filled, copy).differences
    assert short(found.what) == "row account_id=B17"
    assert (found.expected, found.found) == ("there 1 times", "there 2 times")


def test_equal_values_that_are_written_otherwise_are_equal(filled: Validated, copy: Validated) -> None:
    """What counts as the same value: numbers of a column's own scale, json whatever the order of its keys."""
    copy.sql(
        "UPDATE strategy_parameters SET parameters = '{\"b\": [1.0, 2], \"a\": 1}'",
        "UPDATE order_records SET price = price + 0.000, order_time = order_time AT TIME ZONE 'UTC' AT TIME ZONE 'UTC'",
        "SET datestyle = 'German'",
    )
    assert compared(filled, copy).differences == ()


def test_many_rows_are_told_in_part_and_the_rest_by_number(filled: Validated, copy: Validated) -> None:
    copy.sql("UPDATE order_records SET quantity = quantity + 1")
    found = compared(filled, copy).differences
    assert {one.table for one in found} == {"order_records"}
    assert found[-1].what == "further rows"
    assert found[-1].found.startswith("1,900 rows more")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DROP TABLE daily_kline", ("daily_kline", "table", "there", "missing")),
        ("ALTER TABLE daily_kline DROP COLUMN amount", ("daily_kline", "column amount", "numeric(24,4)", "missing")),
    ],
)
def test_what_only_one_side_has_is_told(
    filled: Validated, copy: Validated, damage: str, told: tuple[str, ...]
) -> None:
    copy.sql(damage)
    [one] = compared(filled, copy).differences
    assert (one.table, one.what, one.expected, one.found) == told


def test_production_may_have_gone_on_from_a_restored_copy_but_lost_nothing(filled: Validated, copy: Validated) -> None:
    """The copy is the restored one here: rows that production wrote later supersede it, a deleted one is missed."""
    live = filled
    snapshot = live.sql("SELECT txid_current()")  # what production writes now was begun after the copy
    assert snapshot
    assert compared(copy, live, follows=False).differences == ()


def test_a_value_that_was_altered_since_a_restored_copy_is_no_good_news(
    filled: Validated, copy: Validated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table that only grows it is wrong; where rows are corrected nobody can tell by a copy of before."""
    then = snapshot_of(yielding.ask(filled.asked, {NAME: QUESTION}, 60))
    # Both are databases of one server here: what the base knew of its transactions is what it knew then.
    bases = itertools.cycle((True, False))
    monkeypatch.setattr(content, "snapshot_of", lambda said: then if next(bases) else snapshot_of(said))
    copy.sql(
        "UPDATE transaction_records SET commission = commission + 1 WHERE order_id = 'O17'",
        "UPDATE position_records SET quantity = quantity + 1 WHERE event_id < 2000004",
        "UPDATE position_records SET quantity = quantity WHERE event_id = 2000009",
    )
    pair = Copies(filled.asked, copy.asked, False, 60, growing=frozenset({"order_records", "transaction_records"}))
    tables, _ = choosing.hashed(load_tables(), NAMES, pair.base, pair.other)
    found = compare(pair, tables.values(), lambda _: None)
    [one] = found.differences
    assert (one.table, short(one.what), one.expected, one.found) == (
        "transaction_records", "row event_id=1000017: commission", "5.0000", "6.0000",
    )  # fmt: skip
    assert found.unknown == "3 rows of position_records were written again since, with other values"


def test_a_row_that_an_index_does_not_have_is_no_row_that_moved(filled: Validated, copy: Validated) -> None:
    """Days are hashed by reading the table, and a few of them by an index: it may lack what is gone."""
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'ix_daily_kline_trade_date'::regclass"
    base = replace(copy, database=f"{COPY}_of_then")
    copy.sql(
        ready.format("false"),
        "INSERT INTO daily_kline (event_id, symbol, trade_date, open, high, low, close, volume, amount, pct_chg, "
        "adj_factor) SELECT 777, 'HIDDEN', trade_date, open, high, low, close, volume, amount, pct_chg, adj_factor "
        "FROM daily_kline WHERE event_id = 3000017",
        ready.format("true"),
    )
    try:
        copy.server.sql(f"CREATE DATABASE {base.database} TEMPLATE {COPY}", database="postgres")
        copy.sql("DELETE FROM daily_kline WHERE event_id = 777")
        for one in (base, copy):  # a page costs nothing, so that all rows are read in order, and few by the index
            one.sql(*(f"ALTER DATABASE {one.database} SET {kind}_page_cost = 0.01" for kind in ("seq", "random")))
        [found] = compared(base, copy, follows=False).differences
    finally:
        copy.server.sql(f"DROP DATABASE IF EXISTS {base.database} WITH (FORCE)", database="postgres")
    assert (found.table, found.what[:10]) == ("daily_kline", "rows of 20")
    assert "an index may lack rows" in found.found
