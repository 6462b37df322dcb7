"""What eyes said over time, and what it comes to: silence is not loss, disagreement is a cut, blindness is no sight."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from runbooks.watch.sights import Kind, Look, Sight, Track, followed
from runbooks.watch.verdict import Patience, Verdict, Word, judge

PATIENCE = Patience(silence_s=1.5, restart_s=2.5, blind_s=5.0)
EYES = {"app1": Kind.APPLICATION, "pg2": Kind.STANDBY, "the watch": Kind.OWN}
SERVES, ALIVE, DOWN, SILENT, BLIND = Sight.SERVES, Sight.ALIVE, Sight.DOWN, Sight.SILENT, Sight.BLIND
EVERY_S, LOOK_S = 0.25, 0.4


def seen(story: dict[str, Iterable[tuple[Sight, float]]], kinds: dict[str, Kind] = EYES) -> list[Track]:
    """Each pair of eyes tells (sight, until when), looking every quarter of a second from 0 on."""
    tracks = []
    for eye, parts in story.items():
        track: Track | None = None
        at = 0.0
        for sight, until in parts:
            while at < until - 1e-9:
                heard = at + (LOOK_S if sight is SILENT else 0.01)
                track = followed(track, Look(eye, kinds[eye], sight, at, heard, "why" if sight is ALIVE else ""))
                at += max(EVERY_S, heard - at)
        if track:
            tracks.append(track)
    return tracks


def verdict(now: float, kinds: dict[str, Kind] = EYES, **story: Iterable[tuple[Sight, float]]) -> Verdict | None:
    return judge("pg1", seen({eye.replace("_", " "): parts for eye, parts in story.items()}, kinds), now, PATIENCE)


def everybody(*parts: tuple[Sight, float]) -> dict[str, tuple[tuple[Sight, float], ...]]:
    return {"app1": parts, "pg2": parts, "the_watch": parts}


def test_primary_that_answers_serves() -> None:
    assert verdict(3, **everybody((SERVES, 3))) == Verdict(Word.SERVES, "pg1 serves")


def test_silence_of_a_second_is_nothing() -> None:
    assert verdict(4.2, **everybody((SERVES, 3), (SILENT, 4))) is None


def test_silence_of_all_eyes_for_longer_than_patience_is_a_loss() -> None:
    found = verdict(5, **everybody((SERVES, 3), (SILENT, 5)))
    assert found == Verdict(Word.LOST, "pg1 is lost: app1 and pg2 and the watch hear nothing of it")


def test_loss_is_told_as_soon_as_patience_is_over() -> None:
    found = [at / 20 for at in range(60, 120) if verdict(at / 20, **everybody((SERVES, 3), (SILENT, at / 20)))]
    lost = [at for at in found if at > 3.4]
    assert lost and min(lost) <= 3 + PATIENCE.silence_s + LOOK_S + EVERY_S


@pytest.mark.parametrize("heard", ["app1", "pg2", "the_watch"])
def test_one_pair_of_eyes_that_is_answered_makes_it_a_cut(heard: str) -> None:
    found = verdict(9, **{**everybody((SERVES, 3), (SILENT, 9)), heard: ((SERVES, 9),)})
    assert found is not None and found.word is Word.CUT_OFF
    assert "serves" in found.says


@pytest.mark.parametrize("heard", ["app1", "pg2", "the_watch"])
def test_host_from_which_one_pair_of_eyes_hears_anything_is_not_lost(heard: str) -> None:
    found = verdict(60, **{**everybody((SERVES, 3), (SILENT, 60)), heard: ((SERVES, 3), (ALIVE, 60))})
    assert found is not None and found.word is Word.CUT_OFF


def test_server_that_hangs_on_a_host_that_answers_is_slow_however_long() -> None:
    found = verdict(900, **everybody((SERVES, 3), (ALIVE, 900)))
    assert found == Verdict(Word.SLOW, "pg1 is slow: why")


def test_a_short_hang_is_told_to_nobody() -> None:
    assert verdict(4, **everybody((SERVES, 3), (ALIVE, 4))) is None


@pytest.mark.parametrize("blind", ["app1", "pg2", "the_watch"])
def test_eyes_that_could_not_look_have_not_seen_silence(blind: str) -> None:
    found = verdict(20, **{**everybody((SERVES, 3), (SILENT, 20)), blind: ((SERVES, 3), (BLIND, 20))})
    assert found is not None and found.word is Word.BLIND
    assert blind.replace("_", " ") in found.says


def test_eye_that_says_nothing_at_all_is_blind() -> None:
    found = verdict(20, **{**everybody((SERVES, 3), (SILENT, 20)), "app1": ((SERVES, 3), (SILENT, 6))})
    assert found is not None and found.word is Word.BLIND


def test_one_standby_of_two_may_be_lost_with_the_primary() -> None:
    kinds = {**EYES, "pg3": Kind.STANDBY}
    story = {**everybody((SERVES, 3), (SILENT, 20)), "pg3": ((SERVES, 3), (BLIND, 20))}
    found = verdict(20, kinds, **story)
    assert found is not None and found.word is Word.LOST


def test_every_application_host_has_to_see() -> None:
    kinds = {**EYES, "app2": Kind.APPLICATION}
    found = verdict(20, kinds, **{**everybody((SERVES, 3), (SILENT, 20)), "app2": ((SERVES, 3), (BLIND, 20))})
    assert found is not None and found.word is Word.BLIND


def test_watch_without_an_application_host_tells_no_loss() -> None:
    found = verdict(20, pg2=((SILENT, 20),), the_watch=((SILENT, 20),))
    assert found is not None and found.word is Word.BLIND


def test_closed_port_for_as_long_as_a_restart_is_nothing() -> None:
    assert verdict(5, **everybody((SERVES, 3), (DOWN, 5))) is None


def test_closed_port_for_longer_than_a_restart_is_a_stopped_server() -> None:
    found = verdict(6, **everybody((SERVES, 3), (DOWN, 6)))
    assert found == Verdict(Word.STOPPED, "pg1 is stopped: app1 and pg2 and the watch find its port closed")


def test_port_closed_to_one_and_silent_to_others_is_neither_lost_nor_stopped() -> None:
    found = verdict(9, **{**everybody((SERVES, 3), (SILENT, 9)), "pg2": ((SERVES, 3), (DOWN, 9))})
    assert found is not None and found.word is Word.CUT_OFF


def test_silences_that_follow_one_another_are_no_silence_of_all() -> None:
    """Each pair of eyes is silent for two seconds, never all of them for as long as patience."""
    found = verdict(
        5.1, app1=((SERVES, 2), (SILENT, 5)), pg2=((SERVES, 4), (SILENT, 5)), the_watch=((SERVES, 4.2), (SILENT, 5))
    )
    assert found is None


def test_a_third_of_all_packets_lost_is_no_loss() -> None:
    pattern = [(SILENT, 0.4), (SERVES, 0.6), (SILENT, 1.0), (ALIVE, 1.2)]
    parts = [(sight, turn * 1.2 + until) for turn in range(8) for sight, until in pattern]
    for at in range(20, 96):
        until = at / 10
        found = verdict(until, **everybody(*[(sight, min(end, until)) for sight, end in parts if end - 0.4 < until]))
        assert found is None or found.word in (Word.SERVES, Word.SLOW), (until, found)


def test_primary_that_became_a_standby_has_moved() -> None:
    found = verdict(9, **everybody((SERVES, 3), (Sight.STANDBY, 9)))
    assert found is not None and found.word is Word.MOVED


def test_a_blind_eye_is_named_while_the_primary_serves() -> None:
    found = verdict(20, **{**everybody((SERVES, 20)), "app1": ((SERVES, 3), (BLIND, 20))})
    assert found is not None and found.word is Word.SERVES
    assert "nobody sees through app1" in found.says


def test_watch_that_has_just_begun_calls_nobody_slow() -> None:
    tracks = seen(everybody_of((ALIVE, 4)))
    assert judge("pg1", tracks, 4.0, PATIENCE, since=0.0) is None
    assert judge("pg1", seen(everybody_of((SILENT, 4))), 4.0, PATIENCE, since=0.0) is not None


def everybody_of(*parts: tuple[Sight, float]) -> dict[str, tuple[tuple[Sight, float], ...]]:
    return {eye.replace("_", " "): said for eye, said in everybody(*parts).items()}


def test_nobody_has_looked_yet() -> None:
    assert judge("pg1", [], 3.0, PATIENCE) is None
