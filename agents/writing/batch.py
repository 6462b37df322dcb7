"""A batch: rows of several tables that are acknowledged together, encoded once as COPY text.

The same text goes to the store and, when the store is away, into the outbox, so that a replayed row is byte
for byte the row that was acknowledged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from agents.base.config import Table
from agents.base.errors import BadRow

EVENT_ID = "event_id"
RUN_SHIFT = 32
SEQ_MASK = (1 << RUN_SHIFT) - 1

# What COPY's text format reserves. A NUL is refused below: no PostgreSQL text can hold one.
ESCAPES = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)

_UNESCAPE = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Part:
    """Rows of one table.

    `text` is COPY text, one line a row; `first` and `last` are the least and greatest event id.
    """

    table: str
    columns: tuple[str, ...]
    first: int
    last: int
    n: int
    text: str

    def halves(self) -> tuple[Part, Part]:
        """Two parts with the same rows in the same order. Only for n >= 2."""
        lines, middle = self._lines(), self.n // 2
        return self._of(lines[:middle]), self._of(lines[middle:])

    def rows(self, first: int, behind: int) -> Part:
        """The rows from the one numbered `first` up to, but without, the one numbered `behind`; at least one."""
        return self._of(self._lines()[first:behind])

    def chunks(self, rows: int) -> list[Part]:
        """Parts of at most so many rows, in the same order."""
        lines = self._lines()
        return [self._of(lines[first : first + rows]) for first in range(0, len(lines), rows)]

    def _lines(self) -> list[str]:
        # Not splitlines(): it also splits at characters that COPY leaves alone, such as U+2028.
        return [line + "\n" for line in self.text.split("\n")[:-1]]

    def _of(self, lines: Sequence[str]) -> Part:
        index = self.columns.index(EVENT_ID)
        ids = [int(line.split("\t")[index]) for line in lines]
        return Part(self.table, self.columns, min(ids), max(ids), len(ids), "".join(lines))


@dataclass(frozen=True)
class Batch:
    parts: tuple[Part, ...]

    @property
    def n(self) -> int:
        return sum(part.n for part in self.parts)


def encode(tables: Mapping[str, Table], rows: Mapping[str, Sequence[Sequence[object]]]) -> Batch:
    """Rows per table, values in the catalogue's column order, as a batch.

    Raises BadRow; tables without rows are left out.
    """
    parts = []
    for name, values in rows.items():
        if not values:
            continue
        columns = tables[name].column_names
        if any(len(row) != len(columns) for row in values):
            raise BadRow(f"A row of {name} has not {len(columns)} values.", "One value a column, in order.")
        index = columns.index(EVENT_ID)
        ids = [event for row in values if isinstance(event := row[index], int)]
        if len(ids) < len(values):
            raise BadRow(f"A row of {name} has no event id.", "Give every row its number.")
        parts.append(Part(name, columns, min(ids), max(ids), len(ids), copy_text(values)))
    if not parts:
        raise BadRow("The batch has no rows.", "Write at least one row.")
    return Batch(tuple(parts))


def copy_text(rows: Iterable[Sequence[object]]) -> str:
    """COPY's text format: tab between values, newline after each row, backslash escapes, \\N for NULL.

    Raises BadRow.
    """
    text = "".join(["\t".join([_value(value) for value in row]) + "\n" for row in rows])
    if "\0" in text:
        raise BadRow("A text holds a NUL character, which PostgreSQL cannot store.", "Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"A text is no valid Unicode: {error.reason}.", "Decode it properly.") from error
    return text


def _value(value: object) -> str:
    if value is None:
        return "\\N"
    kind = type(value)
    if kind is str:
        return value.translate(ESCAPES)  # type: ignore[attr-defined, no-any-return]
    if kind is int:
        return str(value)
    if kind is bool:
        return "t" if value else "f"
    if isinstance(value, date):  # datetime is one too
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(ESCAPES)
    return str(value).translate(ESCAPES)


def rows_of(part: Part) -> Iterator[list[str | None]]:
    """The values of each row, in the order of the part's columns; None for NULL."""
    for line in part.text.split("\n")[:-1]:
        yield [None if field == "\\N" else _plain(field) for field in line.split("\t")]


def _plain(field: str) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPE.get(found[1], found[1]), field) if "\\" in field else field
