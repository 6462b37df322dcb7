"""Which rows of a feed have the same natural key: in a table that keeps the newest row of a key, one replaces another.

A feed numbers its rows over all tables and counts the keys of each table apart, both from where it was started: the
same key has the same number in every run that began at the beginning, and another one in a feed that was started again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from drills.measuring.ranges import RangeSet


@dataclass(frozen=True)
class Numbering:
    """One start of a feed: its numbers and its keys begin behind `first`; `batch` is how many rows of which table come
    in turn. Of a feed that did not say it a row's key is its number.
    """

    first: int = 0
    batch: Mapping[str, int] = field(default_factory=dict)

    def pieces(self, table: str, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """The numbers first..last of a table, as runs of neighbouring keys: first number, last number, first key."""
        if table not in self.batch:
            yield first, last, first
            return
        before, mine, rows = 0, self.batch[table], sum(self.batch.values())
        for name, count in self.batch.items():
            if name == table:
                break
            before += count
        while first <= last:
            nr, at = divmod(first - self.first - 1 - before, rows)
            end = min(last, first + mine - 1 - at)
            yield first, end, self.first + nr * mine + at
            first = end + 1 + (rows - mine)


def keys(starts: Iterable[Numbering], table: str, numbers: RangeSet) -> RangeSet:
    """The keys of these rows."""
    return RangeSet((key, key + last - first) for first, last, key in _pieces(starts, table, numbers))


def without(starts: Iterable[Numbering], table: str, numbers: RangeSet, taken: RangeSet) -> RangeSet:
    """Those of these rows whose key is not taken."""
    rest = RangeSet()
    for first, last, key in _pieces(starts, table, numbers):
        for low, high in RangeSet([(key, key + last - first)]).difference(taken).ranges():
            rest.add(low - key + first, high - key + first)
    return rest


def _pieces(starts: Iterable[Numbering], table: str, numbers: RangeSet) -> Iterator[tuple[int, int, int]]:
    ordered = sorted(starts, key=lambda start: start.first)
    for first, last in numbers.ranges():
        begun = [start for start in ordered if start.first < first] or ordered[:1]
        yield from begun[-1].pieces(table, first, last)
