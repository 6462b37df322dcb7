"""DataFrames of pandas and polars and Arrow tables, where their libraries are installed (they are none of ours)."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import BadRow
from tests.unit import client_kit as kit
from tests.unit.client_kit import NOW, client, lines, order

LIBRARIES = ("pandas", "polars", "pyarrow")


def frame(library: str, columns: dict[str, Any]) -> Any:
    module = kit.library(library)
    return module.table(columns) if library == "pyarrow" else module.DataFrame(columns)


def orders(**changes: Any) -> dict[str, Any]:
    rows = [order(order_id="A"), order(order_id="B", price=None)]
    return {**{name: [row[name] for row in rows] for name in rows[0]}, **changes}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frame_is_the_same_rows_as_dicts(tmp_path: Path, library: str) -> None:
    columns = orders(remark=["手动\t撤单", None])
    with client(tmp_path) as one:
        ack = one.save("order_records", frame(library, columns))
        one.save("order_records", [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    assert (ack.taken, ack.refused) == ((0, 1), ())
    found = [{**line, "event_id": ""} for line in lines(tmp_path)]
    assert found[:2] == found[2:]
    assert found[1]["price"] == "\\N"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_bad_row_of_a_frame_is_told_by_its_number(tmp_path: Path, library: str) -> None:
    with client(tmp_path) as one:
        ack = one.save("order_records", frame(library, orders(side=["BUY", "BUYER"])))
    assert (ack.taken, [str(one) for one in ack.refused]) == ((0,), ["row 1: side has 5 characters, 4 are the most"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_dates_decimals_and_gaps_come_through(tmp_path: Path, library: str) -> None:
    columns = {
        "symbol": ["A", "B"], "trade_date": [date(2026, 11, 20), date(2026, 11, 21)],
        "open": [Decimal("1.5"), Decimal("2.5")],
        "high": [float("nan"), 1.0], "low": [1.0, 2.0], "close": [1, 2], "volume": [1, 2], "amount": [None, 2.5],
    }  # fmt: skip
    with client(tmp_path) as one:
        ack = one.save("daily_kline", frame(library, columns))
    assert ack.taken == (1,)
    assert str(ack.refused[0]).startswith("row 0: high is ")  # a hole in pandas, NaN elsewhere: neither may be there
    (row,) = lines(tmp_path)
    assert (row["trade_date"], row["open"], row["close"], row["amount"]) == ("2026-11-21", "2.5000", "2", "2.5")


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_unknown_column_and_an_empty_frame_are_one_sentence(tmp_path: Path, library: str) -> None:
    with client(tmp_path) as one:
        with pytest.raises(BadRow, match=r"column colour is no column of order_records") as error:
            one.save("order_records", frame(library, orders(colour=["red", "blue"])))
        assert "remark" in error.value.hint
        with pytest.raises(BadRow, match="no rows"):
            one.save("order_records", frame(library, {name: [] for name in orders()}))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pandas = kit.library("pandas")
    pyarrow = kit.library("pyarrow")
    twice = pandas.DataFrame([[1, 2]], columns=["price", "price"])
    with client(tmp_path) as one:
        for rows in (twice, pyarrow.table([[1], [2]], names=["price", "price"])):
            with pytest.raises(BadRow, match="price twice"):
                one.save("order_records", rows)


def test_an_index_with_a_name_is_a_column_and_one_that_counts_is_none(tmp_path: Path) -> None:
    pandas = kit.library("pandas")
    whole = pandas.DataFrame(orders())
    with client(tmp_path) as one:
        assert one.save("order_records", whole.set_index("order_id")).taken == (0, 1)
        assert one.save("order_records", whole.set_index(["order_id", "symbol"])).taken == (0, 1)
        assert one.save("order_records", whole[whole.order_id == "B"]).taken == (0,)
        assert one.save("order_records", whole.set_index("order_id", drop=False)).taken == (0, 1)
        with pytest.raises(BadRow, match="index holds values and has no name") as error:
            one.save("order_records", whole.set_index(pandas.DatetimeIndex([NOW, NOW])))
        assert "reset_index" in error.value.hint
        with pytest.raises(BadRow, match="colour is no column"):
            one.save("order_records", whole.rename_axis("colour"))
        with pytest.raises(BadRow, match="Series"):
            one.save("order_records", whole.iloc[0])
    assert [row["order_id"] for row in lines(tmp_path)] == ["A", "B"] * 2 + ["B", "A", "B"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_nanoseconds_reach_tdengine(tmp_path: Path, library: str) -> None:
    """A datetime has no room for them; a frame does."""
    from agents.base.config import Column, Table
    from agents.client.prepare import Checker

    table = Table(
        "t", "d", "c", (Column("ts", "timestamp", False, zone="Asia/Shanghai"), Column("event_id", "bigint", False)),
        ("ts", "event_id"), "ignore",
    )  # fmt: skip
    ns = 1_764_211_845_123_456_789
    if library == "pandas":
        pandas = kit.library("pandas")
        aware = pandas.DataFrame({"ts": pandas.to_datetime([ns], utc=True)})
        naive = pandas.DataFrame({"ts": pandas.to_datetime([ns + 8 * 3600 * 10**9])})
    elif library == "polars":
        polars = kit.library("polars")
        aware = polars.DataFrame({"ts": polars.Series([ns]).cast(polars.Datetime("ns", "UTC"))})
        naive = polars.DataFrame({"ts": polars.Series([ns + 8 * 3600 * 10**9]).cast(polars.Datetime("ns"))})
    else:
        pyarrow = kit.library("pyarrow")
        aware = pyarrow.table({"ts": pyarrow.array([ns]).cast(pyarrow.timestamp("ns", tz="UTC"))})
        naive = pyarrow.table({"ts": pyarrow.array([ns + 8 * 3600 * 10**9]).cast(pyarrow.timestamp("ns"))})
    for rows in (aware, naive):
        prepared = Checker(table, True).prepare(rows, lambda sound: range(1, len(sound) + 1))
        assert prepared.pieces[0].batch.parts[0].text == f"{ns}\t1\n"


def test_gaps_of_pandas_are_missing_values_whatever_their_type(tmp_path: Path) -> None:
    pandas = kit.library("pandas")
    rows = pandas.DataFrame(
        {
            "source_name": ["a", "b"], "source_type": pandas.Categorical(["x", "y"]), "status": ["UP", "UP"],
            "rate_limit_per_min": pandas.array([1, None], dtype="Int64"),
            "last_success_at": [pandas.Timestamp(NOW), pandas.NaT],
        }
    )  # fmt: skip
    with client(tmp_path) as one:
        assert one.save("data_sources", rows).complete
        holes = pandas.DataFrame({"source_name": ["c"], "source_type": ["x"], "status": [None]})
        assert str(one.save("data_sources", holes).refused[0]) == "row 0: status is missing"
        ints = pandas.DataFrame({"source_name": ["d", "e"], "source_type": ["x", "x"], "status": ["UP", "UP"],
                                 "rate_limit_per_min": [5, None]})  # fmt: skip
        assert one.save("data_sources", ints).complete
    found = lines(tmp_path)
    assert [row["rate_limit_per_min"] for row in found] == ["1", "\\N", "5", "\\N"]
    assert found[0]["last_success_at"] == datetime(2026, 11, 20, 2, 30, tzinfo=timezone.utc).isoformat()
    assert found[1]["last_success_at"] == "\\N"


def test_a_frame_that_is_not_computed_yet_is_refused(tmp_path: Path) -> None:
    polars = kit.library("polars")
    with client(tmp_path) as one, pytest.raises(BadRow, match="LazyFrame"):
        one.save("order_records", polars.DataFrame(orders()).lazy())


def test_a_time_that_its_zone_has_twice_and_a_signalling_nan_are_read_from_a_frame(tmp_path: Path) -> None:
    pandas = kit.library("pandas")
    twice = pandas.Timestamp("2026-11-01 05:30", tz="UTC").tz_convert("America/New_York")
    columns = orders(order_time=[twice, NOW], price=pandas.Series([Decimal("sNaN"), Decimal(1)], dtype=object))
    with client(tmp_path) as one:
        assert one.save("order_records", pandas.DataFrame(columns)).complete
    found = lines(tmp_path)
    assert [(line["order_time"], line["price"]) for line in found] == [
        ("2026-11-01T01:30:00-04:00", "\\N"), (NOW.isoformat(), "1.0000"),
    ]
