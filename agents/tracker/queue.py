"""Rows that wait for the next batch, checked and encoded as they come: what is kept in memory is COPY text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from agents.base.config import Table
from agents.base.errors import BadRow
from agents.client.prepare import BATCH_ROWS, Checker
from agents.writing.batch import Batch, Part
from agents.writing.clock import Clock

BLOCK = 1024  # ids that are reserved at once: the clock's file has one lock for a whole host
Line = tuple[int, str]  # event id, COPY text
Ids = Callable[[str], int]  # the next id of a table's row


class ClockIds:
    """Ids of this host's clock, a block at a time; for one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: list[int] = []

    def __call__(self, table: str) -> int:
        if not self._left:
            self._left = list(reversed(self._clock.reserve(BLOCK)))
        return self._left.pop()


class Queue:
    """Of one table, at most `limit` rows; for one thread at a time."""

    def __init__(self, table: Table, ids: Ids, limit: int) -> None:
        self.table, self.limit = table, limit
        self._checker = Checker(table, on_tdengine=False)
        self._ids = ids
        self._lines: deque[Line] = deque()

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def full(self) -> bool:
        return len(self._lines) >= self.limit

    def check(self, row: Mapping[str, object]) -> Line:
        """The row as the store will be given it. Raises BadRow for one that no store takes."""
        # A row that is refused takes no id: those of a table have no holes.
        prepared = self._checker.prepare([dict(row)], lambda sound: [self._ids(self.table.name) for _ in sound])
        if prepared.refused:
            why = prepared.refused[0]
            sentence = f"A row of {self.table.name} cannot be kept: {why.column} {why.reason}."
            raise BadRow(sentence, "Correct whoever made it; the rows before and after it are kept.")
        piece = prepared.pieces[0]
        return piece.ids[0], piece.batch.parts[0].text

    def put(self, line: Line) -> None:
        self._lines.append(line)

    def take(self) -> list[Line]:
        """All of them; the queue is empty then."""
        taken = list(self._lines)
        self._lines.clear()
        return taken

    def put_back(self, lines: Sequence[Line]) -> None:
        """In front, in their order."""
        self._lines.extendleft(reversed(lines))


def batches(tables: Mapping[str, Table], taken: Mapping[str, Sequence[Line]]) -> list[tuple[Batch, dict[str, int]]]:
    """What was taken, as few batches as their bound allows, each with how many rows of each table are in it."""
    found: list[tuple[list[Part], dict[str, int]]] = []
    cuts = [(name, at) for name, lines in taken.items() for at in range(0, len(lines), BATCH_ROWS)]
    for name, at in cuts:
        part = _part(tables[name], taken[name][at : at + BATCH_ROWS])
        if not found or sum(found[-1][1].values()) + part.n > BATCH_ROWS or name in found[-1][1]:
            found.append(([], {}))
        found[-1][0].append(part)
        found[-1][1][name] = part.n
    return [(Batch(tuple(parts)), counts) for parts, counts in found]


def _part(table: Table, lines: Sequence[Line]) -> Part:
    ids = [number for number, _ in lines]
    return Part(table.name, table.column_names, min(ids), max(ids), len(lines), "".join(text for _, text in lines))
