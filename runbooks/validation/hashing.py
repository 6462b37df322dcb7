"""SQL that hashes the rows of a table: by buckets, a day each, then by key ranges of a day, then row by row.

A bucket is its number of rows, the sum of their mixed hashes and the XOR of the hashes, 64 bits each: neither the order
of rows nor where they lie counts; a row that is there twice does, by the sum, and so do values that two rows swapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbooks.table_copy import rowhash
from runbooks.table_copy.names import literal, quoted
from runbooks.table_copy.pair import filtered
from runbooks.table_copy.rowchain import chained
from runbooks.table_copy.shape import EVENT_ID, Column, Shape

PART_ROWS = 2000  # of a key range, about
MOST_PARTS = 1 << 14
MOST_RUNS = 16  # of days, as comparisons: those cost less than to count every row's day


@dataclass(frozen=True)
class Hashed:
    """One table as both sides are asked for it. `time_column` is that of its buckets; without one it has one bucket.

    `versions` tells whether rows know the transaction that wrote them: those of compressed chunks do not.
    """

    shape: Shape
    columns: tuple[Column, ...]
    time_column: str | None
    versions: bool = True

    @property
    def key(self) -> tuple[str, ...]:
        """Without one a row is what it holds."""
        return self.shape.key or tuple(column.name for column in self.columns)

    @property
    def _day(self) -> str:
        return rowhash.day(f"t.{quoted(self.time_column)}") if self.time_column else "0::bigint"

    @property
    def _same_day(self) -> str:
        """What all moments of one day have in common; cheaper, row by row, than to count the days."""
        if self.time_column is None:
            return "0::bigint"
        column, kind = f"t.{quoted(self.time_column)}", self.types[self.time_column]
        return column if kind == "date" else f"date_bin('1 day', {column}, {rowhash.EPOCH}::{kind})"

    @property
    def _counted(self) -> str:
        """The day's number, once for what was grouped."""
        return rowhash.day("at") if self.time_column else "at"

    @property
    def types(self) -> dict[str, str]:
        return {column.name: column.plain for column in self.shape.columns}

    @property
    def _hash(self) -> str:
        return chained(self.columns)

    def _part(self, parts: int) -> str:
        """Of the key, or of what alone tells rows apart: that costs least."""
        names = (EVENT_ID,) if EVENT_ID in self.key else self.key
        key = [column for name in names if (column := self.shape.column(name))]
        return f"({chained(key)} & {parts - 1})"

    def buckets(self, seen: str = "") -> str:
        """(bucket, n, one, other) of each day. `seen` is a condition on t.xmin."""
        of_days = _summed("at", f"{self._same_day} AS at", self._hash, self._rows((seen,)))
        return f"SELECT {self._counted} AS bucket, n, one, other FROM ({of_days}) d"

    def later(self, seen: str) -> str:
        """(bucket, n): rows of each day that were written later than what is `seen`."""
        rows = self._rows((f"NOT ({seen})",))
        return f"SELECT bucket, count(*) AS n FROM (SELECT {self._day} AS bucket FROM {rows}) q GROUP BY bucket"

    def ranges(self, days: Iterable[int], parts: int, seen: str = "") -> str:
        """The same of each key range of some days, (bucket, part, n, one, other)."""
        values = f"{self._same_day} AS at, {self._part(parts)} AS part"
        of_parts = _summed("at, part", values, self._hash, self._rows((seen, self._of_days(days))))
        return f"SELECT {self._counted} AS bucket, part, n, one, other FROM ({of_parts}) d"

    def rows(self, ranges: Iterable[tuple[int, int]], parts: int) -> str:
        """(key, hash, xid) of every row of some key ranges; the key as texts, the hash as one."""
        of_days: dict[int, list[str]] = {}
        for day, part in ranges:
            of_days.setdefault(day, []).append(str(part))
        several = len(of_days) > 1
        inside = " OR ".join(
            f"{f'{self._between(day, day)} AND ' if several else ''}{self._part(parts)} IN ({', '.join(some)})"
            for day, some in of_days.items()
        )
        xid = "t.xmin::text::bigint" if self.versions else "0"
        rows = self._rows((self._of_days(of_days), f"({inside})"))
        return f"SELECT {self._key} AS key, {self._hash}::text AS hash, {xid} AS xid FROM {rows}"

    def values(self, keys: Iterable[tuple[str | None, ...]]) -> str:
        """(key, values) of some rows, every value as a text."""
        shown = ", ".join(f"t.{quoted(column.name)}::text" for column in self.columns)
        some = " OR ".join(f"({self._is(key)})" for key in keys)
        return f"SELECT {self._key} AS key, json_build_array({shown}) AS values FROM {self._rows((some,))}"

    @property
    def _key(self) -> str:
        return f"json_build_array({', '.join(f't.{quoted(name)}::text' for name in self.key)})"

    def _is(self, key: tuple[str | None, ...]) -> str:
        types = {column.name: column.type for column in self.shape.columns}
        return " AND ".join(
            f"t.{quoted(name)} = {literal(value)}::{types[name]}" if value is not None else f"t.{quoted(name)} IS NULL"
            for name, value in zip(self.key, key, strict=True)
        )

    def _rows(self, conditions: Iterable[str]) -> str:
        return f"{self.shape.rows} AS t{filtered(*conditions)}"

    def _of_days(self, days: Iterable[int]) -> str:
        """Only those, and no chunk of others is read: of conditions in an OR nothing is known before they are asked."""
        days = sorted(set(days))
        if self.time_column is None:
            return ""
        runs, around = _runs(days), self._between(days[0], days[-1])
        if len(runs) == 1:
            return around
        if len(runs) > MOST_RUNS:
            return f"{around} AND {self._day} IN ({', '.join(map(str, days))})"
        return f"{around} AND ({' OR '.join(f'({self._between(*run)})' for run in runs)})"

    def _between(self, first: int, last: int) -> str:
        return rowhash.between(f"t.{quoted(self.time_column)}", str(first), str(last)) if self.time_column else "true"


def _runs(days: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of days that follow one another; the days are in order."""
    runs: list[tuple[int, int]] = []
    for day in days:
        if runs and runs[-1][1] == day - 1:
            runs[-1] = runs[-1][0], day
        else:
            runs.append((day, day))
    return runs


def parts_for(rows: int) -> int:
    """How many key ranges a day of so many rows is divided into: a power of two."""
    wanted = max(1, rows // PART_ROWS)
    return min(MOST_PARTS, 1 << (wanted - 1).bit_length())


def _summed(by: str, values: str, row_hash: str, rows: str) -> str:
    # OFFSET 0: else the planner puts the hash in the place of each use of it, and it is computed twice.
    hashed = f"SELECT {values}, {row_hash} AS h FROM {rows} OFFSET 0"
    sums = f"sum({rowhash.mixed('h', 1)})::text AS one, bit_xor(h)::text AS other"
    return f"SELECT {by}, count(*) AS n, {sums} FROM ({hashed}) q GROUP BY {by}"


