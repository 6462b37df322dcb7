"""A watch proves that it looked: one that is dead, or whose eyes have closed, proves nothing."""

from __future__ import annotations

from drills import looking
from drills.beats import BEAT
from drills.looking import Word

SINCE, UNTIL = 100.0, 103.0
EYES = ("app1", "pg2", "the watch")


def beats(*between: tuple[float, float], eyes: tuple[str, ...] = EYES) -> list[Word]:
    """Five a second between each of these moments, each of them with a fresh look of these eyes."""
    times = [first + nr / 5 for first, last in between for nr in range(int((last - first) * 5))]
    return [Word(at, BEAT, "", dict.fromkeys(eyes, at)) for at in times]


def test_watch_that_looked_all_the_time_is_proven() -> None:
    assert looking.unproven(beats((95, 106)), 3, SINCE, UNTIL) == ""


def test_watch_that_was_dead_before_the_fault_proves_nothing() -> None:
    why = looking.unproven(beats((90, 97), (100.1, 106)), 3, SINCE, UNTIL)
    assert why == "the watch has not said before the fault that it judges"


def test_watch_that_died_with_the_fault_proves_nothing() -> None:
    assert "while the fault lasted" in looking.unproven(beats((95, 100), (103.2, 106)), 3, SINCE, UNTIL)


def test_watch_that_never_came_back_proves_nothing() -> None:
    assert "after the fault" in looking.unproven(beats((95, 103)), 3, SINCE, UNTIL)


def test_watch_that_judges_what_its_eyes_saw_long_ago_proves_nothing() -> None:
    stale = [Word(word.at, BEAT, "", dict.fromkeys(EYES, 98.5)) for word in beats((95, 106))]
    assert looking.unproven(stale, 3, SINCE, UNTIL) == (
        "the watch has looked while the fault lasted through 0 pairs of eyes, not through 3"
    )


def test_one_closed_pair_of_eyes_is_missed() -> None:
    assert "through 2 pairs of eyes, not through 3" in looking.unproven(
        beats((95, 106), eyes=EYES[:2]), 3, SINCE, UNTIL
    )


def test_during_a_fault_of_less_than_a_look_one_pair_of_eyes_has_to_have_looked() -> None:
    told = [*beats((95, 100)), Word(100.4, BEAT, "", {"app1": 100.3}), *beats((101, 104))]
    assert looking.unproven(told, 3, 100.0, 100.7) == ""
    told = [*beats((95, 100)), *beats((101, 104))]
    assert "while the fault lasted" in looking.unproven(told, 3, 100.0, 100.7)


def test_eyes_that_the_fault_itself_closes_are_missed_only_before_and_after_it() -> None:
    told = [*beats((95, 100)), *beats((100.1, 103), eyes=EYES[1:]), *beats((103.2, 106))]
    assert "while the fault lasted" in looking.unproven(told, 3, SINCE, UNTIL)
    assert looking.unproven(told, 3, SINCE, UNTIL, closed=1) == ""
    never_again = [*beats((95, 100)), *beats((100.1, 106), eyes=EYES[1:])]
    assert "after the fault" in looking.unproven(never_again, 3, SINCE, UNTIL, closed=1)


def test_watch_that_went_on_has_not_stood_still() -> None:
    assert "went on" in looking.stood_still(beats((95, 106)), SINCE, UNTIL)


def test_watch_that_stood_still_has_to_have_noticed() -> None:
    still = beats((95, 100), (103.2, 106))
    assert "has not noticed" in looking.stood_still(still, SINCE, UNTIL)
    assert looking.stood_still([*still, Word(103.1, "stalled", "3.1 s")], SINCE, UNTIL) == ""
