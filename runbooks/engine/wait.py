"""The one way to wait: ask, look, pause, ask again; the last attempt reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from inventories.errors import TimedOut, Unreachable
from runbooks.engine.budgets import seconds

T = TypeVar("T")
_SHOWN = 300  # characters of the last answer that go into the sentence


@dataclass(frozen=True)
class _LastSeen:
    """What the newest attempt brought: an answer, or an exception of a family that is retried."""

    text: str
    error: Exception | None = None


@overload
def until(
    probe: Callable[[], T | None],
    budget: str | float,
    *,
    what: str,
    every: float = ...,
    retry: tuple[type[Exception], ...] = ...,
    clock: Callable[[], float] = ...,
) -> T: ...


@overload
def until(
    probe: Callable[[], T],
    budget: str | float,
    *,
    what: str,
    accept: Callable[[T], object],
    every: float = ...,
    retry: tuple[type[Exception], ...] = ...,
    clock: Callable[[], float] = ...,
) -> T: ...


def until(
    probe: Callable[[], Any],
    budget: str | float,
    *,
    what: str,
    accept: Callable[[Any], object] = bool,
    every: float = 0.1,
    retry: tuple[type[Exception], ...] = (Unreachable,),
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """Call `probe` until `accept` holds for its answer, and return that answer.

    `budget` is a catalogue name or seconds (`context.remaining()` inside a step); `every` is the pause in
    seconds. Exceptions of the families in `retry` count as "not yet", all others propagate at once. There is
    always one attempt, and one more when the budget is used up: raises TimedOut, which says `what` and what
    was seen last.
    """
    allowed = seconds(budget)
    started = clock()
    while True:
        try:
            answer = probe()
            if accept(answer):
                return answer
            seen = _LastSeen(repr(answer))
        except retry as error:
            seen = _LastSeen(str(error) or repr(error), error)
        left = started + allowed - clock()
        if left <= 0:
            raise _too_late(what, budget, allowed, seen) from seen.error
        time.sleep(min(every, left))


def _too_late(what: str, budget: str | float, allowed: float, seen: _LastSeen) -> TimedOut:
    named = f" (budget {budget})" if isinstance(budget, str) else ""
    shown = seen.text if len(seen.text) <= _SHOWN else seen.text[:_SHOWN] + "…"
    return TimedOut(f"waited {max(allowed, 0):.3g} s{named} for {what}; last seen: {shown}")
