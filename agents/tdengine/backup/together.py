"""Small blocks of many subtables written by one statement: sent one by one, each would take a server as long as a
thousand rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from agents.tdengine.backup import literals
from agents.tdengine.backup.block import Block
from agents.tdengine.sql import MAX_BYTES, identifier

FEW_ROWS = 100  # a block of more goes as it is
_BLOCKS = 1000

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
        place = f"{identifier(self._database)}.{identifier(table)}"
        text = literals.into(place, names) + "".join(literals.rows(block))
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
    return block.rows <= FEW_ROWS and literals.exact(block)
