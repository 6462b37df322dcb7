"""A drill by the watch: its words are heard line by line, and its failover is read back from the journal it left."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drills import by_watch
from drills.beats import BEAT, line
from drills.benches import noise
from drills.by_watch import Watcher
from drills.course import Course
from drills.judging.result import DrillResult
from drills.looking import Word
from drills.rounds import course
from drills.scenarios.catalogue import SCENARIOS
from inventories.errors import TargetFailed, TimedOut

_SPEAKS = """
import json, sys, time
for at, what, says in json.loads(sys.argv[1]):
    print(json.dumps({"at": at, "what": what, "says": says}), flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[Watcher]:
    words = '[[1.0, "sees", "pg1 serves"], [5.0, "acts", "failover begins by itself: pg1 is lost"]]'
    process = subprocess.Popen(
        [sys.executable, "-c", _SPEAKS, words, "1.0"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    made = Watcher(process, tmp_path / "watch.jsonl")
    threading.Thread(target=made.listen, daemon=True).start()
    yield made
    made.stop()


def test_word_is_heard_and_kept(speaker: Watcher) -> None:
    assert speaker.hears(lambda word: word.what == "acts", 10, "that it acts").at == 5.0
    assert '"acts"' in speaker.log.read_text()


def test_word_of_before_does_not_count(speaker: Watcher) -> None:
    with pytest.raises(TimedOut, match="it said last: failover begins"):
        speaker.hears(lambda word: word.what == "sees", 0.5, "that it serves", since=2.0)
    assert [word.what for word in speaker.said("acts", 2.0)] == ["acts"]


def test_watch_that_has_ended_says_nothing_more(speaker: Watcher) -> None:
    with pytest.raises(TargetFailed, match="has ended before it said how it ended"):
        speaker.hears(lambda word: word.what == "acted", 10, "how it ended")


_TELLS = """
printf '{"at": 1.0, "what": "sees", "says": "pg1 serves; %s; %s; %s"}\\n' "$*" "$DR_RUNS" "$TMPDIR"
exec sleep 30
"""


def test_watch_that_is_started_beats_within_what_it_is_to_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_watch, "forget", lambda _: None)
    own = by_watch.Own(("sh", "-c", _TELLS, "sh"), {"TMPDIR": "/of/its/own"})
    anybody: Any = None
    with by_watch.running(anybody, tmp_path, "--act", "failover", own=own) as made:
        (said,) = made.said("sees")
    words, runs, folder = said.says.split("; ")[1:]
    assert words.endswith("-m doors.main watch --json --beat 0.2 --act failover")
    assert (runs, folder) == (by_watch.runs_of(tmp_path), "/of/its/own")


def heard(tmp_path: Path, *words: Word, code: int | None = None) -> Watcher:
    """A watch that has said this, and lives unless it has ended with `code`."""
    process: Any = SimpleNamespace(poll=lambda: code)
    return Watcher(process, tmp_path / "watch.jsonl", list(words), _over=code is not None)


def beat(at: float, *eyes: str) -> Word:
    return Word(at, BEAT, "", dict.fromkeys(eyes or ("app1", "pg2", "the watch"), at))


FAULT, ACTED, ENDED = 100.0, 101.6, 103.0
LOOKED = (beat(99.0), beat(101.0), beat(104.0))


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(by_watch, "eyes", lambda _: 3)
    monkeypatch.setattr(by_watch, "BEATS_S", 0.1)
    return SimpleNamespace()


def test_watch_that_looked_before_meanwhile_and_afterwards_is_proven(tmp_path: Path, whole: Any) -> None:
    assert by_watch.unproven(heard(tmp_path, *LOOKED), whole, FAULT, ACTED, ENDED) == ""


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (LOOKED[1:], None, "before the fault"),
        ((beat(99.0, "app1"), *LOOKED[1:]), None, "through 1 pairs of eyes, not through 3"),
        ((LOOKED[0], LOOKED[2]), None, "between the fault and its act"),
        (LOOKED[:2], None, "has not said that it looks again"),
        (LOOKED[:2], -9, "has ended before it said that it looks again"),
        (LOOKED, -9, "has ended by itself with -9"),
    ],
)
def test_watch_that_was_dead_at_any_of_these_times_is_not(
    tmp_path: Path, whole: Any, words: tuple[Word, ...], code: int | None, why: str
) -> None:
    assert why in by_watch.unproven(heard(tmp_path, *words, code=code), whole, FAULT, ACTED, ENDED)


def test_drill_whose_watch_is_not_proven_has_failed(tmp_path: Path, whole: Any) -> None:
    result = DrillResult.model_construct(reasons=())
    stage: Any = SimpleNamespace(estate=whole)
    anything: Any = None
    made = Course(anything, anything, anything, stage, anything, result)
    recovered: Any = SimpleNamespace(started=ACTED, seconds=ENDED - ACTED)
    made._proved(heard(tmp_path, *LOOKED), FAULT, recovered)
    assert made.result.reasons == ()
    made._proved(heard(tmp_path, *LOOKED[1:]), FAULT, recovered)
    assert made.result.reasons == ("not proven: the watch has not said before the fault that it judges",)


def test_beat_is_heard_with_what_it_says_of_each_pair_of_eyes(tmp_path: Path) -> None:
    said = json.dumps({**line({"app1": 3.5}), "at": 4.0})
    process = subprocess.Popen(["echo", said], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    made = Watcher(process, tmp_path / "watch.jsonl")
    made.listen()
    process.wait()
    assert made.heard() == (Word(4.0, BEAT, "1 pairs of eyes have looked", {"app1": 3.5}),)


def test_every_kind_of_noise_comes_in_its_turn() -> None:
    assert len(noise.EPISODES) >= 7
    assert by_watch.WATCH != by_watch.OPERATOR


def test_rounds_by_the_watch_leave_it_what_a_watch_may_do() -> None:
    drawn = course.plan("20", "", "", 6000.0, 7, kill=True, by=by_watch.WATCH).drawn()
    watched = [one for one in drawn if one.by == by_watch.WATCH]
    assert watched
    assert not [one for one in watched if one.kill or not SCENARIOS[one.scenario].by_itself]
    before = course.plan("20", "", "", 6000.0, 7, kill=True).drawn()
    assert [(one.scenario, one.seed, one.reclone, one.kill) for one in before] == [
        (one.scenario, one.seed, one.reclone, one.kill) for one in drawn
    ]
