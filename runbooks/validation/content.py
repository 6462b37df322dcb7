"""Compare the content of two copies of a database: by day, where days differ by key range, there row by row.

The base is read in one snapshot, and the other side once it has everything that the base had: what was written later
is left out of its hashes by the number of the transaction that wrote it. What differs all the same is looked at again,
with the base read before and after, so that a difference is one and no row that was written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from inventories.errors import Refused
from runbooks.probes.postgresql.tables import Server
from runbooks.validation import yielding
from runbooks.validation.baseline import date_of
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.hashing import Hashed, parts_for
from runbooks.validation.judge import Judged, Key, Kind, Rows, Version, judge
from runbooks.validation.questions import Answer
from runbooks.validation.snapshot import NAME, QUESTION, Snapshot, snapshot_of

LOOKS = 6  # at what differs, before it is said that it changed during each of them
RANGES_AT_ONCE = 64
MOST_WRONG = 100  # rows of one table that are told by their keys; there are more in it then
SHOWN = 20  # of them by their values
MOST_MEANWHILE = 1 << 28  # transactions, far more than one look lasts

Ranges = tuple[tuple[int, int], ...]
_Values = list[list[Any]]  # of every row of one key: one, unless its index is broken


@dataclass(frozen=True)
class Copies:
    """Both sides. `follows`: the other one is a standby of the base, and goes on as the base does; else the base stands
    still and the other side has gone on from it. Seconds for one look, and for the standby to come so far. With
    `every_row` no bucket is passed over because its hashes are the same. Of `growing` tables no row is written again.
    """

    base: Server
    other: Server
    follows: bool
    look_s: float
    wait_s: float = 60
    every_row: bool = False
    growing: frozenset[str] = frozenset()


@dataclass
class _Of:
    """What is known of one table while it is looked at."""

    hashed: Hashed
    rows: int = 0
    days: dict[int, int] = field(default_factory=dict)  # those that differ, and about how many rows they have
    parts: int = 1
    ranges: Ranges = ()
    wrong: dict[Key, Kind] = field(default_factory=dict)
    moving: frozenset[Key] = frozenset()
    rewritten: frozenset[Key] = frozenset()
    hidden: frozenset[int] = frozenset()  # days that differ as a whole, and in no key range
    more: int = 0  # key ranges that differ and were not looked at, as enough was found
    refused: str = ""


def compare(copies: Copies, tables: Iterable[Hashed], say: Callable[[str], object]) -> Looked:
    """Every difference of these tables. Raises Refused where the two are no copies of each other, DrError."""
    found = {one.shape.name: _Of(one) for one in tables}
    say(f"Hashing {len(found)} tables on both sides")
    _by_day(copies, found)
    for _ in range(LOOKS):
        open_ones = {name: one for name, one in found.items() if one.days}
        if not open_ones:
            break
        say(f"Looking closer at {', '.join(open_ones)}")
        _by_range(copies, open_ones)
    for one in found.values():
        _by_row(copies, one)
    return _told(copies, found)


def _ask(server: Server, asked: Mapping[str, str], copies: Copies, snapshot: bool = True) -> dict[str, Answer]:
    return yielding.ask(server, {NAME: QUESTION, **asked}, copies.look_s, snapshot)


def _then(asked: Mapping[str, str], copies: Copies, snapshot: Snapshot) -> dict[str, Answer]:
    """Ask the other side, once it has everything that the base had.

    A standby table by table: a snapshot of all would hold its replay up for as long as all of them take, and what was
    written later is left out anyway.
    """
    if copies.follows:
        yielding.replayed(copies.other, snapshot.lsn, copies.wait_s)
    return _ask(copies.other, asked, copies, snapshot=not copies.follows)


def _both(
    copies: Copies, asked: Callable[[str], Mapping[str, str]]
) -> tuple[Snapshot, dict[str, Answer], dict[str, Answer]]:
    """`asked` gives the questions for a condition on who wrote a row; the other side's answers are of the same rows."""
    base = _ask(copies.base, asked(""), copies)
    snapshot = snapshot_of(base)
    other = _then(asked(snapshot.seen("t.xmin")), copies, snapshot)
    _same_system(copies, snapshot, snapshot_of(other))
    return snapshot, base, other


def _same_system(copies: Copies, base: Snapshot, other: Snapshot) -> None:
    if base.system != other.system:
        raise Refused(
            f"{copies.base.host} and {copies.other.host} are no copies of each other: their systems are "
            f"{base.system} and {other.system}",
            "./dr status shows what each is",
        )
    if base.version != other.version:
        raise Refused(
            f"{copies.base.host} has PostgreSQL {base.version} and {copies.other.host} has {other.version}, "
            "which may hash the same row to other numbers",
            "compare copies of one version",
        )


def _by_day(copies: Copies, found: Mapping[str, _Of]) -> None:
    _, base, other = _both(copies, lambda seen: {name: one.hashed.buckets(seen) for name, one in found.items()})
    for name, one in found.items():
        if not _answered(one, name, base, other):
            continue
        ours, theirs = _sums(base[name], ("bucket",)), _sums(other[name], ("bucket",))
        one.rows = sum(int(n) for n, *_ in ours.values())
        one.days = {key[0]: _size(ours, theirs, key) for key in _open(copies, ours, theirs)}


def _by_range(copies: Copies, found: Mapping[str, _Of]) -> None:
    """Of days that differ it is known then which key ranges do; others have moved while they were read."""
    for one in found.values():
        one.parts = parts_for(max(one.days.values()))
    _, base, other = _both(
        copies, lambda seen: {name: one.hashed.ranges(one.days, one.parts, seen) for name, one in found.items()}
    )
    for name, one in found.items():
        if not _answered(one, name, base, other):
            continue
        ours, theirs = _sums(base[name], ("bucket", "part")), _sums(other[name], ("bucket", "part"))
        off = _open(copies, ours, theirs)
        few = copies.every_row or len(off) <= RANGES_AT_ONCE or len(off) >= len(one.ranges) > 0
        one.ranges = tuple((bucket, part) for bucket, part in off)
        if not copies.follows:  # nothing moves there: they were read by an index that lacks some
            one.hidden |= one.days.keys() - {bucket for bucket, _ in off}
        # Few are looked at row by row; of many some may have moved, and another look tells fewer.
        one.days = {} if few else {bucket: one.days.get(bucket, 0) for bucket, _ in off}


def _by_row(copies: Copies, one: _Of) -> None:
    for at in range(0, len(one.ranges), RANGES_AT_ONCE):
        if len(one.wrong) >= MOST_WRONG:
            one.more = len(one.ranges) - at
            return
        _look(copies, one, one.ranges[at : at + RANGES_AT_ONCE])


def _look(copies: Copies, one: _Of, ranges: Ranges) -> None:
    """Row by row, again as long as rows move."""
    asked = {"rows": one.hashed.rows(ranges, one.parts)}
    judged, grows = Judged({}, frozenset()), one.hashed.shape.name in copies.growing
    before = _ask(copies.base, asked, copies)
    for _ in range(LOOKS):
        snapshot = snapshot_of(before)
        other = _then(asked, copies, snapshot)
        after = _ask(copies.base, asked, copies) if copies.follows else before
        if not _answered(one, "rows", before, other, after):
            return
        settled = partial(snapshot.settled, unknown=_unknown(copies, snapshot, snapshot_of(other)))
        judged = judge(_rows(before), _rows(other), _rows(after), settled, copies.follows, grows)
        one.wrong |= judged.wrong
        before = after
        if not judged.moving - one.wrong.keys():
            break
    one.moving |= judged.moving - one.wrong.keys()
    one.rewritten |= judged.rewritten


def _unknown(copies: Copies, base: Snapshot, other: Snapshot) -> int:
    """The number of a transaction that nobody could have begun when the other side was read.

    A standby is read in statements that each see what there is by then: of those nobody knows the last one.
    """
    return base.xmin + MOST_MEANWHILE if copies.follows else other.xmax


def _rows(answers: Mapping[str, Answer]) -> Rows:
    """A key that is there twice has one version, of both hashes: only a broken index lets that be."""
    found: dict[Key, Version] = {}
    for row in answers["rows"].rows or ():
        key, this = tuple(row["key"]), Version(row["hash"], int(row["xid"]))
        there = found.get(key)
        if there is not None:
            this = Version(" ".join(sorted([*there.hash.split(), this.hash])), max(there.xid, this.xid))
        found[key] = this
    return found


def _answered(one: _Of, name: str, *sides: Mapping[str, Answer]) -> bool:
    for side in sides:
        answer = side.get(name, Answer(None, "no answer"))
        if answer.rows is None:
            one.refused, one.days, one.ranges = answer.why, {}, ()
            return False
    return True


def _sums(answer: Answer, by: tuple[str, ...]) -> dict[tuple[int, ...], tuple[int, str, str]]:
    return {
        tuple(int(row[name]) for name in by): (int(row["n"]), row["one"], row["other"]) for row in answer.rows or ()
    }


def _open(copies: Copies, ours: Mapping[Any, object], theirs: Mapping[Any, object]) -> list[Any]:
    """Buckets that have to be looked into."""
    every = ours.keys() | theirs.keys()
    return sorted(key for key in every if copies.every_row or ours.get(key) != theirs.get(key))


def _size(ours: Mapping[Any, tuple[int, str, str]], theirs: Mapping[Any, tuple[int, str, str]], key: Any) -> int:
    return max(side[key][0] for side in (ours, theirs) if key in side)


def _told(copies: Copies, found: Mapping[str, _Of]) -> Looked:
    differences = [one for of in found.values() for one in _of_table(copies, of)]
    told = [
        ("changed during every look", {name: len(one.moving) for name, one in found.items()}),
        ("were written again since, with other values", {name: len(one.rewritten) for name, one in found.items()}),
    ]
    unknown = [
        f"{', '.join(f'{number:,} rows of {name}' for name, number in some.items() if number)} {why}"
        for why, some in told if any(some.values())
    ]  # fmt: skip
    return Looked(
        Check.CONTENT, "rows", sum(one.rows for one in found.values()), "", tuple(differences),
        unknown="; ".join(unknown),
    )  # fmt: skip


def _of_table(copies: Copies, one: _Of) -> Iterable[Difference]:
    name = one.hashed.shape.name
    if one.refused:
        yield Difference(Check.CONTENT, name, "rows", "an answer", one.refused)
    for day in sorted(one.hidden):
        what = f"rows of {date_of(day)}" if one.hashed.time_column else "rows"
        found = "others, which no key range shows: an index may lack rows (pg_amcheck --heapallindexed)"
        yield Difference(Check.CONTENT, name, what, "the same", found)
    keys = sorted(one.wrong, key=lambda key: tuple(map(_text, key)))
    values = _values(copies, one.hashed, keys[:SHOWN])
    for key in keys[:MOST_WRONG]:
        yield from _of_row(one, key, *(side.get(key) for side in values))
    if len(keys) > MOST_WRONG or one.more:
        more = f"{len(keys) - min(len(keys), MOST_WRONG):,} rows more, and {one.more:,} key ranges that differ"
        yield Difference(Check.CONTENT, name, "further rows", "the same", more)


def _values(copies: Copies, hashed: Hashed, keys: list[Key]) -> tuple[dict[Key, _Values], dict[Key, _Values]]:
    def of(server: Server) -> dict[Key, _Values]:
        rows = _ask(server, {"values": hashed.values(keys)}, copies)["values"].rows if keys else None
        found: dict[Key, _Values] = {}
        for row in rows or ():
            found.setdefault(tuple(row["key"]), []).append(row["values"])
        return found

    return of(copies.base), of(copies.other)


def _of_row(one: _Of, key: Key, base: _Values | None, other: _Values | None) -> Iterable[Difference]:
    name, kind = one.hashed.shape.name, one.wrong[key]
    row = "row " + ", ".join(f"{column}={value}" for column, value in zip(one.hashed.key, key, strict=True))
    if kind is Kind.MISSING:
        yield Difference(Check.CONTENT, name, row, _shown(base), "no such row")
    elif kind is Kind.EXTRA:
        yield Difference(Check.CONTENT, name, row, "no such row", _shown(other))
    elif base is None or other is None:
        yield Difference(Check.CONTENT, name, row, "the same values", "others")
    elif len(base) != len(other):
        yield Difference(Check.CONTENT, name, row, f"there {len(base)} times", f"there {len(other)} times")
    else:
        yield from _of_columns(one, row, base[0], other[0])


def _of_columns(one: _Of, row: str, base: list[Any], other: list[Any]) -> Iterable[Difference]:
    name, columns = one.hashed.shape.name, [column.name for column in one.hashed.columns]
    off = [(c, a, b) for c, a, b in zip(columns, base, other, strict=True) if a != b]
    for column, ours, theirs in off:
        yield Difference(Check.CONTENT, name, f"{row}: {column}", _text(ours), _text(theirs))
    if not off:
        yield Difference(Check.CONTENT, name, row, "the same bytes", "others that are written alike")


def _shown(rows: _Values | None) -> str:
    if not rows:
        return "a row"
    return f"({', '.join(map(_text, rows[0]))})" + (f", {len(rows)} times" if len(rows) > 1 else "")


def _text(value: Any) -> str:
    return "NULL" if value is None else str(value)
