"""What the report draws, worked out to coordinates: the templates only place what they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from drills.judging.result import DrillResult, Marks
from drills.measuring.events import Acked, By, Event
from drills.measuring.measure import Phase
from drills.measuring.rates import Rates, rates
from drills.page.shapes import (
    Marker,
    Scale,
    Tick,
    ceiling,
    markers,
    rate_ticks,
    stepped_area,
    text_width,
    tick_step,
    time_ticks,
)

WIDTH, LEFT, RIGHT = 1000.0, 64.0, 12.0
_ROW = 17.0  # one row of marker labels
_HEAD = 3 * _ROW + 6
_UNRESUMED = 10.0  # seconds shown of a pause that never ended
_BUCKETS = 160  # about as many as a reader can tell apart over the whole drill


@dataclass(frozen=True, slots=True)
class Panel:
    top: float
    bottom: float
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """One acknowledgement a tick."""

    label: str
    kind: str
    top: float
    xs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Silence:
    x: float
    width: float
    label: str


@dataclass(frozen=True, slots=True)
class RateChart:
    """Store and outbox stacked in `plot`.

    The rows replayed later have `replay` to themselves, or lanes do in the close view.
    """

    height: float
    bucket_s: float
    ticks: tuple[Tick, ...]
    markers: tuple[Marker, ...]
    plot: Panel
    store: str
    outbox: str
    replay: Panel | None = None
    replayed: str = ""
    lanes: tuple[Lane, ...] = ()
    silence: Silence | None = None
    width: float = WIDTH
    left: float = LEFT
    right: float = WIDTH - RIGHT


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    seconds: float
    kind: str
    x: float
    width: float
    y: float = 0.0
    label: str = ""
    label_x: float = 0.0
    label_anchor: str = "start"


@dataclass(frozen=True, slots=True)
class PhaseChart:
    """A strip of the whole drill.

    Below it the recovery alone, stretched over the full width (`recovery` is its part of the strip).
    """

    height: float
    strip: tuple[Bar, ...]
    bars: tuple[Bar, ...]
    recovery: tuple[float, float] | None
    ticks: tuple[Tick, ...]
    top: float
    bottom: float
    left: float
    width: float = WIDTH


def overview(result: DrillResult, events: Sequence[Event]) -> RateChart | None:
    """The whole drill; None without a ledger that acknowledged something."""
    acks = _acks(events)
    if not acks or result.marks.clock is None:
        return None
    start, end = acks[0].at, acks[-1].at
    step = max(tick_step(max(end - start, 1.0), _BUCKETS), 0.5, _calm_bucket(acks))
    return _chart(_whole_buckets(acks, start, end, step, result.marks), result, replay=True)


def close_view(result: DrillResult, events: Sequence[Event]) -> RateChart | None:
    """The seconds around the fault in tenths, every acknowledgement as a tick.

    None when there was no fault.
    """
    acks, marks = _acks(events), result.marks
    if not acks or marks.clock is None or marks.fault is None:
        return None
    resumed = _resumptions(marks)
    latest = max(resumed, default=marks.fault + _UNRESUMED)
    reach = max((latest - marks.fault) * 0.35, 1.5) if resumed else 1.5
    start = max(marks.clock + marks.fault - reach, acks[0].at)
    end = min(marks.clock + latest + reach, max(acks[-1].at, marks.clock + latest))
    step = max(tick_step(max(end - start, 1.0), 100), 0.1, _calm_bucket(acks))
    return _chart(_whole_buckets(acks, start, end, step, marks), result, replay=False, acks=acks)


def phase_chart(result: DrillResult) -> PhaseChart | None:
    """None without phases that lasted."""
    every = [phase for phase in result.phases if phase.seconds >= 0]
    end = max((phase.start_s + phase.seconds for phase in every), default=0.0)
    if end <= 0:
        return None
    whole = Scale(0.0, end, 0.0, WIDTH)
    strip = tuple(_strip_bar(phase, whole, result.marks) for phase in every)
    recovery = [phase for phase in every if phase_kind(phase, result.marks) in ("fault", "recovery")]
    if not recovery:
        return PhaseChart(30, strip, (), None, (), 0, 0, 0)
    low, high = recovery[0].start_s, max(phase.start_s + phase.seconds for phase in recovery)
    left = max(text_width(phase.name) for phase in recovery) + 28
    scale = Scale(low, max(high, low + 0.001), left, WIDTH - 64)
    top, row = 66.0, 25.0
    bars = tuple(
        _row_bar(phase, scale, top + 8 + row * at, result.marks) for at, phase in enumerate(recovery)
    )
    bottom = top + 8 + row * len(bars)
    return PhaseChart(
        height=bottom + 24,
        strip=strip,
        bars=bars,
        recovery=(whole(low), max(whole(high), whole(low) + 2)),
        ticks=time_ticks(scale, result.marks.fault if result.marks.fault is not None else low, 8),
        top=top,
        bottom=bottom,
        left=left,
    )


def phase_kind(phase: Phase, marks: Marks) -> str:
    """normal, fault, recovery (up to the first row that the store took again) or after.

    What the colours say.
    """
    fault = marks.fault
    if fault is None or phase.start_s < fault - 0.01:
        return "normal"
    resumed = max(_resumptions(marks), default=fault)
    if phase.start_s + phase.seconds / 2 >= resumed:  # marks and acknowledgements may differ by milliseconds
        return "after"
    return "fault" if phase.name.startswith(("fault", "detect")) else "recovery"


def _whole_buckets(acks: Sequence[Acked], start: float, end: float, step: float, marks: Marks) -> Rates:
    """Buckets that the window fills, the fault on a border: a half-filled one would look like a slump."""
    zero = start if marks.fault is None or marks.clock is None else marks.clock + marks.fault
    first = math.ceil((start - zero) / step)
    last = max(math.floor((end - zero) / step), first + 1)
    return rates(acks, zero + first * step, zero + last * step, step)


def _calm_bucket(acks: Sequence[Acked]) -> float:
    """A bucket that holds at least two usual batches, so that their rhythm does not look like a stutter."""
    apart = [
        after.at - before.at for before, after in pairwise(ack for ack in acks if ack.by is not By.REPLAYED)
    ]
    usual = 2 * median(apart) if apart else 0.0
    return tick_step(usual, 1) if usual > 0 else 0.0


def _resumptions(marks: Marks) -> list[float]:
    """When writing came back: the first row on the new primary, and the end of the longest pause."""
    ends = (marks.first_new_primary_ack, marks.store_gap[1] if marks.store_gap else None)
    return [at for at in ends if at is not None]


def _chart(found: Rates, result: DrillResult, *, replay: bool, acks: Sequence[Acked] = ()) -> RateChart:
    marks = result.marks
    assert marks.clock is not None  # both callers looked
    start, count = found.start - marks.clock, len(found.store)
    time = Scale(start, start + count * found.step, LEFT, WIDTH - RIGHT)
    xs = [time(start + k * found.step) for k in range(count + 1)]
    plot_bottom = _HEAD + (170 if replay else 150)
    both = [store + outbox for store, outbox in zip(found.store, found.outbox, strict=True)]
    rate = Scale(0.0, ceiling(both), plot_bottom, _HEAD)
    base, middle = [plot_bottom] * count, [rate(value) for value in found.store]
    top = [rate(value) for value in both]
    replay_panel, replayed = _replay(found, xs, plot_bottom + 26) if replay else (None, "")
    lanes = () if replay else _lanes(acks, time, marks.clock, plot_bottom + 16)
    below = replay_panel.bottom if replay_panel else (lanes[-1].top + 16 if lanes else plot_bottom)
    return RateChart(
        height=below + 24,
        bucket_s=found.step,
        ticks=time_ticks(time, marks.fault if marks.fault is not None else start),
        markers=markers(time, _moments(marks), _ROW, 0.0),
        plot=Panel(_HEAD, plot_bottom, rate_ticks(rate)),
        store=stepped_area(xs, base, middle),
        outbox=stepped_area(xs, middle, top),
        replay=replay_panel,
        replayed=replayed,
        lanes=lanes,
        silence=_silence(marks, time),
    )


def _replay(found: Rates, xs: Sequence[float], top: float) -> tuple[Panel | None, str]:
    if not any(found.replayed):
        return None, ""
    bottom = top + 64
    scale = Scale(0.0, ceiling(found.replayed, 2), bottom, top)
    heights = [scale(value) for value in found.replayed]
    return Panel(top, bottom, rate_ticks(scale, 2)), stepped_area(xs, [bottom] * len(heights), heights)


def _lanes(acks: Sequence[Acked], time: Scale, clock: float, top: float) -> tuple[Lane, ...]:
    lanes: list[Lane] = []
    for by, label in ((By.STORE, "store"), (By.OUTBOX, "outbox"), (By.REPLAYED, "replayed")):
        at = [ack.at - clock for ack in acks if ack.by is by]
        xs = sorted({round(time(moment), 0) for moment in at if time.low <= moment <= time.high})
        lanes.append(Lane(label, by.value, top + 22 * len(lanes), tuple(xs)))
    return tuple(lanes)


def _silence(marks: Marks, time: Scale) -> Silence | None:
    if marks.store_gap is None:
        return None
    start, end = marks.store_gap
    x = time(start)
    return Silence(x, max(time(end) - x, 1.0), f"{end - start:.2f} s")


def _moments(marks: Marks) -> tuple[tuple[float | None, str, str], ...]:
    return (
        (marks.fault, "fault", "fault"),
        (marks.failover, _after("recovery starts", marks.failover, marks.fault), "failover"),
        (
            marks.first_new_primary_ack,
            _after("first row on the new primary", marks.first_new_primary_ack, marks.fault),
            "resumed",
        ),
    )


def _after(label: str, at: float | None, fault: float | None) -> str:
    return label if at is None or fault is None else f"{label} +{at - fault:.2f} s"


def _strip_bar(phase: Phase, scale: Scale, marks: Marks) -> Bar:
    x, width = scale(phase.start_s), scale(phase.start_s + phase.seconds) - scale(phase.start_s)
    label = f"{phase.name} {_seconds(phase.seconds)}"
    fits = next((text for text in (label, phase.name) if text_width(text) + 12 <= width), "")
    return Bar(phase.name, phase.seconds, phase_kind(phase, marks), x, round(max(width, 1.0), 2), label=fits)


def _row_bar(phase: Phase, scale: Scale, y: float, marks: Marks) -> Bar:
    x = scale(phase.start_s)
    width = max(scale(phase.start_s + phase.seconds) - x, 2.0)
    return Bar(
        phase.name,
        phase.seconds,
        phase_kind(phase, marks),
        x,
        round(width, 2),
        y,
        label=_seconds(phase.seconds),
        label_x=round(x + width + 6, 2),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def _acks(events: Sequence[Event]) -> tuple[Acked, ...]:
    return tuple(event for event in events if isinstance(event, Acked))
