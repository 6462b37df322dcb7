"""Small blocks of many subtables written by one statement: sent one by one, each would take a server as long as a
thousand rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from agents.tdengine.backup import literals
from agents.tdengine.backup.block import Block, Column, texts
from agents.tdengine.sql import MAX_BYTES, identifier

FEW_ROWS = 100  # a block of more goes as it is
_BLOCKS = 1000
_FLOATS = {6: "<f4", 7: "<f8"}
_WHOLE = frozenset((1, 2, 3, 4, 5, 9, 11, 12, 13, 14))
_ENCODINGS = {8: "utf-8", 10: "utf-32-le"}

Piece = TypeVar("Piece")


class Together(Generic[Piece]):
    """Gathers what one statement takes; a piece is whatever the caller knows a block by."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._texts: list[str] = []
        self._pieces: list[Piece] = []
        self._size = 0

    def add(self, piece: Piece, table: str, names: Sequence[str], block: Block) -> Iterator[tuple[str, list[Piece]]]:
        """A statement with its pieces, whenever one is full."""
        columns = ", ".join(map(identifier, names))
        text = f"{identifier(self._database)}.{identifier(table)} ({columns}) VALUES {''.join(literals.rows(block))}"
        size = len(text.encode()) + 1
        if self._size + size > MAX_BYTES or len(self._pieces) == _BLOCKS:
            yield from self.rest()
        self._texts.append(text)
        self._pieces.append(piece)
        self._size += size

    def rest(self) -> Iterator[tuple[str, list[Piece]]]:
        """What is left."""
        if self._pieces:
            statement, pieces = f"INSERT INTO {' '.join(self._texts)}", self._pieces
            self._texts, self._pieces, self._size = [], [], 0
            yield statement, pieces


def takes(block: Block) -> bool:
    """Whether a statement says these rows exactly as they are, and sooner than a block."""
    return block.rows <= FEW_ROWS and all(map(_is_exact, block.columns))


def _is_exact(column: Column) -> bool:
    if column.kind in _WHOLE:
        return True
    if column.kind in _FLOATS:
        values = np.ascontiguousarray(column.values).view(_FLOATS[column.kind]).reshape(-1)[~column.nulls]
        return bool((np.isfinite(values) & ~(np.signbit(values) & (values == 0))).all())
    return column.kind in _ENCODINGS and all(_is_plain(one, _ENCODINGS[column.kind]) for one in texts(column))


def _is_plain(value: bytes, encoding: str) -> bool:
    try:
        return value.decode(encoding).isprintable()
    except UnicodeDecodeError:
        return False
