"""From rows of any shape to batches: every value is checked, every sound row gets its event id, the rest is told why.

A batch is what is acknowledged at once; many rows make several, each small enough for one transaction.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import compress

from agents.base.config import Column, Table
from agents.base.errors import BadRow
from agents.client.kinds import NULL, Kind, Wrong, is_missing, is_nan, kind_of
from agents.client.shapes import Columns, columns_of
from agents.writing.batch import EVENT_ID, Batch, Part

LATE_S = 1.0
BATCH_ROWS = 5000
BATCH_BYTES = 8 << 20
Ids = Callable[[Sequence[int]], Sequence[int]]  # of the rows that are sound, by their numbers


@dataclass(frozen=True)
class Refused:
    """A row that was not taken: its number in what was given, from 0, the column (empty: the row itself), and why."""

    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.column} {self.reason}" if self.column else f"row {self.row}: {self.reason}"


@dataclass(frozen=True)
class Piece:
    """One batch: which rows of those that were given, and their event ids."""

    rows: Sequence[int]
    ids: Sequence[int]
    batch: Batch


@dataclass(frozen=True)
class Prepared:
    """What a save writes. Writing it twice is harmless: the event ids are given.

    `late`: others may have saved newer rows since its event ids were given.
    """

    table: str
    n: int
    pieces: tuple[Piece, ...]
    refused: tuple[Refused, ...]
    given_late: bool = False
    made_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def late(self) -> bool:
        return self.given_late or time.monotonic() - self.made_at > LATE_S

    @property
    def sound(self) -> int:
        return sum(len(piece.rows) for piece in self.pieces)


class Checker:
    """The catalogue's rules for one table."""

    def __init__(self, table: Table, on_tdengine: bool) -> None:
        columns = [column for column in (*table.columns, *table.tags) if column.name != EVENT_ID]
        kinds = [kind_of(column, on_tdengine, table.keep_days) for column in columns]
        self._columns: list[tuple[Column, Kind]] = list(zip(columns, kinds, strict=True))
        self._names = tuple(column.name for column in columns)
        self._table = table
        self._on_tdengine = on_tdengine  # which has no way to write NaN

    def prepare(self, rows: object, ids: Ids) -> Prepared:
        """Raises BadRow for what cannot be read as rows of this table at all."""
        given = columns_of(rows, self._names, self._table.name)
        refused = [Refused(row, column, why) for row, (column, why) in given.strange.items()]
        texts = [self._texts(column, kind, given, refused) for column, kind in self._columns]
        sound: Sequence[int] = range(given.n)
        if refused:
            wrong = {one.row for one in refused}
            keep = [row not in wrong for row in range(given.n)]
            sound = list(compress(sound, keep))
            texts = [list(compress(column, keep)) for column in texts]
        pieces = self._pieces(sound, texts, ids(sound)) if sound else ()
        return Prepared(self._table.name, given.n, tuple(pieces), tuple(sorted(refused, key=lambda one: one.row)))

    def _texts(self, column: Column, kind: Kind, given: Columns, refused: list[Refused]) -> Sequence[str]:
        values = given.values.get(column.name)
        if values is None:
            if not column.nullable:
                refused += [
                    Refused(row, column.name, "is missing") for row in range(given.n) if row not in given.strange
                ]
            return [NULL] * given.n
        types = set(map(type, values))
        if float in types and column.nullable and column.nan == "missing" and not types - {float, type(None)}:
            values = [None if value != value else value for value in values]
            types = set(map(type, values))
        if type(None) not in types:
            return kind.many(types, values) or self._each(column, kind, values, given, refused)
        if column.nullable:
            present = [value for value in values if value is not None]
            if not present:
                return [NULL] * given.n
            texts = kind.many(types - {type(None)}, present)
            if texts is not None:
                following = iter(texts)
                return [NULL if value is None else next(following) for value in values]
        return self._each(column, kind, values, given, refused)

    def _each(
        self, column: Column, kind: Kind, values: Sequence[object], given: Columns, refused: list[Refused]
    ) -> Sequence[str]:
        texts = []
        for row, value in enumerate(values):
            text = NULL
            if row not in given.strange:
                try:
                    text = _one(column, kind, value, column.nan == "keep" and not self._on_tdengine)
                except Wrong as why:
                    refused.append(Refused(row, column.name, str(why)))
            texts.append(text)
        return texts

    def _pieces(self, sound: Sequence[int], texts: list[Sequence[str]], ids: Sequence[int]) -> list[Piece]:
        by_name = dict(zip(self._names, texts, strict=True))
        by_name[EVENT_ID] = list(map(str, ids))
        columns = self._table.column_names
        lines = list(map("\t".join, zip(*[by_name[name] for name in columns], strict=True)))
        pieces = []
        for first, last in _cuts(lines):
            part = Part(
                self._table.name, columns, min(ids[first:last]), max(ids[first:last]), last - first,
                "\n".join(lines[first:last]) + "\n",
            )  # fmt: skip
            pieces.append(Piece(sound[first:last], ids[first:last], Batch((part,))))
        return pieces


def _one(column: Column, kind: Kind, value: object, keeps_nan: bool) -> str:
    nan = is_nan(value)
    if nan and keeps_nan:
        return kind.one(math.nan)
    if nan and (column.nan == "refuse" or not column.nullable):
        raise Wrong("is NaN" if column.nan == "refuse" else "is NaN, and may not be missing")
    if nan or is_missing(value):
        if column.nullable:
            return NULL
        raise Wrong("is missing")
    return kind.one(value)


def _cuts(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Where one batch ends and the next begins."""
    if len(lines) <= BATCH_ROWS and sum(map(len, lines)) * 4 <= BATCH_BYTES:
        return [(0, len(lines))]
    cuts, first, size = [], 0, 0
    for number, line in enumerate(lines):
        length = len(line.encode())
        if number > first and (number - first == BATCH_ROWS or size + length > BATCH_BYTES):
            cuts.append((first, number))
            first, size = number, 0
        size += length
    return [*cuts, (first, len(lines))]


def name_of(name: object) -> str:
    """The name itself, or that of a member of the trading system's enumerations."""
    return str(name.value if isinstance(name, Enum) else name)


def table_named(name: str | Enum, tables: dict[str, Table]) -> Table:
    """By the table's name or by a classification of the catalogue, also an older one. Raises BadRow."""
    name = name_of(name)
    if name in tables:
        return tables[name]
    found = [table for table in tables.values() if name in table.classifications]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(table.name for table in found)
        raise BadRow(f"{name} is the classification of {names}.", "Name the table.")
    raise BadRow(
        f"{name} is no table and no classification of the catalogue.",
        "A new one is an entry of inventories/catalog/tables.yaml, and a deploy.",
    )
