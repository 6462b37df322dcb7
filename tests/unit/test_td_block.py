"""TDengine's raw blocks taken apart, cut, joined, hashed and put together again."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.tdengine.backup import block as td_block
from agents.tdengine.backup.block import (
    Block,
    Column,
    NoBlock,
    decode,
    encode,
    hashes,
    join,
    pick,
    rows_of,
    starts_of_runs,
    texts,
    without_first,
)

# What a TDengine 3.3.7.5 server gave out for (ts, e bigint primary key, a int, v varchar, n nchar, b bool, d double):
# (…000, 1, 5, 'abc', '中文', true, 1.5), (…001, 2, NULL, NULL, '', false, NULL), (…002, 3, 7, '', 'x', NULL, 2.5)
REAL = bytes.fromhex(
    "01000000e90000000300000007000000"
    "00000080000000000000000009080000"
    "00050800000004040000000816000000"
    "0a2a0000000101000000070800000018"
    "000000180000000c0000000700000012"
    "0000000300000018000000000080d35b"
    "fd1ee9180180d35bfd1ee9180280d35b"
    "fd1ee918000100000000000000020000"
    "00000000000300000000000000400500"
    "0000000000000700000000000000ffff"
    "ffff0500000003006162630000000000"
    "000a0000000c00000008002d4e000087"
    "65000000000400780000002001000040"
    "000000000000f83f0000000000000000"
    "000000000000044000"
)
OLD_HASHES = [0x878110C8BA06AD3F, 0x4B66D4290504B11A, 0x917FCF57810CE6AF]


def test_a_block_of_a_real_server_is_understood_and_put_together_again() -> None:
    block = decode(REAL)
    assert (block.rows, rows_of(REAL), len(block.columns)) == (3, 3, 7)
    assert block.words(0).tolist() == [1795000000000000000, 1795000000000000001, 1795000000000000002]
    assert block.words(1).tolist() == [1, 2, 3]
    assert block.columns[2].nulls.tolist() == [False, True, False]
    assert texts(block.columns[3]) == [b"abc", b"", b""]
    assert block.columns[3].nulls.tolist() == [False, True, False]
    assert [text.decode("utf-32-le") for text in texts(block.columns[4])] == ["中文", "", "x"]
    assert encode(block) == REAL


@pytest.mark.parametrize("cut", [3, 27, 40, 100, 150, 232])
def test_a_block_that_is_cut_off_is_none(cut: int) -> None:
    with pytest.raises(NoBlock):
        decode(REAL[:cut])


def test_a_block_of_another_version_or_type_is_not_guessed_at() -> None:
    with pytest.raises(NoBlock, match="version 2"):
        decode(b"\2" + REAL[1:])
    with pytest.raises(NoBlock, match="type 15"):
        decode(REAL[:28] + b"\x0f" + REAL[29:])


def _text(values: list[bytes | None]) -> Column:
    data = b"".join(value or b"" for value in values)
    ends = np.cumsum([len(value or b"") for value in values])
    return Column(8, 64, np.array([value is None for value in values]), np.frombuffer(data, np.uint8), ends)


def _number(values: list[int | None]) -> Column:
    raw = b"".join(struct.pack("<q", value or 0) for value in values)
    return Column(5, 8, np.array([value is None for value in values]), np.frombuffer(raw, np.uint8).reshape(-1, 8))


ROWS = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | st.integers(0, 9), st.none() | st.binary(max_size=20)),
    min_size=1, max_size=60,
)  # fmt: skip


def _block(rows: list[tuple[int, int | None, bytes | None]]) -> Block:
    first, second, third = (list(column) for column in zip(*rows, strict=True))
    return Block(len(rows), (_number(first), _number(second), _text(third)))


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_every_block_comes_back_as_it_was(rows: list[tuple[int, int | None, bytes | None]]) -> None:
    block = decode(encode(_block(rows)))
    assert block.words(0).tolist() == [row[0] for row in rows]
    assert block.columns[1].nulls.tolist() == [row[1] is None for row in rows]
    assert texts(block.columns[2]) == [row[2] or b"" for row in rows]
    assert block.columns[2].nulls.tolist() == [row[2] is None for row in rows]
    assert encode(block) == encode(decode(encode(block)))


@given(ROWS, st.data())
@settings(max_examples=200, deadline=None)
def test_a_row_has_one_hash_wherever_it_lies(
    rows: list[tuple[int, int | None, bytes | None]], data: st.DataObject
) -> None:
    block = _block(rows)
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    whole = hashes(block, 7)
    assert hashes(pick(block, order), 7).tolist() == whole[order].tolist()
    cut = data.draw(st.integers(1, len(rows)))
    parts = [pick(block, np.arange(cut))] + ([pick(block, np.arange(cut, len(rows)))] if cut < len(rows) else [])
    assert hashes(join(parts), 7).tolist() == whole.tolist()
    assert encode(join(parts)) == encode(block)


@given(ROWS, ROWS)
@settings(max_examples=300, deadline=None)
def test_different_rows_have_different_hashes(
    some: list[tuple[int, int | None, bytes | None]], others: list[tuple[int, int | None, bytes | None]]
) -> None:
    found = dict(zip(some + others, hashes(_block(some + others), 1).tolist(), strict=True))
    assert len(set(found.values())) == len(found)


def test_null_zero_and_nothing_are_three_things() -> None:
    rows: list[tuple[int, int | None, bytes | None]] = [(1, 0, b""), (1, None, b""), (1, 0, None), (1, 0, b"\0")]
    assert len(set(hashes(_block(rows), 0).tolist())) == 4


def test_values_that_change_places_change_the_hash() -> None:
    first = hashes(_block([(1, 2, b"x"), (2, 3, b"y")]), 0).sum()
    second = hashes(_block([(1, 3, b"x"), (2, 2, b"y")]), 0).sum()
    assert first != second


def test_another_seed_another_hash_and_the_first_column_may_go() -> None:
    block = _block([(1, 2, b"x")])
    assert hashes(block, 1)[0] != hashes(block, 2)[0]
    assert len(without_first(block).columns) == 2


# The same of a DECIMAL(18,4) and a DECIMAL(38,10) beside a VARBINARY, and of two BLOBs.
DECIMALS = bytes.fromhex(
    "010000005a0000000100000003000000000000800000000000000000150412000811"
    "0a26001010160000000800000010000000040000000087d612000000000000eb2afb"
    "f3111f8c3c09f01671feffffff00000000020000ff00"
)
BLOBS = bytes.fromhex(
    "01000000550000000200000002000000000000800000000000000000090800000012"
    "05000000100000000d000000000af3747ce406ec18a22b10b8e406ec180000000007"
    "0000000300000061626302000000000100"
)


@pytest.mark.parametrize("raw", [DECIMALS, BLOBS])
def test_decimals_and_blobs_of_a_real_server_are_understood_and_put_together_again(raw: bytes) -> None:
    block = decode(raw)
    assert encode(block) == raw
    assert encode(join([pick(block, np.array([at])) for at in range(block.rows)])) == raw
    assert len(set(hashes(block, 0).tolist())) == block.rows


def test_what_decimals_and_blobs_hold_is_read() -> None:
    numbers, blobs = decode(DECIMALS), decode(BLOBS)
    assert int.from_bytes(numbers.columns[0].values[0].tobytes(), "little", signed=True) == 1234567
    large = int.from_bytes(numbers.columns[1].values[0].tobytes(), "little", signed=True)
    assert large == -123456789012345678900123456789
    assert texts(blobs.columns[1]) == [b"abc", b"\0\1"]


def test_the_hash_of_a_row_stays_what_it_is_in_backups_that_exist() -> None:
    assert hashes(decode(REAL), 7).tolist() == OLD_HASHES


def test_a_blob_is_hashed_alike_beside_short_and_long_ones() -> None:
    def column(*values: bytes) -> Block:
        joined = np.frombuffer(b"".join(values), np.uint8)
        ends = np.cumsum([len(value) for value in values])
        return Block(len(values), (Column(18, 5, np.zeros(len(values), bool), joined, ends),))

    long = [b"x" * 5000, b"y" * 5000]
    both = hashes(column(b"short", *long, b""), 1).tolist()
    assert both[:1] + both[3:] == hashes(column(b"short", b""), 1).tolist()
    assert len(set(both)) == 4


def test_rows_of_several_subtables_are_hashed_with_the_seed_of_each() -> None:
    block = decode(REAL)
    alone = [hashes(pick(block, np.array([at])), seed).tolist()[0] for at, seed in enumerate((1, 2**63, 3))]
    assert hashes(block, np.array([1, 2**63, 3], np.uint64)).tolist() == alone


def _texts(*values: bytes | None) -> Block:
    return Block(len(values), (_text(list(values)),))


SAME_LENGTH = st.integers(0, 9).flatmap(lambda n: st.lists(st.binary(min_size=n, max_size=n), min_size=1, max_size=40))


@given(SAME_LENGTH, st.none() | st.binary(max_size=9))
@settings(max_examples=200, deadline=None)
def test_texts_of_one_length_are_the_same_rows_as_beside_others(values: list[bytes], other: bytes | None) -> None:
    alone, beside = _texts(*values), _texts(*values, other)
    first = np.arange(len(values))
    assert hashes(alone, 7).tolist() == hashes(beside, 7)[:-1].tolist() == hashes(pick(beside, first), 7).tolist()
    assert encode(alone) == encode(pick(beside, first)) == encode(decode(encode(alone)))
    assert texts(decode(encode(alone)).columns[0]) == values == texts(decode(encode(beside)).columns[0])[:-1]
    assert texts(pick(alone, first[::-1]).columns[0]) == values[::-1]


def test_texts_of_one_length_are_taken_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of a question to a supertable begins with the name of its subtable: nine tenths of the time went there.
    """
    raw = encode(_texts(b"t_0123", b"t_0123", b"t_4567"))
    monkeypatch.setattr(td_block, "_spans", lambda *_: pytest.fail("one value after another"))
    found = decode(raw)
    assert encode(found) == raw
    assert texts(pick(found, np.array([2, 0])).columns[0]) == [b"t_4567", b"t_0123"]
    assert len(set(hashes(found, 1).tolist())) == 2


@pytest.mark.parametrize(
    ("offsets", "payload", "told"),
    [
        ((4, 0), b"\2\0ab\2\0cd", [b"cd", b"ab"]), ((0, 0), b"\2\0ab", [b"ab", b"ab"]),
        ((0, 4), b"\2\0ab\1\0c\0", [b"ab", b"c"]), ((0, 4), b"\1\0a\0\2\0cd", [b"a", b"cd"]),
        ((0, 4), b"\1\0a\0\1\0c\0", [b"a", b"c"]), ((-1, 0), b"\2\0ab", [b"", b"ab"]),
        ((-1, -1), b"", [b"", b""]),
    ],
)  # fmt: skip
def test_texts_lie_where_their_offsets_say(offsets: tuple[int, int], payload: bytes, told: list[bytes]) -> None:
    """A server may let rows share a value, or leave room between."""
    raw = encode(_texts(b"", b""))
    at = len(raw) - 17  # the size of the column, two offsets, two lengths, one byte
    body = raw[:at] + struct.pack("<i2i", len(payload), *offsets) + payload + b"\0"
    found = decode(body[:4] + struct.pack("<i", len(body)) + body[8:]).columns[0]
    assert texts(found) == told
    assert found.nulls.tolist() == [offset < 0 for offset in offsets]


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"cc", b"dd"]), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_run_begins_where_another_value_does(values: list[bytes]) -> None:
    begins = [at for at in range(len(values)) if at == 0 or values[at] != values[at - 1]]
    assert starts_of_runs(_text(list(values))).tolist() == begins
