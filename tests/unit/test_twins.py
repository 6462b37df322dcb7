"""When a negative twin holds: its fault happened, and what is wrong is what it was built for, and seconds at most."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drills.course import Course, Plan
from drills.judging.compare import Comparison, TableComparison
from drills.judging.result import DrillResult, NegativeTwin, Objectives, Outcome, Verify
from drills.judging.verdict import judge
from drills.measuring.pressure import Pressure
from drills.run import with_twin
from drills.scenarios.catalogue import SCENARIOS, TWINS
from drills.scenarios.parts import Twin
from inventories.errors import DrError, TimedOut, VerificationFailed
from tests.unit.sample_drill import begun, power_loss

LET_GO, DEAF = TWINS["third-let-go"], TWINS["deaf-alarm"]
BUSY = Pressure(9.0, 0.95, 0.4, 0.1, 0.0, 0.0, 0.0, 0.01)


@pytest.fixture(scope="module")
def lost() -> DrillResult:
    """Every promise was kept but that no row is lost."""
    result = power_loss()[0].model_copy(update={"negative_twin": None})
    return result.with_comparison(Comparison((TableComparison("ticks", 900, 7, 0, 0),)))


def held(result: DrillResult, twin: Twin = LET_GO) -> NegativeTwin:
    found = with_twin(result, twin).negative_twin
    assert found is not None
    return found


def test_it_holds_for_the_reason_it_was_built_for(lost: DrillResult) -> None:
    assert held(lost).held
    assert judge(with_twin(lost, LET_GO)).reasons == ("7 of 900 acknowledged rows are lost in ticks (number ).",)


@pytest.mark.parametrize(
    "slow", [{"rto_s": 11.83}, {"rto_s": 11.83, "pressure": BUSY}, {"rows_per_s": 900.0, "max_ack_gap_s": 4.0}]
)
def test_seconds_that_were_missed_may_stand_beside_it_and_are_told(lost: DrillResult, slow: dict[str, object]) -> None:
    found = held(lost.model_copy(update=slow))
    assert found.held
    assert "; " in found.reason and "promised was" in found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"rto_s": None},
        {"objectives": Objectives(detection_s=3), "detection_s": None},
        {"verify": Verify(passed=9, failed=1)},
        {"timeline_changed": False},
        {"reasons": ("the feed died",)},
        {"outcome": Outcome.INTERRUPTED},
    ],
)
def test_whatever_else_is_wrong_was_not_asked_for(lost: DrillResult, wrong: dict[str, object]) -> None:
    assert not held(lost.model_copy(update=wrong)).held


def test_slowness_alone_is_not_its_reason_nor_is_a_drill_that_passed(lost: DrillResult) -> None:
    whole = lost.with_comparison(Comparison((TableComparison("ticks", 900, 0, 0, 0),)))
    assert held(whole) == NegativeTwin(name=LET_GO.name, held=False, reason="it passed")
    assert not held(whole.model_copy(update={"rto_s": 11.83})).held


def test_it_does_not_hold_where_its_fault_never_happened(lost: DrillResult) -> None:
    """An alarm stays away from a drill that broke off before its fault, too."""
    assert not held(lost.model_copy(update={"fault_at": None})).held


def silent(twin: Twin | None, error: DrError) -> Course:
    """A drill of which the alarm, its own or the twin's, ends with this."""

    def detect(_: object) -> str:
        raise error

    said: Any = SimpleNamespace(fact=lambda *_: None, mark=lambda _: 1.0, say=lambda _: None, run_dir=Path())
    scenario = cast(Any, SimpleNamespace(detect=detect))
    own = twin and Twin(twin.name, twin.says, twin.reason, twin.scenario, detect=detect)
    result = begun("disk-full").model_copy(update={"objectives": Objectives(detection_s=60)})
    return Course(scenario, own, Plan(), said, random.Random(1), result)


def test_an_alarm_that_stays_away_is_recorded() -> None:
    assert silent(None, TimedOut("waited 60 s for ./dr status to tell")).detect() is None
    assert silent(DEAF, VerificationFailed("the newest backup is young enough")).detect() is None


def test_a_twin_that_waits_for_its_fault_in_vain_has_shown_nothing() -> None:
    with pytest.raises(TimedOut):
        silent(DEAF, TimedOut("waited 60 s for an archiver that fails")).detect()


def test_every_twin_names_a_reason_that_is_not_the_time_a_drill_takes() -> None:
    """Else it would be set aside with what a busy machine misses."""
    assert all(twin.scenario in SCENARIOS for twin in TWINS.values())
    slow = "Longest pause of the store (RTO) was 11.83 s; promised was at most 5 s."
    assert [name for name, twin in TWINS.items() if twin.is_why([slow])] == []
