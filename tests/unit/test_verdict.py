from __future__ import annotations

from datetime import timedelta

import pytest

from drills.judging.compare import Comparison, TableComparison
from drills.judging.result import Check, CheckOutcome, DrillResult, NegativeTwin, Objectives, Outcome, Verify
from drills.judging.verdict import judge, objectives
from drills.measuring.measure import Moments, measure
from drills.measuring.ranges import RangeSet
from drills.measuring.tally import Feed, LedgerView
from tests.unit.sample_drill import STARTED, begun, failed, power_loss, refused


@pytest.fixture(scope="module")
def passed() -> DrillResult:
    return power_loss()[0]


def again(result: DrillResult, **changes: object) -> DrillResult:
    return judge(result.model_copy(update=changes))


def test_a_drill_that_kept_every_promise_passes(passed: DrillResult) -> None:
    assert (passed.outcome, passed.reasons) == (Outcome.PASSED, ())
    assert (passed.lost, passed.rpo_rows, passed.duplicated, passed.timeline_changed) == (0, 0, 0, True)
    assert passed.fault_at == STARTED + timedelta(seconds=24.37)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"acked": 0}, "Nothing was acknowledged, so nothing was proven."),
        ({"acked": None}, "Nothing was acknowledged, so nothing was proven."),
        ({"lost": None}, "The ledger was not compared with the tables."),
        ({"rto_s": 5.01}, "Longest pause of the store (RTO) was 5.01 s; promised was at most 5 s."),
        ({"rto_s": None}, "Longest pause of the store (RTO) was not measured; promised was at most 5 s."),
        (
            {"rows_per_s": 4100.0},
            "Rows acknowledged a second was 4,100 rows/s; promised was at least 5,000 rows/s.",
        ),
        (
            {"objectives": Objectives(rto_s=5, detection_s=60), "detection_s": None},
            "Time from the fault to the alarm is unknown, because no alarm was raised; promised was at most 60 s.",
        ),
        (
            {"objectives": Objectives(rto_s=5, detection_s=1)},
            "Time from the fault to the alarm was 1.21 s; promised was at most 1 s.",
        ),
        ({"objectives": Objectives()}, "No objective was set, so none was met."),
        ({"verify": Verify()}, "Nothing was verified."),
        ({"verify": Verify(passed=9, failed=1)}, "1 check of the verification failed."),
        (
            {"timeline_changed": False},
            "The timeline did not change (before 1, after 2): no failover was proven.",
        ),
        ({"reasons": ("pg1 logged a PANIC.",)}, "pg1 logged a PANIC."),
        (
            {"negative_twin": NegativeTwin(name="leaky fence", held=False, reason="it passed")},
            "The negative twin leaky fence did not fail for its reason: it passed",
        ),
    ],
)
def test_each_broken_promise_fails_with_its_own_sentence(
    passed: DrillResult, changes: dict[str, object], reason: str
) -> None:
    judged = again(passed, **changes)
    assert (judged.outcome, judged.reasons) == (Outcome.FAILED, (reason,))


def test_lost_and_duplicated_rows_are_told_by_table() -> None:
    result, _ = failed()
    assert result.outcome is Outcome.FAILED
    assert result.reasons == (
        "1 of 165,251 acknowledged rows is lost in order_records (number 4294967295).",
        "2 rows are in daily_kline more than once.",
        "Longest pause of the store (RTO) was 2.44 s; promised was at most 2 s.",
        "1 check of the verification failed: the old primary refuses writes.",
    )


def test_rows_that_a_restore_should_have_taken_back_fail_with_their_numbers(passed: DrillResult) -> None:
    too_late = TableComparison("a", 5, 0, 0, 0, rolled_back=3, returned=1, returned_ids=RangeSet([(7, 7)]))
    judged = judge(passed.with_comparison(Comparison((too_late,))))
    assert judged.reasons == (
        "1 row of a acknowledged after the restore's target is there: it did not stop where it should (number 7).",
    )


def test_duplicates_fail_only_where_their_absence_was_promised(passed: DrillResult) -> None:
    twice = Comparison((TableComparison("a", 5, 0, 3, 0),))
    assert judge(passed.with_comparison(twice)).outcome is Outcome.FAILED
    assert judge(passed.with_comparison(twice, may_duplicate=frozenset({"a"}))).outcome is Outcome.PASSED


def test_a_failed_procedure_fails_the_drill_whatever_was_measured(passed: DrillResult) -> None:
    assert again(passed, outcome=Outcome.FAILED).outcome is Outcome.FAILED


def test_refused_and_interrupted_stay_what_they_are() -> None:
    assert judge(refused()) == refused()
    assert judge(begun()).outcome is Outcome.INTERRUPTED


def test_a_new_drill_claims_nothing() -> None:
    result = begun()
    assert (result.acked, result.lost, result.duplicated, result.rto_s) == (None, None, None, None)
    assert len(judge(result.model_copy(update={"outcome": Outcome.PASSED})).reasons) >= 8


def test_troubles_of_the_feed_are_reasons() -> None:
    view = LedgerView(
        acked=5, feed=Feed.DIED, malformed=2, first_malformed="no 'kind': {}", outbox_pending=None
    )
    assert begun().with_feed(view).reasons == (
        "The feed died before it was asked to stop.",
        "2 lines of the feed could not be read; the first: no 'kind': {}",
    )
    pending = LedgerView(acked=5, feed=Feed.STOPPED, outbox_pending=7)
    assert begun().with_feed(pending).reasons == ("The outbox still held 7 rows when the feed stopped.",)


def test_what_could_not_be_measured_is_a_reason() -> None:
    result = begun().with_measured(measure((), Moments(start=0.0, fault=1.0)))
    assert result.rto_s is None
    assert result.reasons[0].startswith("The store acknowledged nothing before the fault")


def test_checks_add_up() -> None:
    one = Check(name="a", outcome=CheckOutcome.PASSED)
    result = begun().with_checks((one,)).with_checks((Check(name="b", outcome=CheckOutcome.SKIPPED), one))
    assert result.verify == Verify(passed=2, failed=0, skipped=1)


def test_margins_say_how_much_room_was_left(passed: DrillResult) -> None:
    by_key = {objective.key: objective for objective in objectives(passed)}
    assert by_key["rto_s"].margin == pytest.approx(5 - (passed.rto_s or 0))
    assert by_key["rows_per_s"].margin == pytest.approx((passed.rows_per_s or 0) - 5000)
    assert all(objective.met for objective in by_key.values())
