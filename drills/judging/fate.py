"""What should have become of each acknowledged row: there, taken back by a restore to a point, or excused by a promise.

A restore brings back what was committed before its target and nothing after it. The ledger says which rows those are:
the store acknowledges by timeline, so what an old timeline took after the target must be gone, what the outbox held
and a newer timeline took must be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from drills.measuring.events import Acked, By, Event
from drills.measuring.ranges import RangeSet

Ids = dict[str, RangeSet]


@dataclass(frozen=True)
class Target:
    """The point that a restore goes back to: the last number of each table that was committed before it.

    `timeline` is the one on which that happened. A table that is not named keeps nothing of the run.
    """

    timeline: int
    last: Mapping[str, int]


@dataclass(frozen=True)
class Window:
    """Loss that was promised to be possible: acknowledged by the store since `since` (monotonic seconds) on a timeline
    that is gone. What was in the repository by then is not excused, so `since` is no earlier than that.
    """

    timeline: int
    since: float


@dataclass(frozen=True)
class Fate:
    """Numbers by table: `required` must be there, `rolled_back` must not; `excusable` ones may be missing."""

    required: Ids
    rolled_back: Ids = field(default_factory=dict)
    excusable: Ids = field(default_factory=dict)


def fate(events: Iterable[Event], target: Target | None = None, window: Window | None = None) -> Fate:
    """Judge every acknowledged row of a ledger; without target and window all of them are required."""
    acks = [event for event in events if isinstance(event, Acked)]
    acked = _sum(ack for ack in acks if ack.by is not By.REPLAYED)
    rolled_back: Ids = {}
    excusable: Ids = {}
    if target:
        taken = _sum(ack for ack in acks if _on(ack, target.timeline))
        after = {table: ids.difference(_up_to(target.last.get(table, 0))) for table, ids in taken.items()}
        rolled_back = _without(after, _newer(acks, target.timeline))
    if window:
        late = _sum(ack for ack in acks if _on(ack, window.timeline) and ack.at >= window.since)
        early = _sum(ack for ack in acks if _on(ack, window.timeline) and ack.at < window.since)
        excusable = _without(_without(late, early), _newer(acks, window.timeline))
    return Fate(_without(acked, rolled_back), _kept(rolled_back), _kept(excusable))


def oldest_ack(events: Iterable[Event], missing: Mapping[str, RangeSet]) -> float | None:
    """When the first of these rows was acknowledged (monotonic seconds); None when there are none."""
    held = {table: ids for table, ids in missing.items() if ids}
    for event in events:
        if isinstance(event, Acked) and event.by is not By.REPLAYED and _touches(event, held):
            return event.at
    return None


def _touches(ack: Acked, missing: Mapping[str, RangeSet]) -> bool:
    return any(
        len(RangeSet([pair]).difference(missing[table])) < pair[1] - pair[0] + 1
        for table, pair in ack.rows.items()
        if table in missing
    )


def _on(ack: Acked, timeline: int) -> bool:
    return ack.timeline is not None and ack.timeline <= timeline


def _newer(acks: Iterable[Acked], timeline: int) -> Ids:
    return _sum(ack for ack in acks if ack.timeline is not None and ack.timeline > timeline)


def _sum(acks: Iterable[Acked]) -> Ids:
    found: Ids = {}
    for ack in acks:
        for table, pair in ack.rows.items():
            found.setdefault(table, RangeSet()).add(*pair)
    return found


def _up_to(last: int) -> RangeSet:
    return RangeSet([(1, last)]) if last > 0 else RangeSet()


def _without(ids: Ids, others: Ids) -> Ids:
    return {table: mine.difference(others.get(table, RangeSet())) for table, mine in ids.items()}


def _kept(ids: Ids) -> Ids:
    return {table: mine for table, mine in ids.items() if mine}
