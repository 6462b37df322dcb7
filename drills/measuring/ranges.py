"""Sets of row numbers as ranges.

A million acknowledged rows are a few hundred pairs, not a million Python ints.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]  # first and last, both included


class RangeSet:
    """Integers kept as sorted, disjoint, never touching ranges."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> int:
        """Add first..last, both included; give how many of them were new. ValueError when last < first."""
        if last < first:
            raise ValueError(f"a range cannot end at {last} before it starts at {first}")
        # Neighbours that overlap or touch: every range with last >= first-1 and first <= last+1.
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        merged = range(low, high)
        held = sum(self._lasts[at] - self._firsts[at] + 1 for at in merged)
        if merged:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]
        return last - first + 1 - held

    def update(self, other: RangeSet) -> None:
        """Add all that is in the other one."""
        for first, last in other.ranges():
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._firsts) and self._firsts[at] <= number

    def __len__(self) -> int:
        """How many integers are in the set (not how many ranges)."""
        return sum(last - first + 1 for first, last in self.ranges())

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges():
            yield from range(first, last + 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        return f"RangeSet({list(self.ranges())!r})"

    def ranges(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def copy(self) -> RangeSet:
        twin = RangeSet()
        twin._firsts, twin._lasts = self._firsts.copy(), self._lasts.copy()
        return twin

    def last(self) -> int | None:
        return self._lasts[-1] if self._lasts else None

    def difference(self, other: RangeSet) -> RangeSet:
        """What is here and not there."""
        rest = RangeSet()
        for first, last in self.ranges():
            at = bisect_left(other._lasts, first)
            while first <= last and at < len(other._firsts) and other._firsts[at] <= last:
                if first < other._firsts[at]:
                    rest.add(first, other._firsts[at] - 1)
                first = other._lasts[at] + 1
                at += 1
            if first <= last:
                rest.add(first, last)
        return rest

    def sample(self, most: int = 5) -> str:
        """The first few ranges in words, for a sentence: `7, 12-15 and 3 more ranges`."""
        pairs = list(self.ranges())
        words = [str(first) if first == last else f"{first}-{last}" for first, last in pairs[:most]]
        more = len(pairs) - most
        return ", ".join(words) + (f" and {more} more ranges" if more > 0 else "")
