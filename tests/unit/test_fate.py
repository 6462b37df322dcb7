"""What a restore may take, and what it must leave: judged from a ledger's lines."""

from __future__ import annotations

from drills.judging.compare import FoundIds, compare
from drills.judging.fate import Fate, Target, Window, fate, oldest_ack
from drills.measuring.events import Acked, By
from drills.measuring.ranges import RangeSet


def ack(at: float, by: By, first: int, last: int, timeline: int | None = None) -> Acked:
    return Acked(at, by, {"orders": (first, last)}, last - first + 1, "pg1" if timeline else None, timeline)


# Rows 1-20 before the bad statement, 21-30 after it; 31-40 wait in the outbox for the new timeline, 41-50 follow.
RESTORED = (
    ack(1.0, By.STORE, 1, 10, 1),
    ack(2.0, By.STORE, 11, 20, 1),
    ack(3.0, By.STORE, 21, 30, 1),
    ack(4.0, By.OUTBOX, 31, 40),
    ack(5.0, By.REPLAYED, 31, 40, 2),
    ack(6.0, By.STORE, 41, 50, 2),
)
TARGET = Target(1, {"orders": 20})


def ranges(ids: RangeSet) -> list[tuple[int, int]]:
    return list(ids.ranges())


def judged(expected: Fate, *found: tuple[int, int]) -> tuple[int, int, int, int]:
    table = compare(expected, lambda _: FoundIds(RangeSet(found))).tables[0]
    return table.lost, table.rolled_back, table.returned, table.excused


def test_without_a_target_every_acknowledged_row_is_required() -> None:
    expected = fate(RESTORED)
    assert ranges(expected.required["orders"]) == [(1, 50)]
    assert (expected.rolled_back, expected.excusable) == ({}, {})


def test_a_restore_to_a_point_takes_back_what_the_store_took_after_it_and_nothing_else() -> None:
    expected = fate(RESTORED, TARGET)
    assert ranges(expected.required["orders"]) == [(1, 20), (31, 50)]
    assert ranges(expected.rolled_back["orders"]) == [(21, 30)]
    assert judged(expected, (1, 20), (31, 50)) == (0, 10, 0, 0)


def test_a_restore_that_stops_a_row_too_early_loses_it_and_one_too_late_is_found_out() -> None:
    expected = fate(RESTORED, TARGET)
    assert judged(expected, (1, 19), (31, 50)) == (1, 10, 0, 0)
    assert judged(expected, (1, 21), (31, 50)) == (0, 9, 1, 0)


def test_what_was_replayed_into_the_old_timeline_after_the_target_goes_with_it() -> None:
    expected = fate((*RESTORED[:3], ack(3.5, By.OUTBOX, 31, 40), ack(3.6, By.REPLAYED, 31, 40, 1)), TARGET)
    assert ranges(expected.rolled_back["orders"]) == [(21, 40)]


def test_what_a_newer_timeline_took_again_must_be_there() -> None:
    expected = fate((*RESTORED, ack(7.0, By.REPLAYED, 21, 30, 2)), TARGET)
    assert expected.rolled_back == {}
    assert judged(expected, (1, 20), (31, 50)) == (10, 0, 0, 0)


def test_a_table_that_the_target_does_not_name_keeps_nothing() -> None:
    assert ranges(fate(RESTORED, Target(1, {})).rolled_back["orders"]) == [(1, 30)]


def test_only_what_the_lost_timeline_took_within_the_promised_seconds_is_excused() -> None:
    expected = fate(RESTORED, window=Window(1, 2.5))
    assert ranges(expected.excusable["orders"]) == [(21, 30)]
    assert judged(expected, (1, 20), (31, 50)) == (0, 0, 0, 10)
    assert judged(expected, (1, 19), (31, 50)) == (1, 0, 0, 10)
    assert judged(expected, (1, 30), (32, 50)) == (1, 0, 0, 0)


def test_what_the_store_had_long_before_and_a_late_line_repeats_is_not_excused() -> None:
    expected = fate((*RESTORED, ack(7.0, By.REPLAYED, 1, 10, 1)), window=Window(1, 2.5))
    assert ranges(expected.excusable["orders"]) == [(21, 30)]


def test_the_age_of_a_loss_is_that_of_its_oldest_row() -> None:
    assert oldest_ack(RESTORED, {"orders": RangeSet([(25, 25), (41, 41)])}) == 3.0
    assert oldest_ack(RESTORED, {"orders": RangeSet()}) is None
    assert oldest_ack(RESTORED, {"others": RangeSet([(1, 9)])}) is None
