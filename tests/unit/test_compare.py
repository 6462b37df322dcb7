from __future__ import annotations

import json
import sqlite3

import pytest

from drills.judging.compare import FoundIds, compare, parse_found, ranges_sql, with_phantom_row
from drills.judging.fate import Fate
from drills.measuring.ranges import RangeSet
from inventories.errors import BadInput, VerificationFailed

RUN = 1790000000


def found(*ranges: tuple[int, int], duplicated: int = 0) -> FoundIds:
    ids = RangeSet(ranges)
    return FoundIds(ids, duplicated, len(ids) + duplicated)


def test_all_there_once_is_a_clean_slate() -> None:
    result = compare(
        Fate({"a": RangeSet([(1, 10)]), "b": RangeSet([(11, 12)])}),
        {"a": found((1, 10)), "b": found((11, 12))}.__getitem__,
    )
    assert (result.acked, result.lost, result.duplicated, result.unacknowledged_extra) == (12, 0, 0, 0)
    assert [table.table for table in result.tables] == ["a", "b"]


def test_lost_duplicated_and_extra_are_counted_by_table() -> None:
    result = compare(
        Fate({"a": RangeSet([(1, 10), (21, 30)]), "b": RangeSet([(11, 20)])}),
        {"a": found((1, 4), (7, 10), (21, 29)), "b": found((11, 20), (31, 33), duplicated=2)}.__getitem__,
    )
    a, b = result.tables
    assert (a.lost, a.lost_ids.sample(), a.extra) == (3, "5-6, 30", 0)
    assert (b.lost, b.duplicated, b.extra) == (0, 2, 3)
    assert (result.acked, result.lost, result.duplicated, result.unacknowledged_extra) == (30, 3, 2, 3)


def test_nothing_acknowledged_proves_nothing() -> None:
    for nothing in ({}, {"a": RangeSet()}):
        with pytest.raises(VerificationFailed, match="Nothing was acknowledged, so nothing was proven"):
            compare(Fate(nothing), lambda _: found((1, 2)))


def test_in_a_table_of_newest_rows_an_overwritten_row_is_not_lost() -> None:
    acked = Fate({"positions": RangeSet([(1, 10)])})
    overwritten = compare(acked, lambda _: found((9, 10)), newest={"positions"}).tables[0]
    assert (overwritten.lost, overwritten.superseded) == (0, 8)
    cut_off = compare(acked, lambda _: found((3, 8)), newest={"positions"}).tables[0]
    assert (cut_off.lost, cut_off.lost_ids.sample(), cut_off.superseded) == (2, "9-10", 2)
    assert compare(acked, lambda _: FoundIds(RangeSet()), newest={"positions"}).lost == 10


def test_the_phantom_row_of_the_negative_twin_is_the_only_loss() -> None:
    acked = {"a": RangeSet([(1, 10)]), "b": RangeSet([(11, 12)])}
    forged, name = with_phantom_row(Fate(acked))
    result = compare(forged, lambda table: FoundIds(acked[table], 0, len(acked[table])))
    assert (name, result.lost, len(acked["a"])) == ("a 4294967295", 1, 10)
    with pytest.raises(VerificationFailed):
        with_phantom_row(Fate({}))


@pytest.mark.parametrize("name", ["", "Orders", "a b", "a;drop table b", 'a"', "a.b.c", "1a", "a\n"])
def test_only_names_of_the_catalogue_reach_the_query(name: str) -> None:
    with pytest.raises(BadInput):
        ranges_sql(name, RUN)


@pytest.mark.parametrize("run", [0, -1, 1 << 31])
def test_only_a_run_reaches_the_query(run: int) -> None:
    with pytest.raises(BadInput):
        ranges_sql("orders", run)


def test_the_query_condenses_one_run_to_ranges() -> None:
    """In SQLite, which speaks the same window functions; only the JSON functions have other names."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE orders (event_id bigint)")
    sequences = [1, 2, 3, 7, 8, 8, 8, 12]
    ids = [(RUN << 32 | seq,) for seq in sequences] + [((RUN - 1) << 32 | 4,), ((RUN + 1) << 32 | 5,)]
    database.executemany("INSERT INTO orders VALUES (?)", ids)
    query = (
        ranges_sql("orders", RUN)
        .replace("json_build_object", "json_object")
        .replace("json_build_array", "json_array")
    )
    (cell,) = database.execute(
        query.replace("json_agg", "json_group_array").replace("'[]'", "json('[]')")
    ).fetchone()
    result = parse_found("orders", cell)
    assert list(result.ids.ranges()) == [(1, 3), (7, 8), (12, 12)]
    assert (result.duplicated, result.rows) == (1, 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        json.dumps({"rows": 3, "distinct": 2, "duplicated": 0, "ranges": [[1, 3]]}),
        json.dumps({"rows": 3, "distinct": 3, "duplicated": 1, "ranges": [[1, 3]]}),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(VerificationFailed, match="The ids of orders"):
        parse_found("orders", text)
