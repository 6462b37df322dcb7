"""How a table's columns are now against what they were when a backup was taken: which of them a restore can write.

Columns are the same by their name and type; a wider text takes a narrower one. What has no place any more is named, and
written only where somebody said that it may stay behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.tdengine.backup.schema import SIZED, Shape, alike, plain


@dataclass(frozen=True)
class Fit:
    """`places`: the backup's columns that go, by number; `columns`: the same as the table has them; `lost`: why, of
    each column that does not; `exact`: a block goes as it is. `why_not`: no row can go.
    """

    places: tuple[int, ...]
    columns: tuple[tuple[str, str, bool], ...]
    lost: tuple[str, ...] = ()
    exact: bool = True
    why_not: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, *_ in self.columns)

    @property
    def keys(self) -> int:
        return sum(key for *_, key in self.columns)

    @property
    def event(self) -> int | None:
        """Where the event id is that says which of two rows under one key is newer; a key with the event in it has no
        two.
        """
        ids = (at for at, (name, kind, _) in enumerate(self.columns) if (name, kind) == ("event_id", "BIGINT"))
        return next(ids, None) if self.keys == 1 else None


def same(shape: Shape) -> Fit:
    """Of a table that is made as it was."""
    columns = tuple((str(name), str(kind), bool(key)) for name, kind, key in shape["columns"])
    return Fit(tuple(range(len(columns))), columns)


def judge(was: Shape, now: Shape) -> Fit:
    """Rows of `was` in a table that is `now`."""
    if alike(was, now):
        return same(was)
    why = _keys_differ(was, now)
    if why:
        return Fit((), (), why_not=why)
    there = {name: (name, kind, key) for name, kind, key in now["columns"]}
    places, columns, lost = [], [], []
    for at, (name, kind, key) in enumerate(was["columns"]):
        found = now["columns"][at] if key else there.get(name)
        if found is None:
            lost.append(f"{name} is not there any more")
        elif not _takes(found[1], kind):
            lost.append(f"{name} is {found[1]} now and was {kind}")
        else:
            places.append(at)
            columns.append((str(found[0]), str(found[1]), bool(found[2])))
    return Fit(tuple(places), tuple(columns), tuple(lost), exact=False)


def _keys_differ(was: Shape, now: Shape) -> str:
    """Why rows of one cannot be told apart in the other."""
    if bool(was["tags"]) != bool(now["tags"]):
        kinds = ("a plain table", "a supertable")
        return f"it is {kinds[bool(now['tags'])]} now and was {kinds[bool(was['tags'])]}"
    ours, theirs = ([kind for _, kind, key in one["columns"] if key] for one in (was, now))
    if len(ours) != len(theirs) or not all(map(_takes, theirs, ours)):
        return f"its key is {' and '.join(theirs)} now and was {' and '.join(ours)}"
    return ""


def _takes(now: str, was: str) -> bool:
    """Whether every value of one type is one of the other."""
    if plain(now) != plain(was) or plain(was) not in SIZED:
        return now == was
    return _length(now) >= _length(was)


def _length(kind: str) -> int:
    return int(kind.partition("(")[2].rstrip(")"))


def tags(was: Shape, now: Shape) -> list[tuple[int, str, str]]:
    """(place in the backup, name, type now) of each tag that there still is."""
    there: dict[str, Any] = dict(now["tags"])
    return [(at, name, there[name]) for at, (name, _) in enumerate(was["tags"]) if name in there]
