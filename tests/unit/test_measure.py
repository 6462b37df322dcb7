from __future__ import annotations

import pytest

from drills.measuring.events import Acked, By, Event, StoreDown
from drills.measuring.measure import (
    Mark,
    Moments,
    Phase,
    ack_gap,
    longest,
    longest_gap,
    measure,
    phases,
    rows_per_s,
    store_gap,
)
from drills.measuring.rates import rates
from inventories.errors import VerificationFailed


def acked(at: float, by: By = By.STORE, timeline: int | None = 1, n: int = 100) -> Acked:
    outbox = by is By.OUTBOX
    return Acked(at, by, {"orders": (1, n)}, n, None if outbox else "h", None if outbox else timeline)


# Store until 10.0, fault at 10.1, outbox from 10.4, new primary at 12.6 (replayed rows first), stop at 14.
FAILOVER: tuple[Event, ...] = (
    acked(9.0),
    acked(10.0),
    StoreDown(10.3, "timeout"),
    acked(10.4, By.OUTBOX),
    acked(11.2, By.OUTBOX),
    acked(12.1, By.OUTBOX),
    acked(12.6, By.REPLAYED, 2, 300),
    acked(12.9, timeline=2),
    acked(13.7, timeline=2),
)
MOMENTS = Moments(start=5.0, fault=10.1, detected=10.9, failover=11.0, stop_asked=14.0)


def test_a_failover_is_measured_from_what_was_acknowledged() -> None:
    measured = measure(FAILOVER, MOMENTS)
    assert measured.rto_s == pytest.approx(2.6)  # 10.0 to 12.6: replayed rows are in the store too
    assert measured.rto_from_fault_s == pytest.approx(2.5)
    assert measured.rto_from_failover_s == pytest.approx(1.6)
    assert measured.detection_s == pytest.approx(0.8)
    assert measured.max_ack_gap_s == pytest.approx(1.0)  # 9.0 to 10.0; replay acknowledges nothing new
    assert (measured.timeline_before, measured.timeline_after, measured.timeline_changed) == (1, 2, True)
    assert measured.rows_per_s == pytest.approx(600 / 4.7)
    assert (measured.stale_acks, measured.problems) == (0, ())


def test_the_loss_of_a_standby_changes_no_timeline() -> None:
    measured = measure((acked(1.0), acked(2.0), acked(2.5), acked(3.0)), Moments(start=0.0, fault=2.2))
    assert (measured.timeline_changed, measured.rto_from_failover_s, measured.first_new_primary_ack) == (
        False,
        None,
        None,
    )
    assert measured.rto_s == pytest.approx(0.5)


def test_an_acknowledgement_still_in_the_pipe_at_the_fault_does_not_hide_the_gap() -> None:
    assert store_gap((acked(9.9), acked(10.2), acked(13.2, timeline=2)), fault=10.0).seconds == pytest.approx(
        3.0
    )


def test_a_gap_that_was_over_before_the_fault_is_not_the_faults() -> None:
    assert store_gap((acked(1.0), acked(9.0), acked(11.0)), fault=10.0).seconds == pytest.approx(2.0)


def test_a_second_longer_silence_after_the_recovery_counts() -> None:
    acks = (acked(10.0), acked(11.0, timeline=2), acked(15.0, timeline=2))
    assert store_gap(acks, fault=10.5).seconds == pytest.approx(4.0)


def test_silence_after_the_feed_was_asked_to_stop_is_wanted_and_before_it_is_not() -> None:
    acks = (acked(1.0), acked(2.0), acked(9.0, By.REPLAYED))
    assert store_gap(acks, fault=1.5, until=2.5).seconds == pytest.approx(1.0)
    assert ack_gap(acks, until=5.0).seconds == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ((), "nothing before the fault"),
        ((acked(11.0), acked(12.0)), "nothing before the fault"),
        ((acked(9.0), acked(10.0)), "nothing after the fault: writing never resumed"),
        ((acked(9.0), acked(11.0, By.OUTBOX)), "nothing after the fault"),
    ],
)
def test_no_gap_is_an_error_and_never_a_zero(events: tuple[Event, ...], sentence: str) -> None:
    measured = measure(events, MOMENTS)
    assert measured.rto_s is None
    assert any(sentence in problem for problem in measured.problems)


@pytest.mark.parametrize("times", [(), (1.0,)])
def test_a_gap_needs_two(times: tuple[float, ...]) -> None:
    with pytest.raises(VerificationFailed, match=f"there were {len(times)}"):
        longest_gap(times)


def test_a_rate_needs_two() -> None:
    with pytest.raises(VerificationFailed):
        rows_per_s((acked(1.0), acked(2.0, By.REPLAYED)))


def test_an_old_primary_that_still_acknowledges_is_told() -> None:
    events = (acked(1.0), acked(3.0, timeline=2), acked(3.5, timeline=1, n=7), acked(3.6, By.REPLAYED, 1))
    assert measure(events, Moments(start=0.0, fault=2.0)).stale_acks == 7


def test_phases_end_where_the_next_begins() -> None:
    marks = (Mark("normal", 100.0), Mark("fault", 120.0), Mark("fence", 120.5))
    assert phases(marks, 121.75) == (
        Phase("normal", 20.0, 0.0),
        Phase("fault", 0.5, 20.0),
        Phase("fence", 1.25, 20.5),
    )
    assert phases((), 1.0) == ()
    with pytest.raises(ValueError, match="order of time"):
        phases(marks, 120.0)


def test_rates_tell_store_outbox_and_replayed_apart() -> None:
    found = rates(FAILOVER, 10.0, 13.0, 1.0)
    assert found.store == (100.0, 0.0, 100.0)
    assert found.outbox == (100.0, 100.0, 100.0)
    assert found.replayed == (0.0, 0.0, 300.0)


def test_buckets_of_a_tenth_cover_the_window_without_a_spare_one() -> None:
    found = rates((acked(0.05), acked(0.2999)), 0.0, 0.3)
    assert found.store == pytest.approx((1000.0, 0.0, 1000.0))
    with pytest.raises(ValueError, match="no buckets"):
        rates((), 1.0, 1.0)


def test_of_several_stores_the_one_that_was_silent_longest_speaks_for_all() -> None:
    quick = tuple(acked(at) for at in (9.0, 10.0, 10.4, 11.0, 11.8, 12.6, 13.5))
    slow, other = measure(FAILOVER, MOMENTS), measure(quick, MOMENTS)
    for both in (longest((slow, other)), longest((other, slow))):
        assert both.rto_s == slow.rto_s
        assert both.max_ack_gap_s == slow.max_ack_gap_s
        assert both.rows_per_s == pytest.approx((slow.rows_per_s or 0) + (other.rows_per_s or 0))
    assert longest((slow, other)).timeline_changed


def test_a_store_that_never_wrote_again_leaves_nothing_measured_for_all() -> None:
    silent = tuple(event for event in FAILOVER if event.at < 10.2)
    both = longest((measure(FAILOVER, MOMENTS), measure(silent, MOMENTS)))
    assert both.rto_s is None
    assert any("writing never resumed" in problem for problem in both.problems)
