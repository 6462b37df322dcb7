"""What the feed says, line by line, as types.

Parsed once, here, for the live ledger and for a ledger read back from disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from drills.measuring.ranges import Range


class By(StrEnum):
    """Who made the rows safe."""

    STORE = "store"  # a synchronously replicated commit
    OUTBOX = "outbox"  # the local, fsynced outbox
    REPLAYED = "replayed"  # held by the outbox before, committed to the store since


@dataclass(frozen=True, slots=True)
class Clock:
    """Ties the monotonic clock of a ledger to the wall clock; the ledger's first line."""

    at: float
    wall: str


@dataclass(frozen=True, slots=True)
class Started:
    """`first`: behind which its numbers and keys begin; `batch`: rows of each table in a batch, in their order, where
    the feed says it.
    """

    at: float
    run: int
    rate: float  # rows a second that it aims at
    tables: tuple[str, ...]
    first: int = 0
    batch: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acked:
    """Rows acknowledged, by table as first and last sequence number.

    Host and timeline are None for the outbox.
    """

    at: float
    by: By
    rows: Mapping[str, Range]
    n: int
    host: str | None
    timeline: int | None

    @property
    def by_store(self) -> bool:
        return self.by is not By.OUTBOX


@dataclass(frozen=True, slots=True)
class StoreDown:
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class StoreUp:
    at: float
    host: str
    timeline: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The feed ended by itself and said goodbye."""

    at: float
    acked: int
    outbox_pending: int


@dataclass(frozen=True, slots=True)
class Malformed:
    at: float
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The pipe closed; without a Stopped before it the feed died."""

    at: float


Event = Clock | Started | Acked | StoreDown | StoreUp | Stopped | Malformed | Ended
_TEXT_KEPT = 500


def parse_line(text: str, at: float) -> Event:
    """One line of the feed, or of a ledger file, arrived `at` (monotonic seconds). Never raises.

    What it cannot read is Malformed.
    """
    try:
        said = json.loads(text)
        if not isinstance(said, dict):
            raise TypeError("not an object")
        return _event(said, at)
    except KeyError as missing:
        return Malformed(at, text[:_TEXT_KEPT], f"no {missing}")
    except (ValueError, TypeError) as error:
        return Malformed(at, text[:_TEXT_KEPT], str(error))


def _event(said: dict[str, object], at: float) -> Event:
    kind = said["kind"]
    match kind:
        case "ack" | "replayed":
            return _acked(said, at)
        case "start":
            return _started(said, at)
        case "store_down":
            return StoreDown(at, _word(said["why"]))
        case "store_up":
            return StoreUp(at, _word(said["host"]), _whole(said["timeline"]))
        case "stop":
            return Stopped(at, _whole(said["acked"]), _whole(said["outbox_pending"]))
        case "clock":
            return Clock(at, _word(said["wall"]))
        case "malformed":
            return Malformed(at, _word(said["text"]), _word(said["why"]))
        case "eof":
            return Ended(at)
    raise ValueError(f"unknown kind {kind!r}")


def _started(said: dict[str, object], at: float) -> Started:
    first, batch = _whole(said.get("first", 0)), said.get("batch", {})
    if not isinstance(batch, dict):
        raise TypeError("batch is no object")
    counts = {table: _whole(count) for table, count in batch.items()}
    if first < 0 or any(count < 1 for count in counts.values()):
        raise ValueError(f"first {first} and batch {counts} number no rows")
    return Started(at, _whole(said["run"]), _number(said["rate"]), _tables(said["tables"]), first, counts)


def _acked(said: dict[str, object], at: float) -> Acked:
    by = By.REPLAYED if said["kind"] == "replayed" else _by(said["by"])
    rows = _rows(said["rows"])
    n = _whole(said["n"])
    spanned = sum(last - first + 1 for first, last in rows.values())
    if n != spanned:  # a range with holes in it would make holes look like lost rows
        raise ValueError(f"n is {n}, but the ranges span {spanned} rows")
    if by is By.OUTBOX:
        return Acked(at, by, rows, n, None, None)
    return Acked(at, by, rows, n, _word(said["host"]), _whole(said["timeline"]))


def _by(value: object) -> By:
    if value not in (By.STORE, By.OUTBOX):
        raise ValueError(f"by is {value!r}, neither store nor outbox")
    return By(str(value))


def _rows(value: object) -> dict[str, Range]:
    if not isinstance(value, dict) or not value:
        raise TypeError("rows is not an object with at least one table")
    return {_word(table): _range(pair) for table, pair in value.items()}


def _range(value: object) -> Range:
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("a range is not [first, last]")
    first, last = _whole(value[0]), _whole(value[1])
    if not 0 < first <= last:
        raise ValueError(f"[{first}, {last}] is not a range")
    return first, last


def _tables(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("tables is not a list")
    return tuple(_word(name) for name in value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value
