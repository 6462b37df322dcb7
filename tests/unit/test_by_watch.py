"""A drill by the watch: its words are heard line by line, and its failover is read back from the journal it left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills import by_watch
from drills.benches import noise
from drills.by_watch import Watcher
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


def test_family_of_a_process_is_all_that_it_started() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 30 & sleep 30 & wait"], start_new_session=True)
    try:
        end = time.monotonic() + 5
        while len(noise.family(shell.pid)) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(noise.family(shell.pid)) == 3
    finally:
        os.killpg(shell.pid, 9)
        shell.wait()


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
