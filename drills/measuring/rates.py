"""Acknowledged rows a second over time, told apart by who acknowledged: what the report draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from drills.measuring.events import Acked, By, Event


@dataclass(frozen=True, slots=True)
class Rates:
    """Rows/s in buckets of `step` seconds from `start` on (monotonic seconds).

    The three series are equally long.
    """

    start: float
    step: float
    store: tuple[float, ...]
    outbox: tuple[float, ...]
    replayed: tuple[float, ...]


def rates(events: Iterable[Event], start: float, end: float, step: float = 0.1) -> Rates:
    """Sum the rows that arrived in each bucket; what lies outside start..end is left out.

    ValueError for an empty window.
    """
    if end <= start or step <= 0:
        raise ValueError(f"no buckets of {step} s between {start} and {end}")
    count = math.ceil((end - start) / step - 1e-9)
    sums = {by: [0] * count for by in By}
    for event in events:
        if isinstance(event, Acked) and start <= event.at < end:
            sums[event.by][min(int((event.at - start) / step), count - 1)] += event.n
    store, outbox, replayed = (
        tuple(rows / step for rows in sums[by]) for by in (By.STORE, By.OUTBOX, By.REPLAYED)
    )
    return Rates(start, step, store, outbox, replayed)
