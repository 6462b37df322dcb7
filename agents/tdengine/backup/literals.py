"""Rows of a block as a statement has them: for tables with a BLOB, whose blocks the client library cannot write.

NaN and infinities have no literal: they go as NULL, and the comparison after a restore tells of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal

import numpy as np

from agents.tdengine.backup import geometry
from agents.tdengine.backup.block import BLOBS, Array, Block, Column, texts
from agents.tdengine.sql import grouped, identifier, quoted

_NUMBERS = {1: "?", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f4", 7: "<f8", 9: "<i8", 11: "u1", 12: "<u2", 13: "<u4",
            14: "<u8"}  # fmt: skip
_FLOATS = (6, 7)
_VARCHAR, _NCHAR, _VARBINARY, _GEOMETRY = 8, 10, 16, 20
_ENCODINGS = {_VARCHAR: "utf-8", _NCHAR: "utf-32-le"}
_EXACT = Context(prec=60)


def inserts(table: str, names: Sequence[str], block: Block) -> Iterator[tuple[str, int]]:
    """Statements that write these rows, each with their number; none longer than a server takes, but for a single row
    that is.
    """
    head = f"INSERT INTO {into(table, names)}"
    for text in grouped(rows(block)):
        yield head + "".join(text), len(text)


def into(table: str, names: Sequence[str]) -> str:
    """What stands before a table's rows."""
    return f"{table} ({', '.join(map(identifier, names))}) VALUES "


def rows(block: Block) -> Iterator[str]:
    """Each row in parentheses."""
    columns = [_values(column) for column in block.columns]
    return (f"({','.join(row)})" for row in zip(*columns, strict=True))


def exact(block: Block) -> bool:
    """Whether they say every value as it is: no NaN, no infinity, no -0.0, no bytes, no text that a server reads
    otherwise.
    """
    return all(map(_is_exact, block.columns))


def _is_exact(column: Column) -> bool:
    if column.kind in _FLOATS:
        values = _as_numbers(column)[~column.nulls]
        return bool((np.isfinite(values) & ~(np.signbit(values) & (values == 0))).all())
    if column.kind in _ENCODINGS:
        return all(_is_plain(one, _ENCODINGS[column.kind]) for one in texts(column))
    return column.kind in _NUMBERS


def _is_plain(value: bytes, encoding: str) -> bool:
    try:
        return value.decode(encoding).isprintable()
    except UnicodeDecodeError:
        return False


def _values(column: Column) -> list[str]:
    if column.ends is not None:
        told = _TOLD[_VARBINARY if column.kind in BLOBS else column.kind]
        values = texts(column)
        return ["NULL" if null else told(one) for one, null in zip(values, column.nulls.tolist(), strict=True)]
    found = _numbers(column) if column.kind in _NUMBERS else _decimals(column)
    return ["NULL" if null else value for value, null in zip(found, column.nulls.tolist(), strict=True)]


def _numbers(column: Column) -> list[str]:
    values = _as_numbers(column).tolist()
    return ["NULL" if isinstance(one, float) and not math.isfinite(one) else repr(one) for one in values]


def _as_numbers(column: Column) -> Array:
    return np.ascontiguousarray(column.values).view(_NUMBERS[column.kind]).reshape(-1)


def _decimals(column: Column) -> list[str]:
    scale = column.width & 255
    numbers = (int.from_bytes(value.tobytes(), "little", signed=True) for value in column.values)
    return [f"{Decimal(one).scaleb(-scale, _EXACT):f}" for one in numbers]


def _hexadecimal(value: bytes) -> str:
    return f"'\\x{value.hex()}'"


_TOLD: dict[int, Callable[[bytes], str]] = {
    _VARCHAR: lambda value: quoted(value.decode(_ENCODINGS[_VARCHAR], "replace")),
    _NCHAR: lambda value: quoted(value.decode(_ENCODINGS[_NCHAR], "replace")),
    _VARBINARY: _hexadecimal,
    _GEOMETRY: lambda value: quoted(geometry.text(value)),
}
