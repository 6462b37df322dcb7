"""A session that stays: answers belong to their question, and one that hangs or ends delays nobody for long."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from inventories.errors import TargetFailed
from runbooks.watch import channel
from runbooks.watch.channel import Channel

_ECHO = """
import json, sys, time
for line in sys.stdin:
    said = json.loads(line)
    time.sleep(said.get("after", 0))
    if said.get("end"):
        sys.exit("ERROR: it had enough")
    print(json.dumps({"n": said["n"], "echo": said.get("echo")}), flush=True)
"""


def begin() -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", _ECHO], stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.fixture
def line() -> Iterator[Channel]:
    made = Channel(begin)
    yield made
    made.close()


def test_answers_come_by_one_session(line: Channel) -> None:
    assert [line.ask({"echo": nr}, 5) for nr in range(3)] == [{"n": nr + 1, "echo": nr} for nr in range(3)]


def test_answer_that_is_late_answers_no_other_question(line: Channel) -> None:
    line.ask({}, 5)
    assert line.ask({"echo": "slow", "after": 0.3}, 0.05) is None
    assert line.ask({"echo": "next"}, 5) == {"n": 3, "echo": "next"}


def test_answer_that_came_while_nobody_looked_is_there(line: Channel) -> None:
    line.ask({}, 5)
    assert line.ask({"echo": "slow", "after": 0.2}, 0.01) is None
    time.sleep(0.4)
    assert line.late() == {"n": 2, "echo": "slow"}


def test_session_that_ended_says_why_and_is_begun_again(line: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "RETRY_S", 0.0)
    with pytest.raises(TargetFailed):
        line.ask({"end": True}, 5)
    assert line.ask({"echo": "again"}, 5) == {"n": 2, "echo": "again"}


def test_session_is_not_begun_again_at_once(line: Channel) -> None:
    with pytest.raises(TargetFailed):
        line.ask({"end": True}, 5)
    with pytest.raises(TargetFailed, match="begun again in a moment"):
        line.ask({}, 5)


def test_session_that_hangs_is_given_up(line: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "HANGS_S", 0.1)
    monkeypatch.setattr(channel, "RETRY_S", 0.0)
    line.ask({}, 5)
    assert line.ask({"after": 60}, 0.05) is None
    time.sleep(0.1)
    assert line.ask({"echo": "anew"}, 5) == {"n": 3, "echo": "anew"}


def test_program_that_says_no_json_is_no_program_of_ours() -> None:
    made = Channel(lambda: subprocess.Popen(
        ["sh", "-c", "echo motd; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ))  # fmt: skip
    with pytest.raises(TargetFailed):
        made.ask({}, 5)
