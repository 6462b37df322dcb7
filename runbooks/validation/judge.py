"""Which rows of two servers differ for good, and which of them only moved while they were being read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

Key = tuple[str | None, ...]  # a value as text each


@dataclass(frozen=True)
class Version:
    """A row as one server has it: its hash, and the lower half of the number of the transaction that wrote it."""

    hash: str
    xid: int


Rows = Mapping[Key, Version]


class Kind(StrEnum):
    """What is wrong with the other side's row."""

    MISSING = "missing"
    ALTERED = "altered"
    EXTRA = "extra"


@dataclass(frozen=True)
class Judged:
    """`wrong` by key; `moving` are rows that nobody can judge, as they changed between the looks, `rewritten` such that
    were written again since the base was made: whether what they have now is right no copy of before can tell.
    """

    wrong: Mapping[Key, Kind]
    moving: frozenset[Key]
    rewritten: frozenset[Key] = frozenset()


def judge(
    before: Rows, other: Rows, after: Rows, settled: Callable[[int], bool], moves: bool, grows: bool = False
) -> Judged:
    """Hold the other side's rows against a base that was read before it and after it.

    The other side has everything that the base had when it was read first. A row of the base that is the same version
    both times was that version all the while, and the other side must have it. A row that the base has neither time
    must have been written by a transaction that was not `settled` at the first look. Everything else has moved.

    With `moves` False the base stands still (a restored copy) and the other side has gone on from there: a version
    that was written later supersedes the base's, unless the table only `grows`: nobody writes a row of it again.
    """
    wrong: dict[Key, Kind] = {}
    moving, rewritten = set(), set()
    for key in before.keys() | other.keys() | after.keys():
        first, has, last = before.get(key), other.get(key), after.get(key)
        if has is not None and has in (first, last):
            continue
        if first != last:
            moving.add(key)
        elif first is None:
            assert has is not None
            if settled(has.xid):
                wrong[key] = Kind.EXTRA
            elif moves:
                moving.add(key)
        elif has is None:
            wrong[key] = Kind.MISSING
        elif has.hash != first.hash and (moves or grows or settled(has.xid)):
            wrong[key] = Kind.ALTERED
        elif has.hash != first.hash:
            rewritten.add(key)
    return Judged(wrong, frozenset(moving), frozenset(rewritten))
