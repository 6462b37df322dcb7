"""Small blocks in one statement: only what it says exactly, never more than a server takes, and no block is lost."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from agents.tdengine.backup.block import Block, Column
from agents.tdengine.backup.together import FEW_ROWS, Together, takes
from agents.tdengine.sql import MAX_BYTES
from tests.unit.test_td_literals import fixed, text


def one(column: Column) -> Block:
    return Block(len(column.nulls), (column,))


def doubles(*values: float) -> Block:
    return one(fixed(7, 8, *(struct.pack("<d", value) for value in values)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0])
def test_numbers_that_have_no_literal_go_as_a_block(value: float) -> None:
    assert takes(doubles(0.0, 1.5, -2.5))
    assert not takes(doubles(1.5, value))


def test_texts_that_a_statement_may_change_go_as_a_block() -> None:
    assert takes(one(text(8, "O'Hara \\ 中".encode(), None, b"")))
    assert takes(one(text(10, "中".encode("utf-32-le"))))
    for odd in (b"\xff\xfe", b"a\0b", b"a\nb"):
        assert not takes(one(text(8, b"fine", odd)))
    assert not takes(one(text(16, b"\0\1"))), "bytes of a VARBINARY"
    assert not takes(one(fixed(21, 8 << 24 | 18 << 8 | 4, struct.pack("<q", 5)))), "a DECIMAL"


def test_a_missing_value_is_exact_whatever_lies_under_it() -> None:
    held = np.array([float("nan"), 1.0], "<f8").view(np.uint8).reshape(2, 8)
    assert takes(one(Column(7, 8, np.array([True, False]), held)))


def test_long_blocks_go_as_they_are() -> None:
    assert takes(doubles(*[1.5] * FEW_ROWS))
    assert not takes(doubles(*[1.5] * (FEW_ROWS + 1)))


@pytest.mark.parametrize(("blocks", "length"), [(2500, 10), (40, 60_000)])
def test_statements_stay_below_what_a_server_takes_and_every_block_is_in_one(blocks: int, length: int) -> None:
    together, found = Together[int]("d`b"), list[tuple[str, list[int]]]()
    for n in range(blocks):
        found += together.add(n, f"t_{n}", ("ts", "v"), one(text(8, b"x" * length)))
    found += together.rest()
    assert [n for _, pieces in found for n in pieces] == list(range(blocks))
    assert len(found) == 3 and all(len(sql) < MAX_BYTES + 100 for sql, _ in found)
    assert found[0][0].startswith("INSERT INTO `d``b`.`t_0` (`ts`, `v`) VALUES ('xx")
    assert list(together.rest()) == []
