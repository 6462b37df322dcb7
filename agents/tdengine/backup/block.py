"""TDengine's raw blocks: what its client library hands out by the thousand rows, and takes back as it is.

A block is one table's rows by column (little endian): version, length, rows, columns, flags (4 bytes each), group (8);
type and width of each column (1 + 4); size of each column (4); then each column: a bitmap of NULLs and values of equal
width, or, for text, the offset of each value (4, -1 for NULL) and the values, each behind its length (2; 4 for a BLOB);
one byte. A DECIMAL's width is its bytes (in the highest of four bytes), precision and scale. Source: blockEncode in
TDengine's tdatablock.c, block version 1.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from agents.base.errors import AgentError

Array: TypeAlias = np.ndarray[Any, Any]
VERSION = 1
TIMESTAMP, BIGINT = 9, 5
_HEAD = struct.Struct("<iiiiIQ")
_COLUMN = struct.Struct("<bi")
_FLAGS = 1 << 31
BLOBS = frozenset((18, 19))
# VARCHAR, NCHAR, VARBINARY, GEOMETRY, BLOB; JSON is a type of tags alone.
_TEXT = frozenset((8, 10, 16, 20)) | BLOBS
_DECIMALS = frozenset((17, 21))
_FIXED = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14)) | _DECIMALS
_LONG = 4096  # bytes of a BLOB, from which on it is hashed by itself and not beside the others
_ODD = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class NoBlock(AgentError):  # noqa: N818
    """Bytes that are no block of the version that is understood."""


@dataclass(frozen=True)
class Column:
    """One column. Fixed width: `values` uint8[rows, bytes] and `nulls` bool[rows]. Text: `values` uint8[bytes], the
    values one after another without their lengths, and `ends` int64[rows], where each ends; `nulls` as above.
    `width` as the block tells it.
    """

    kind: int
    width: int
    nulls: Array
    values: Array
    ends: Array | None = None


@dataclass(frozen=True)
class Block:
    """Rows of one table by column, as `SELECT *` has them."""

    rows: int
    columns: tuple[Column, ...]

    def words(self, at: int) -> Array:
        """Column `at`, eight bytes wide such as a timestamp, as int64[rows]."""
        return _as_words(self.columns[at]).view(np.int64)


def rows_of(raw: bytes) -> int:
    """The number of rows, without a look at them."""
    return int(_HEAD.unpack_from(raw)[2])


def decode(raw: bytes) -> Block:
    """Take a block apart; the arrays point into `raw`. Raises NoBlock."""
    try:
        return _decode(raw)
    except (struct.error, ValueError, IndexError) as error:
        raise NoBlock(f"{len(raw)} bytes are no TDengine block: {error}.", "The file is damaged.") from error


def _decode(raw: bytes) -> Block:
    version, length, rows, columns, _, _ = _HEAD.unpack_from(raw)
    if version != VERSION:
        raise NoBlock(f"A block of version {version} is not understood.", "This server needs a newer mystocks-dr.")
    if length != len(raw) or rows <= 0 or columns <= 0:
        raise ValueError(f"{length} bytes and {rows} rows announced")
    at = _HEAD.size
    kinds = [_COLUMN.unpack_from(raw, at + n * _COLUMN.size) for n in range(columns)]
    at += columns * _COLUMN.size
    sizes = struct.unpack_from(f"<{columns}i", raw, at)
    at += columns * 4
    found = []
    for (kind, width), size in zip(kinds, sizes, strict=True):
        if kind in _TEXT:
            offsets = np.frombuffer(raw, "<i4", rows, at)
            at += rows * 4
            found.append(_text(kind, width, offsets, np.frombuffer(raw, np.uint8, size, at)))
        elif kind in _FIXED:
            bitmap = np.frombuffer(raw, np.uint8, (rows + 7) // 8, at)
            at += len(bitmap)
            held = width >> 24 if kind in _DECIMALS else width
            values = np.frombuffer(raw, np.uint8, rows * held, at).reshape(rows, held)
            found.append(Column(kind, width, np.unpackbits(bitmap, count=rows).view(bool), values))
        else:
            raise NoBlock(f"A column of TDengine's type {kind} is not understood.", "Leave the table out.")
        at += size
    if at + 1 != len(raw):
        raise ValueError(f"{len(raw) - at - 1} bytes too many")
    return Block(rows, tuple(found))


def _text(kind: int, width: int, offsets: Array, payload: Array) -> Column:
    values = _side_by_side(offsets, payload, _head(kind))
    if values is not None:
        return Column(kind, width, np.zeros(len(values), bool), values.reshape(-1), _ends(*values.shape))
    nulls = offsets < 0
    starts = np.where(nulls, 0, offsets).astype(np.int64)
    head = _head(kind)
    lengths = np.zeros(len(offsets), np.int64)
    if len(payload):
        for byte in range(head):
            lengths |= payload[starts + byte].astype(np.int64) << (8 * byte)
    lengths = np.where(nulls, 0, lengths)
    return Column(kind, width, nulls, payload[_spans(starts + head, lengths)], np.cumsum(lengths))


def _side_by_side(offsets: Array, payload: Array, head: int) -> Array | None:
    """Values of one length in the order of their rows, without a NULL, as uint8[rows, length]: names of subtables and
    codes are such, and taken in one piece they cost a tenth. None where they are not.
    """
    step, rest = divmod(len(payload), len(offsets))
    if rest or step < head or not np.array_equal(offsets, np.arange(len(offsets), dtype="<i4") * step):
        return None
    matrix = payload.reshape(-1, step)
    if int.from_bytes(matrix[0, :head].tobytes(), "little") != step - head:
        return None
    return matrix[:, head:] if (matrix[:, :head] == matrix[0, :head]).all() else None


def _even(column: Column) -> Array | None:
    """The same of a column: its values as uint8[rows, length], where all are of one length, NULLs among them."""
    assert column.ends is not None
    rows = len(column.ends)
    length, rest = divmod(len(column.values), rows or 1)
    if not rows or rest or not np.array_equal(column.ends, _ends(rows, length)):
        return None
    return column.values.reshape(rows, length)


def _ends(rows: int, length: int) -> Array:
    """Where values of one length end."""
    return np.arange(1, rows + 1, dtype=np.int64) * length


def starts_of_runs(column: Column) -> Array:
    """Of a text column, the rows from which on the value is another one than in the row before."""
    matrix = _even(column)
    if matrix is not None:
        length = matrix.shape[1]
        if np.array_equal(column.values[length:], column.values[: len(column.values) - length]):
            return np.zeros(1, np.int64)
        other = (matrix[1:] != matrix[:-1]).any(axis=1)
    else:
        found = hashes(Block(len(column.nulls), (column,)), 0)
        other = found[1:] != found[:-1]
    return np.flatnonzero(np.concatenate(([True], other)))


def _head(kind: int) -> int:
    """The bytes of a value's length before it."""
    return 4 if kind in BLOBS else 2


def _spans(starts: Array, lengths: Array) -> Array:
    """The positions of spans one after another."""
    total = int(lengths.sum())
    ends = np.cumsum(lengths)
    found: Array = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return found


def encode(block: Block) -> bytes:
    """Put a block together again."""
    parts: list[bytes] = []
    sizes = []
    for column in block.columns:
        if column.ends is None:
            parts += [np.packbits(column.nulls).tobytes(), np.ascontiguousarray(column.values).tobytes()]
            sizes.append(block.rows * column.values.shape[1])
        else:
            offsets, payload = _packed(column)
            parts += [offsets, payload]
            sizes.append(len(payload))
    kinds = b"".join(_COLUMN.pack(column.kind, column.width) for column in block.columns)
    body = b"".join((kinds, struct.pack(f"<{len(sizes)}i", *sizes), *parts, b"\0"))
    head = _HEAD.pack(VERSION, _HEAD.size + len(body), block.rows, len(block.columns), _FLAGS, 0)
    return head + body


def _packed(column: Column) -> tuple[bytes, bytes]:
    assert column.ends is not None
    lengths = np.diff(column.ends, prepend=0)
    head = _head(column.kind)
    even = None if column.nulls.any() else _even(column)
    if even is not None:
        rows, length = even.shape
        front = np.frombuffer(length.to_bytes(head, "little"), np.uint8)
        matrix = np.concatenate((np.broadcast_to(front, (rows, head)), even), axis=1)
        return (np.arange(rows, dtype="<i4") * (head + length)).tobytes(), matrix.tobytes()
    held = np.where(column.nulls, 0, lengths + head)
    ends = np.cumsum(held)
    starts = ends - held
    payload = np.zeros(int(held.sum()), np.uint8)
    there = ~column.nulls
    for byte in range(head):
        payload[starts[there] + byte] = (lengths[there] >> (8 * byte) & 255).astype(np.uint8)
    payload[_spans(starts + head, lengths)] = column.values
    return np.where(column.nulls, -1, starts).astype("<i4").tobytes(), payload.tobytes()


def pick(block: Block, chosen: Array) -> Block:
    """The rows at these positions, in their order; a mask of booleans serves as well."""
    if chosen.dtype == bool:
        chosen = np.flatnonzero(chosen)
    found = []
    for column in block.columns:
        nulls = column.nulls[chosen]
        if column.ends is None:
            found.append(Column(column.kind, column.width, nulls, column.values[chosen]))
        elif (even := _even(column)) is not None:
            ends = _ends(len(chosen), even.shape[1])
            found.append(Column(column.kind, column.width, nulls, even[chosen].reshape(-1), ends))
        else:
            lengths = np.diff(column.ends, prepend=0)
            span = _spans((column.ends - lengths)[chosen], lengths[chosen])
            ends = np.cumsum(lengths[chosen])
            found.append(Column(column.kind, column.width, nulls, column.values[span], ends))
    return Block(len(chosen), tuple(found))


def join(blocks: Sequence[Block]) -> Block:
    """Blocks of one table as one."""
    if len(blocks) == 1:
        return blocks[0]
    found = []
    for same in zip(*(block.columns for block in blocks), strict=True):
        nulls = np.concatenate([column.nulls for column in same])
        values = np.concatenate([column.values for column in same])
        ends = None
        if same[0].ends is not None:
            ends = np.cumsum(np.concatenate([np.diff(column.ends, prepend=0) for column in same]))
        found.append(Column(same[0].kind, same[0].width, nulls, values, ends))
    return Block(sum(block.rows for block in blocks), tuple(found))


def without_first(block: Block) -> Block:
    """The block without its first column."""
    return Block(block.rows, block.columns[1:])


def project(block: Block, places: Sequence[int]) -> Block:
    """The block with these columns of it, in this order."""
    return Block(block.rows, tuple(block.columns[at] for at in places))


def texts(column: Column) -> list[bytes]:
    """The values of a text column, NULL as nothing."""
    assert column.ends is not None
    data, ends = column.values.tobytes(), column.ends.tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def hashes(block: Block, seed: int | Array, first: int = 0) -> Array:
    """A hash of each row from column `first` on, uint64[rows]: equal rows of one seed have equal hashes; `seed` may be
    one for each row.

    The sum of many, modulo 2^64, tells sets of rows apart whatever their order.
    """
    with np.errstate(over="ignore"):
        found = np.empty(block.rows, np.uint64)
        found[:] = seed & (2**64 - 1) if isinstance(seed, int) else seed
        mixed = np.empty(block.rows, np.uint64)
        for number, column in enumerate(block.columns[first:], 1):
            words = (_as_words(column) if column.ends is None else _text_words(column)) * np.uint64(_ODD)
            words += np.uint64(number)
            words[column.nulls] = np.uint64(_MIX[0] + number)
            np.right_shift(words, np.uint64(29), out=mixed)
            words ^= mixed
            found ^= words
            found *= np.uint64(_MIX[0])
            np.right_shift(found, np.uint64(32), out=mixed)
            found ^= mixed
        found *= np.uint64(_MIX[1])
        return found ^ (found >> np.uint64(31))


def _as_words(column: Column) -> Array:
    held = column.values.shape[1]
    if held == 8:
        return np.ascontiguousarray(column.values).view("<u8").reshape(-1)
    padded = np.zeros((len(column.values), -(-held // 8) * 8), np.uint8)
    padded[:, :held] = column.values
    words: Array = padded.view("<u8")
    return words[:, 0] if words.shape[1] == 1 else words[:, 0] * np.uint64(_MIX[1]) + words[:, 1]


def _text_words(column: Column) -> Array:
    """One word a value: of its bytes, eight at a time, and of its length."""
    assert column.ends is not None
    lengths = np.diff(column.ends, prepend=0)
    if column.kind in BLOBS and lengths.max(initial=0) > _LONG:
        return _blob_words(column)
    width = int(lengths.max(initial=0))
    steps = -(-width // 8)
    words = lengths.astype(np.uint64) * np.uint64(_MIX[1])
    if not steps:
        return words
    matrix = np.zeros((len(lengths), steps * 8), np.uint8)
    even = _even(column)
    if even is not None:
        matrix[:, :width] = even
    else:
        rows = np.repeat(np.arange(len(lengths)), lengths)
        matrix[rows, _spans(np.zeros(len(lengths), np.int64), lengths)] = column.values
    for step, part in enumerate(matrix.view("<u8").T):
        mixed = (words ^ part) * np.uint64(_MIX[0])
        # A shorter value has the same word beside a longer one and without it.
        words = np.where(lengths > step * 8, mixed ^ (mixed >> np.uint64(31)), words)
    return words


def _blob_words(column: Column) -> Array:
    """The same where some values are too long to lie side by side; a shorter one's word is the same in both."""
    values = texts(column)
    words = np.zeros(len(values), np.uint64)
    short = [at for at, value in enumerate(values) if len(value) <= _LONG]
    for at, value in enumerate(values):
        if len(value) > _LONG:
            words[at] = int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big")
    if short:
        words[short] = _text_words(pick(Block(len(values), (column,)), np.array(short)).columns[0])
    return words
