"""Waiting for what makes progress: as long as it moves, and no longer than it stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import TargetFailed, TimedOut, Unreachable
from runbooks.engine import runner
from runbooks.engine.context import Context
from runbooks.engine.moving import while_it_moves
from runbooks.engine.outcome import Outcome
from tests.unit.engine_kit import BUDGETS, Bench, Trail, World, happened, procedure, step


class Time:
    """A clock that only a pause moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    clock = Time()
    monkeypatch.setattr("time.sleep", clock.sleep)
    yield clock


def copy(time: Time, rate: float, until_s: float = 1e9) -> Callable[[], float]:
    """Bytes copied so far, by a copy that stands still after `until_s` seconds."""
    return lambda: rate * min(time.now, until_s)


def test_what_makes_progress_is_waited_for_beyond_any_constant(time: Time) -> None:
    done = while_it_moves(
        copy(time, 100), 5, what="a copy", accept=lambda size: size >= 100 * 86400, far=lambda size: size, every=4,
        clock=time,
    )  # fmt: skip
    assert done >= 100 * 86400
    assert time.now >= 86400


def test_what_stands_still_is_given_up_and_says_what_was_seen(time: Time) -> None:
    with pytest.raises(TimedOut, match=r"a copy: nothing has moved for 30 s; last seen: 1000") as told:
        while_it_moves(
            copy(time, 100, until_s=10), 30, what="a copy", accept=lambda size: size > 1e6, far=lambda size: size,
            hint="look at its disk", every=1, clock=time,
        )  # fmt: skip
    assert 40 <= time.now <= 43
    assert told.value.hint == "look at its disk"


def test_a_trickle_is_no_progress(time: Time) -> None:
    """A program that only says now and then that it waits moves bytes, too."""
    with pytest.raises(TimedOut):
        while_it_moves(
            copy(time, 1), 60, what="a copy", accept=lambda _: False, far=lambda size: size, least=1000, every=1,
            clock=time,
        )  # fmt: skip


def test_what_begins_anew_counts_as_moving(time: Time) -> None:
    sizes = iter([9000, 10, 9000, 10, 9000])
    with pytest.raises(StopIteration):
        while_it_moves(
            lambda: next(sizes), 5, what="a copy", accept=lambda _: False, far=lambda size: size, every=4, clock=time
        )


def test_a_line_that_is_away_for_a_while_is_waited_for_and_one_that_stays_away_is_told(time: Time) -> None:
    def away() -> float:
        if 5 < time.now < 25 or time.now > 60:
            raise Unreachable("pg1 cannot be reached over SSH")
        return time.now

    with pytest.raises(TimedOut, match="last seen: pg1 cannot be reached"):
        while_it_moves(away, 30, what="a copy", accept=lambda _: False, far=lambda size: size, every=1, clock=time)
    assert time.now > 80


def test_an_error_of_the_thing_itself_ends_it_at_once(time: Time) -> None:
    def broken() -> float:
        raise TargetFailed("no space left on device")

    with pytest.raises(TargetFailed):
        while_it_moves(broken, 30, what="a copy", accept=bool, far=lambda size: size, clock=time)
    assert time.now == 0


def _waits(seconds: float, silent: float) -> Callable[[Context[Any, Any], Trail], Trail]:
    """An action that waits for a copy of so many seconds, over a budget of five."""

    def action(context: Context[Any, Any], state: Trail) -> Trail:
        while_it_moves(
            context.clock, silent, what="a copy", accept=lambda now: now >= seconds, far=lambda now: now, every=1,
            granted=context.granted.add, clock=context.clock,
        )  # fmt: skip
        assert context.remaining() == pytest.approx(5.0, abs=0.1)
        context.estate.add("copy")
        return state

    return action


def bench(tmp_path: Path) -> Bench:
    return Bench(World(tmp_path / "world"), tmp_path / "runs")


def _run(bench: Bench, clock: Time, copying: Any) -> Any:
    folder = bench.runs / "run"
    folder.mkdir(parents=True)
    context = replace(bench.context(folder), clock=clock)
    return runner.run(procedure(step("copy", action=copying, evidence=happened("copy"))), context, budgets=BUDGETS)


def test_a_step_is_not_late_for_the_seconds_in_which_its_work_moved(time: Time, tmp_path: Path) -> None:
    result = _run(bench(tmp_path), time, _waits(3600, 30))
    assert (result.outcome, time.now >= 3600) == (Outcome.PASSED, True)


def test_a_step_is_late_for_everything_else(time: Time, tmp_path: Path) -> None:
    def dawdles(context: Context[Any, Any], state: Trail) -> Trail:
        state = _waits(3600, 30)(context, state)
        time.sleep(6)
        return state

    result = _run(bench(tmp_path), time, dawdles)
    assert result.outcome is Outcome.FAILED
    assert "over its budget quick of 5 s" in result.error
