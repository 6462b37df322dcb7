"""Wait for what takes as long as it takes: given up when nothing has moved for a while, never while it makes progress.

A constant budget is too short for a terabyte and too long for a disk that hangs. What is waited for here says how far
it is; only standing still ends the wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from inventories.errors import TimedOut, Unreachable
from runbooks.engine.budgets import seconds
from runbooks.engine.wait import until

T = TypeVar("T")


@dataclass
class _Watch(Generic[T]):
    """How far it was when it moved last, and when that was."""

    since: float
    far: float | None = None
    answer: T | None = None
    error: Exception | None = None

    def saw(self, answer: T, far: float, least: float, now: float) -> None:
        # What goes backwards has begun something new, which is progress too.
        if self.far is None or (far != self.far and abs(far - self.far) >= least):
            self.far, self.since = far, now
        self.answer, self.error = answer, None


def while_it_moves(
    probe: Callable[[], T],
    silent: str | float,
    *,
    what: str,
    accept: Callable[[T], object],
    far: Callable[[T], float],
    least: float = 1,
    hint: str = "",
    granted: Callable[[float], None] = lambda _: None,
    every: float = 0.1,
    retry: tuple[type[Exception], ...] = (Unreachable,),
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call `probe` until `accept` holds for its answer, and return that answer.

    `far` tells from an answer how far it is. When that has changed by less than `least` for `silent` (seconds, or a
    budget's name), or `probe` has raised one of `retry` all the time, TimedOut tells `what` and what was seen last.
    `granted` is told the seconds that were waited, whatever ends the wait.
    """
    allowed = seconds(silent)
    started = clock()
    watch: _Watch[T] = _Watch(started)

    def look() -> T | None:
        try:
            answer = probe()
        except retry as error:
            watch.error = error
        else:
            if accept(answer):
                return answer
            watch.saw(answer, far(answer), least, clock())
        if clock() - watch.since > allowed:
            seen = watch.error or watch.answer
            raise TimedOut(f"{what}: nothing has moved for {allowed:.3g} s; last seen: {seen}", hint) from watch.error
        return None

    try:
        return until(look, math.inf, what=what, every=every, retry=(), clock=clock)
    finally:
        granted(clock() - started)
