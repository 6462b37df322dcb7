"""The one wait primitive, and the budgets it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inventories.errors import BadInput, TargetFailed, TimedOut, Unreachable
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until


class Time:
    """A clock that only a pause moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    clock = Time()
    monkeypatch.setattr("time.sleep", clock.sleep)
    yield clock


def test_the_accepted_answer_is_returned_without_a_pause(time: Time) -> None:
    assert until(lambda: "streaming", 5, what="the standby", clock=time) == "streaming"
    assert time.pauses == []


def test_it_asks_again_until_the_answer_is_accepted(time: Time) -> None:
    lags = iter([300, 20, 0])
    assert until(lambda: next(lags), 5, accept=lambda lag: lag == 0, what="no lag", clock=time) == 0
    assert time.pauses == [0.1, 0.1]


def test_the_last_attempt_is_at_the_deadline_and_reports_what_it_saw(time: Time) -> None:
    asked: list[float] = []

    def probe() -> bool:
        asked.append(time.now)
        return False

    with pytest.raises(TimedOut, match=r"waited 1 s for the standby to stream; last seen: False"):
        until(probe, 1, every=0.4, what="the standby to stream", clock=time)
    assert asked == pytest.approx([0, 0.4, 0.8, 1.0])


def test_a_budget_that_is_used_up_still_allows_one_attempt(time: Time) -> None:
    assert until(lambda: True, 0, what="luck", clock=time)
    with pytest.raises(TimedOut):
        until(lambda: None, 0, what="luck", clock=time)


def test_an_exception_of_a_listed_family_is_retried(time: Time) -> None:
    answers: Iterator[Exception | str] = iter([Unreachable("no route"), "up"])

    def probe() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert until(probe, 5, what="pg2", clock=time) == "up"


def test_the_last_exception_is_what_was_seen_and_the_cause(time: Time) -> None:
    def probe() -> bool:
        raise Unreachable("no route to pg2")

    with pytest.raises(TimedOut, match="last seen: no route to pg2") as error:
        until(probe, 1, what="pg2", clock=time)
    assert isinstance(error.value.__cause__, Unreachable)


def test_any_other_exception_propagates_at_once(time: Time) -> None:
    def probe() -> bool:
        raise TargetFailed("wrong password")

    with pytest.raises(TargetFailed):
        until(probe, 5, what="pg2", clock=time)
    assert time.pauses == []


def test_a_long_answer_is_shortened(time: Time) -> None:
    with pytest.raises(TimedOut) as error:
        until(lambda: "x" * 5000, 0, accept=lambda _answer: False, what="less", clock=time)
    assert len(str(error.value)) < 400


def test_a_budget_is_looked_up_by_name_and_multiplied_on_slow_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {"promote": 10.0}
    assert budget("promote", table) == 10
    monkeypatch.setenv("DR_SLOW", "2.5")
    assert budget("promote", table) == 25


def test_an_unknown_budget_names_near_matches() -> None:
    with pytest.raises(BadInput, match="'promot'") as error:
        budget("promot", {"promote": 10, "fence": 5})
    assert "promote" in error.value.hint


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan", "inf"])
def test_a_slowness_that_is_no_positive_number_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DR_SLOW", text)
    with pytest.raises(BadInput, match="DR_SLOW"):
        budget("promote", {"promote": 10})
