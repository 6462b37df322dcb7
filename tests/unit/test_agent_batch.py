"""COPY text: what goes in comes out, whatever the text holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base.config import Column, Table
from agents.base.errors import BadRow
from agents.feed.market import fitted
from agents.writing.batch import copy_text, encode
from tests.unit.agent_fixtures import order, orders, tables

UNESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r", "\\b": "\b", "\\f": "\f", "\\v": "\v"}
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def decoded(field: str) -> str | None:
    """How PostgreSQL's COPY reads one field (its documentation, section 'Text Format')."""
    if field == "\\N":
        return None
    result, position = "", 0
    while position < len(field):
        pair = field[position : position + 2]
        width = 2 if pair in UNESCAPED else 1
        result += UNESCAPED.get(pair, field[position])
        position += width
    return result


@given(st.lists(st.lists(st.none() | STORABLE, min_size=2, max_size=4), min_size=1, max_size=5))
def test_any_text_survives_the_round_trip(rows: list[list[str | None]]) -> None:
    lines = copy_text(rows).split("\n")
    assert lines.pop() == ""
    assert [[decoded(field) for field in line.split("\t")] for line in lines] == rows


def test_each_type_has_the_form_that_postgresql_reads() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    row = [
        1,
        True,
        False,
        None,
        1.5,
        Decimal("1.10"),
        date(2026, 1, 2),
        moment,
        {"因子": "a\tb"},
        "\\N",
        "中文",
    ]
    expected = (
        "1\tt\tf\t\\N\t1.5\t1.10\t2026-01-02\t"
        '2026-01-02T03:04:05.000006+00:00\t{"因子":"a\\\\tb"}\t\\\\N\t中文\n'
    )
    assert copy_text([row]) == expected


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_no_database_can_hold_is_refused_before_it_is_acknowledged(text: str) -> None:
    with pytest.raises(BadRow):
        copy_text([[1, text]])


def test_a_row_without_its_event_id_or_with_a_value_too_few_is_refused(tmp_path: Path) -> None:
    known = tables(tmp_path)
    for rows in ([(None, *order(1)[1:])], [order(1)[:-1]], []):
        with pytest.raises(BadRow):
            encode(known, {"order_records": rows})


def test_a_batch_knows_its_range_of_event_ids(tmp_path: Path) -> None:
    (part,) = orders(tables(tmp_path), 11, 15).parts
    assert (part.table, part.first, part.last, part.n) == ("order_records", 11, 15, 5)


@given(st.lists(STORABLE, min_size=2, max_size=9))
def test_halves_hold_the_same_rows_in_the_same_order(remarks: list[str]) -> None:
    known = KNOWN
    (part,) = encode(known, {"order_records": [order(k, remark) for k, remark in enumerate(remarks)]}).parts
    left, right = part.halves()
    assert left.text + right.text == part.text
    assert left.n + right.n == part.n
    assert (left.first, right.last, left.last + 1) == (part.first, part.last, right.first)


@pytest.fixture(scope="module", autouse=True)
def _known(tmp_path_factory: pytest.TempPathFactory) -> None:
    KNOWN.update(tables(tmp_path_factory.mktemp("tables")))


KNOWN = {}


def test_a_feed_fills_the_optional_columns_that_a_catalogue_has_more_and_no_others(tmp_path: Path) -> None:
    known = tables(tmp_path)
    before = known["order_records"]
    more = replace(before, columns=(*before.columns, Column("filled", "bigint", True), Column("note", "text", True)))
    (part,) = encode({"order_records": more}, fitted({"order_records": more}, {"order_records": [order(1)]})).parts
    assert part.text.endswith("\\N\t\\N\t\\N\n")
    needed = replace(before, columns=(*before.columns, Column("filled", "bigint", False)))
    with pytest.raises(BadRow):
        encode({"order_records": needed}, fitted({"order_records": needed}, {"order_records": [order(1)]}))
    tags = (Column("symbol", "binary(20)", False),)
    bars = Table("t", "d", "c", (*before.columns[:1], Column("open", "double", True)), ("event_id",), "ignore", tags)
    assert fitted({"t": bars}, {"t": [(7, "600000")]}) == {"t": [(7, None, "600000")]}
