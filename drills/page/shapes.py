"""Geometry for the report's hand-made SVG: scales, ticks, stepped areas, labels that never overlap.

Units are SVG user units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_CHARACTER = 6.6  # width of one at 12 px: a generous guess, since the reader's font is unknown


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps low..high of the data onto first..last of the drawing."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + min(max(share, 0.0), 1.0) * (self.last - self.first), 2)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A vertical line with its label in a row of its own above the plot."""

    x: float
    label_x: float
    label_y: float
    anchor: str
    label: str
    kind: str


def tick_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that needs at most `most` steps over the span."""
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def time_ticks(scale: Scale, zero: float, most: int = 10) -> tuple[Tick, ...]:
    """Ticks in seconds relative to `zero`, which gets one of its own when it is in the window."""
    step = tick_step(scale.high - scale.low, most)
    first = math.ceil((scale.low - zero) / step - 1e-9)
    last = math.floor((scale.high - zero) / step + 1e-9)
    return tuple(Tick(scale(zero + k * step), _signed(k * step)) for k in range(first, last + 1))


def rate_ticks(scale: Scale, most: int = 4) -> tuple[Tick, ...]:
    step = tick_step(scale.high, most)
    return tuple(
        Tick(scale(k * step), thousands(k * step)) for k in range(math.floor(scale.high / step + 1e-9) + 1)
    )


def ceiling(values: Sequence[float], most: int = 4) -> float:
    """A round number at or above the highest value; 1 when there is none."""
    top = max(values, default=0.0)
    if top <= 0:
        return 1.0
    step = tick_step(top, most)
    return math.ceil(top / step - 1e-9) * step


def stepped_area(xs: Sequence[float], lower: Sequence[float], upper: Sequence[float]) -> str:
    """A path between two staircases; xs has one more entry than the others.

    Buckets without height are left out.
    """
    parts = []
    at = 0
    while at < len(upper):
        if upper[at] == lower[at]:
            at += 1
            continue
        end = at
        while end < len(upper) and upper[end] != lower[end]:
            end += 1
        there = [f"H{xs[k]}V{upper[k]}H{xs[k + 1]}" for k in range(at, end)]
        back = [f"V{lower[k]}H{xs[k]}" for k in reversed(range(at, end))]
        parts.append(f"M{xs[at]} {lower[at]}" + "".join(there) + "".join(back) + "Z")
        at = end
    return "".join(parts)


Moment = tuple[float | None, str, str]  # time, label, kind


def markers(scale: Scale, moments: Sequence[Moment], row: float, top: float) -> tuple[Marker, ...]:
    """Moments as lines, each label in its own row so that close ones do not collide."""
    placed: list[Marker] = []
    for at, label, kind in moments:
        if at is None or not scale.low <= at <= scale.high:
            continue
        x, y = scale(at), top + row * (len(placed) + 0.72)
        right = x + 8 + text_width(label) <= scale.last
        label_x, anchor = (x + 6, "start") if right else (x - 6, "end")
        placed.append(Marker(x, round(label_x, 2), round(y, 2), anchor, label, kind))
    return tuple(placed)


def text_width(text: str) -> float:
    return len(text) * _CHARACTER


def thousands(value: float) -> str:
    return f"{value:,.0f}" if value == 0 or value >= 1 else f"{value:g}"


def _signed(seconds: float) -> str:
    value = f"{abs(seconds):.10g}"
    sign = "" if abs(seconds) < 1e-9 else ("+" if seconds > 0 else "\N{MINUS SIGN}")
    return f"{sign}{value} s"
