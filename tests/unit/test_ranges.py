from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.measuring.ranges import Range, RangeSet

_RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair))))


def _ids(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(_RANGES)
def test_it_holds_exactly_what_was_added(ranges: list[Range]) -> None:
    kept = RangeSet(ranges)
    assert list(kept) == sorted(_ids(ranges))
    assert len(kept) == len(_ids(ranges))
    assert all((number in kept) == (number in _ids(ranges)) for number in range(-1, 72))


@given(_RANGES, st.integers(0, 60), st.integers(0, 9))
def test_adding_tells_how_many_were_new(ranges: list[Range], first: int, more: int) -> None:
    fresh = set(range(first, first + more + 1)) - _ids(ranges)
    assert RangeSet(ranges).add(first, first + more) == len(fresh)


@given(_RANGES)
def test_ranges_are_sorted_and_never_touch(ranges: list[Range]) -> None:
    pairs = list(RangeSet(ranges).ranges())
    assert all(before[1] + 1 < after[0] for before, after in pairwise(pairs))


@given(_RANGES, _RANGES)
def test_difference_is_the_difference_of_sets(left: list[Range], right: list[Range]) -> None:
    rest = RangeSet(left).difference(RangeSet(right))
    assert set(rest) == _ids(left) - _ids(right)
    assert rest == RangeSet((number, number) for number in _ids(left) - _ids(right))


def test_a_copy_lives_its_own_life() -> None:
    first = RangeSet([(1, 3)])
    twin = first.copy()
    twin.add(9, 9)
    assert list(first) == [1, 2, 3]
    assert twin.last() == 9


def test_a_backward_range_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot end at 1 before it starts at 2"):
        RangeSet().add(2, 1)


def test_a_sample_is_short() -> None:
    assert RangeSet([(7, 7), (12, 15)]).sample() == "7, 12-15"
    assert RangeSet((number, number) for number in range(0, 20, 2)).sample(2) == "0, 2 and 8 more ranges"
