"""Turn ledger events into numbers: how long the store was silent, how long anybody was, what came back and
when.

Every time is monotonic seconds on the ledger's clock. What was not seen is an error, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from drills.measuring.events import Acked, By, Event
from inventories.errors import VerificationFailed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gap:
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Mark:
    """A phase begins; the next mark ends it."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Phase:
    """Seconds, and seconds since the drill's start."""

    name: str
    seconds: float
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Moments:
    """When the drill did what, on the ledger's clock; None for what did not happen."""

    start: float
    fault: float
    detected: float | None = None
    failover: float | None = None
    stop_asked: float | None = None  # the feed was asked to stop: silence after this is wanted


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds and rows; None where there was nothing to measure, and then `problems` has the sentence when
    there should have been.
    """

    moments: Moments
    store_gap: Gap | None
    ack_gap: Gap | None
    first_new_primary_ack: Acked | None
    rto_from_fault_s: float | None
    rto_from_failover_s: float | None
    detection_s: float | None
    rows_per_s: float | None
    timeline_before: int | None
    timeline_after: int | None
    stale_acks: int  # rows that an older timeline acknowledged after a newer one had begun: two primaries
    problems: tuple[str, ...] = ()

    @property
    def rto_s(self) -> float | None:
        return self.store_gap.seconds if self.store_gap else None

    @property
    def max_ack_gap_s(self) -> float | None:
        return self.ack_gap.seconds if self.ack_gap else None

    @property
    def timeline_changed(self) -> bool:
        before, after = self.timeline_before, self.timeline_after
        return before is not None and after is not None and after > before


def measure(events: Sequence[Event], moments: Moments) -> Measured:
    """All the numbers of one drill; a number that cannot be had becomes a sentence in `problems`."""
    acks = _acks(events)
    problems: list[str] = []
    new = first_new_primary_ack(acks, moments.fault)
    return Measured(
        moments=moments,
        store_gap=_or_problem(lambda: store_gap(acks, moments.fault, moments.stop_asked), problems),
        ack_gap=_or_problem(lambda: ack_gap(acks, moments.stop_asked), problems),
        first_new_primary_ack=new,
        rto_from_fault_s=_since(moments.fault, new),
        rto_from_failover_s=_since(moments.failover, new),
        detection_s=None if moments.detected is None else moments.detected - moments.fault,
        rows_per_s=_or_problem(lambda: rows_per_s(acks), problems),
        timeline_before=_highest(ack for ack in acks if ack.at <= moments.fault),
        timeline_after=_highest(ack for ack in acks if ack.at > moments.fault),
        stale_acks=stale_acks(acks),
        problems=tuple(dict.fromkeys(problems)),
    )


def longest(measured: Sequence[Measured]) -> Measured:
    """Several stores as one: the longest silence of any of them, what all of them took, the first one's timelines."""
    first, *others = measured
    for other in others:
        gaps = [gap for gap in (first.store_gap, other.store_gap) if gap]
        waits = [gap for gap in (first.ack_gap, other.ack_gap) if gap]
        known = first.rows_per_s is not None and other.rows_per_s is not None
        first = replace(
            first,
            store_gap=max(gaps, key=lambda gap: gap.seconds) if len(gaps) == 2 else None,
            ack_gap=max(waits, key=lambda gap: gap.seconds) if len(waits) == 2 else None,
            rows_per_s=(first.rows_per_s or 0) + (other.rows_per_s or 0) if known else None,
            problems=tuple(dict.fromkeys((*first.problems, *other.problems))),
        )
    return first


def longest_gap(times: Iterable[float]) -> Gap:
    """The longest silence between two neighbours; VerificationFailed when there are fewer than two."""
    ordered = sorted(times)
    if len(ordered) < 2:
        raise VerificationFailed(f"A gap needs two acknowledgements, and there were {len(ordered)}.")
    return max((Gap(*pair) for pair in pairwise(ordered)), key=lambda gap: gap.seconds)


def store_gap(acks: Sequence[Acked], fault: float, until: float | None = None) -> Gap:
    """The longest silence of the store that had not ended when the fault came: the RTO. `until` cuts off the
    wanted silence at the end.

    VerificationFailed when the store was silent before the fault already, or for ever after it.
    """
    times = [ack.at for ack in acks if ack.by_store and (until is None or ack.at <= until)]
    before, after = [at for at in times if at <= fault], [at for at in times if at > fault]
    if not before:
        raise VerificationFailed(
            "The store acknowledged nothing before the fault, so the fault interrupted nothing."
        )
    if not after:
        raise VerificationFailed("The store acknowledged nothing after the fault: writing never resumed.")
    return longest_gap([max(before), *after, *([] if until is None else [until])])


def ack_gap(acks: Sequence[Acked], until: float | None = None) -> Gap:
    """The longest time a client waited for an acknowledgement of either kind.

    Replay acknowledges nothing new, so it does not count.
    """
    times = [ack.at for ack in acks if ack.by is not By.REPLAYED and (until is None or ack.at <= until)]
    if until is not None and times:
        times.append(until)
    return longest_gap(times)


def first_new_primary_ack(acks: Sequence[Acked], fault: float) -> Acked | None:
    """The first rows after the fault that a higher timeline than any before it took.

    The failover really happened between them.
    """
    before = _highest(ack for ack in acks if ack.at <= fault)
    if before is None:
        return None
    newer = (ack for ack in acks if ack.at > fault and ack.timeline is not None and ack.timeline > before)
    return min(newer, key=lambda ack: ack.at, default=None)


def stale_acks(acks: Sequence[Acked]) -> int:
    """Rows acknowledged by an older timeline after a newer one had acknowledged.

    (A replayed line may be told late, so it does not count.)
    """
    newest, stale = 0, 0
    for ack in acks:
        if ack.by is not By.STORE or ack.timeline is None:
            continue
        stale += ack.n if ack.timeline < newest else 0
        newest = max(newest, ack.timeline)
    return stale


def rows_per_s(acks: Sequence[Acked]) -> float:
    """Rows acknowledged (each once) a second, from the first acknowledgement to the last."""
    fresh = [ack for ack in acks if ack.by is not By.REPLAYED]
    if len(fresh) < 2 or fresh[-1].at <= fresh[0].at:
        raise VerificationFailed(f"A rate needs two acknowledgements, and there were {len(fresh)}.")
    return sum(ack.n for ack in fresh[1:]) / (fresh[-1].at - fresh[0].at)


def phases(marks: Sequence[Mark], end: float) -> tuple[Phase, ...]:
    """Marks in order of time, the last one ended by `end`; ValueError when they go backwards."""
    starts = [mark.at for mark in marks]
    ends = [*starts[1:], end]
    if any(after < before for before, after in zip(starts, ends, strict=False)):
        raise ValueError("the marks of the phases are not in order of time")
    return tuple(
        Phase(mark.name, stop - mark.at, mark.at - starts[0]) for mark, stop in zip(marks, ends, strict=False)
    )


def _acks(events: Iterable[Event]) -> tuple[Acked, ...]:
    return tuple(event for event in events if isinstance(event, Acked))


def _highest(acks: Iterable[Acked]) -> int | None:
    return max((ack.timeline for ack in acks if ack.timeline is not None), default=None)


def _since(moment: float | None, ack: Acked | None) -> float | None:
    return None if moment is None or ack is None else ack.at - moment


def _or_problem(number: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return number()
    except VerificationFailed as problem:
        problems.append(str(problem))
        return None
