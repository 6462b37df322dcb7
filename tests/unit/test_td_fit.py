"""Rows of a table whose columns changed since: what fits goes, what does not is named."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tdengine.backup.fit import judge, tags

TS = ["ts", "TIMESTAMP", True]


def shape(*columns: list[Any], tags: tuple[list[str], ...] = (["symbol", "VARCHAR(20)"],)) -> dict[str, Any]:
    return {"columns": [list(one) for one in columns], "tags": [list(one) for one in tags]}


PRICE = ["price", "DOUBLE", False]
WAS = shape(TS, PRICE, ["note", "VARCHAR(10)", False])


def test_a_table_that_is_as_it_was_takes_a_block_as_it_is() -> None:
    assert judge(WAS, WAS).exact
    assert judge(WAS, {**WAS, "options": {"comment": "another"}}).exact


def test_a_wider_text_and_a_new_column_lose_nothing() -> None:
    found = judge(WAS, shape(TS, ["extra", "INT", False], ["note", "VARCHAR(30)", False], ["price", "DOUBLE", False]))
    assert (found.exact, found.lost, found.places) == (False, (), (0, 1, 2))
    assert found.names == ("ts", "price", "note") and found.keys == 1


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        (shape(TS, ["note", "VARCHAR(10)", False]), "price is not there any more"),
        (shape(TS, ["price", "FLOAT", False], ["note", "VARCHAR(10)", False]), "price is FLOAT now and was DOUBLE"),
        (shape(TS, PRICE, ["note", "VARCHAR(5)", False]), "note is VARCHAR(5) now and was VARCHAR(10)"),
        (shape(TS, PRICE, ["note", "NCHAR(10)", False]), "note is NCHAR(10) now and was VARCHAR(10)"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_named(now: dict[str, Any], lost: str) -> None:
    assert judge(WAS, now).lost == (lost,)


def test_a_key_of_another_name_is_the_same_key_and_one_of_another_type_is_none() -> None:
    assert judge(WAS, shape(["moment", "TIMESTAMP", True], *WAS["columns"][1:])).names == ("moment", "price", "note")
    keyed = shape(TS, ["id", "BIGINT", True])
    assert judge(keyed, shape(TS, ["number", "BIGINT", True])).names == ("ts", "number")
    assert "its key is TIMESTAMP and INT now" in judge(keyed, shape(TS, ["id", "INT", True])).why_not
    assert "its key is TIMESTAMP now" in judge(keyed, shape(TS, ["id", "BIGINT", False])).why_not
    assert "a plain table now and was a supertable" in judge(keyed, shape(*keyed["columns"], tags=())).why_not


def test_decimals_are_the_same_by_precision_and_scale() -> None:
    was = shape(TS, ["d", "DECIMAL(18, 4)", False])
    assert judge(was, was).exact
    found = judge(was, shape(TS, ["d", "DECIMAL(18, 5)", False]))
    assert found.lost == ("d is DECIMAL(18, 5) now and was DECIMAL(18, 4)",)


def test_tags_that_there_still_are_keep_their_values() -> None:
    now = shape(TS, tags=(["colour", "INT"], ["symbol", "VARCHAR(30)"]))
    assert tags(WAS, now) == [(0, "symbol", "VARCHAR(30)")]
