"""Whether what was promised has been proven lately, and with what is there now: pure, of records that were read."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from drills.calendar.versions import differences
from drills.evidence.results import Kind, Told
from inventories.catalog.recovery import Trend

CLOCKS = timedelta(minutes=1)  # by how much clocks may differ
_WHY = 2  # reasons that are told
_FEW = 3  # earlier drills, below which there is no median to speak of


class State(StrEnum):
    """From good to bad, but for the last, which is neither."""

    FRESH = "fresh"
    STALE = "stale"
    OVERDUE = "overdue"
    FAILED = "failed"
    NEVER = "never drilled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Wanted:
    """One cell of the calendar: `scenario` drilled in `place` every so many seconds, by `command`."""

    promise: str
    scenario: str
    place: str
    every_s: float
    command: str
    twin: bool = False

    @property
    def named(self) -> str:
        """The drill, as a person calls it."""
        if self.twin:
            return f"twin {self.scenario}"
        return self.scenario if self.scenario == self.promise else f"{self.promise} ({self.scenario})"


@dataclass(frozen=True)
class Now:
    """What a proof must hold for: `at`; `changes`: what has changed of a basis by its name, None where that is lost;
    `versions` of the estate, None where nobody says; `trend` as the catalogue has it.
    """

    at: datetime
    changes: Callable[[str], tuple[str, ...] | None]
    versions: Mapping[str, str] | None
    trend: Trend


@dataclass(frozen=True)
class Row:
    """`why` has a sentence for whatever is wrong; `age_s` is that of the last drill that passed, None without one;
    `grown` says by how much its RTO grew, empty where it did not.
    """

    wanted: Wanted
    state: State
    why: tuple[str, ...] = ()
    age_s: float | None = None
    last: Told | None = None
    rtos: tuple[float, ...] = ()
    grown: str = ""

    @property
    def good(self) -> bool:
        return self.state is State.FRESH

    @property
    def shortly(self) -> tuple[str, ...]:
        """Two reasons and how many more: a proof may be stale for a hundred files."""
        more = len(self.why) - _WHY
        return (*self.why[:_WHY], *([f"{more} more"] if more > 0 else []))


def row(wanted: Wanted, history: Sequence[Told], now: Now) -> Row:
    """Of everything that was recorded, oldest first."""
    told = [one for one in history if one.decides and _concerns(one, wanted)]
    good = [one for one in told if _good(one, wanted)]
    if not told:
        return Row(wanted, State.NEVER, (_never(wanted, history),))
    last, passed = told[-1], good[-1] if good else None
    age = now.at - passed.started_at if passed else None
    timed = () if wanted.twin else _comparable(good)
    rtos = tuple(one.rto_s for one in timed if one.rto_s is not None)
    state, why = _state(wanted, last, passed, now)
    grown = _grown(rtos, now.trend)
    return Row(wanted, state, why, age.total_seconds() if age else None, last, rtos, grown)


def _concerns(told: Told, wanted: Wanted) -> bool:
    if told.place != wanted.place:
        return False
    if wanted.twin:
        return told.twin == wanted.scenario and told.held is not None
    if told.kind is Kind.ROUNDS:
        return wanted.scenario in told.scenarios
    return not told.twin and (told.promise, told.scenario) == (wanted.promise, wanted.scenario)


def _good(told: Told, wanted: Wanted) -> bool:
    return bool(told.held) if wanted.twin else told.passed


def _never(wanted: Wanted, history: Sequence[Told]) -> str:
    """What was begun and came to nothing is told."""
    begun = [one for one in history if _concerns(one, wanted)]
    if begun:
        often = "once" if len(begun) == 1 else f"{len(begun)} times"
        return f"begun {often} and never finished, the last time {begun[-1].outcome.value}"
    return f"no drill of it in {wanted.place} is in the history"


def _state(wanted: Wanted, last: Told, passed: Told | None, now: Now) -> tuple[State, tuple[str, ...]]:
    if passed is not last or passed is None:
        what = "the twin did not fail for its reason" if wanted.twin else "the last drill failed"
        return State.FAILED, (f"{what} on {last.started_at:%Y-%m-%d}: {last.reason or 'no reason was recorded'}",)
    age = now.at - passed.started_at
    if age < -CLOCKS:
        return State.UNKNOWN, (f"it is dated {passed.started_at:%Y-%m-%d %H:%M} UTC, which is still to come",)
    late = (f"drilled {span(age.total_seconds())} ago, promised every {span(wanted.every_s)}",)
    overdue = late if age.total_seconds() > wanted.every_s else ()
    if wanted.twin:
        return (State.OVERDUE, overdue) if overdue else (State.FRESH, ())
    stale, unknown = _holds(passed, now)
    if overdue:
        return State.OVERDUE, (*overdue, *stale)
    if stale:
        return State.STALE, stale
    return (State.UNKNOWN, unknown) if unknown else (State.FRESH, ())


def _holds(told: Told, now: Now) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what has changed since by name, why nobody can tell)."""
    changed = now.changes(told.basis)
    if changed is None:
        changed = ("what code and catalogue it ran with is not kept",)
    if now.versions is None:
        return changed, ("nobody says which versions run now",)
    other = differences(told.versions, now.versions)
    if other is None:
        return changed, ("it does not say which versions it ran with",)
    return (*changed, *other), ()


def _comparable(told: Sequence[Told]) -> list[Told]:
    """Those that were promised seconds, and recovered by whoever recovered the newest."""
    timed = [one for one in told if one.promised_rto_s is not None]
    return [one for one in timed if one.acted == timed[-1].acted]


def _grown(rtos: Sequence[float], trend: Trend) -> str:
    before = rtos[:-1][-trend.runs :]
    if len(before) < _FEW:
        return ""
    usual, newest = statistics.median(before), rtos[-1]
    if newest <= usual * (1 + trend.grows_by):
        return ""
    more = f"{(newest / usual - 1) * 100:.0f} % above the median of the {len(before)} before"
    return f"RTO {newest:.2f} s is {more}, {usual:.2f} s"


def span(seconds: float) -> str:
    """`45 min`, `26 h`, `12 days`."""
    hours = seconds / 3600
    if hours < 2:
        return f"{max(seconds, 0) / 60:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
