"""./dr status --watch: look after look until it is ended, on a terminal, in a pipe and as lines of JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from doors import status_watch
from doors.status_watch import Look
from inventories.errors import BadInput
from tests.unit.test_bad_input import ROOT, Machine, assert_told, machine

__all__ = ["machine"]


def begun(machine: Machine, *words: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DR_")}
    ours = {"DR_STATE": str(machine.folder / "state"), "DR_RUNS": str(machine.folder / "runs"), "TERM": "xterm"}
    return subprocess.Popen(
        [sys.executable, "-m", "doors.main", "status", "--watch", "--inventory", machine.inventory, *words], cwd=ROOT,
        env={**clean, **ours}, stdout=out, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    """Standard error of one that is ended as ctrl-c would; the estate is not as promised, which its code says."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    return err


def test_each_look_is_one_line_of_json(machine: Machine) -> None:
    process = begun(machine, "--json", "--every", "1")
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert ended(process) == ""
    assert looks[0]["at"] < looks[1]["at"] and looks[0]["findings"]


def test_in_a_pipe_they_stand_below_each_other(machine: Machine) -> None:
    process = begun(machine, "--every", "1")
    assert process.stdout is not None
    heads = 0
    while heads < 2:
        line = process.stdout.readline()
        assert line, "it ended by itself"
        assert "\x1b" not in line
        heads += "ctrl-c ends" in line
    assert ended(process) == ""


def until(descriptor: int, enough: Callable[[str], bool]) -> str:
    text, ends = "", time.monotonic() + 60
    while time.monotonic() < ends and not enough(text):
        if select.select([descriptor], [], [], 0.2)[0]:
            text += os.read(descriptor, 1 << 16).decode(errors="replace")
    assert enough(text), text
    return text


def test_on_a_terminal_it_is_drawn_anew_and_the_last_look_stays(machine: Machine) -> None:
    ours, theirs = pty.openpty()
    process = begun(machine, "--every", "1", out=theirs)
    os.close(theirs)
    shown = until(ours, lambda text: len(re.findall(r"\d\d:\d\d:\d\d UTC, every 1 s", text)) >= 2)
    assert "\x1b[?1049h" in shown and "\x1b[H" in shown, "the terminal's own lines are kept, and drawn over"
    process.send_signal(signal.SIGTERM)
    left = until(ours, lambda text: "Possible loss now" in text.partition("\x1b[?1049l")[2])
    assert "estate nobodys" in left.partition("\x1b[?1049l")[2]
    assert process.wait(30) == 1
    os.close(ours)


@pytest.mark.parametrize(
    ("words", "told", "hint"),
    [
        (["--every", "5"], ["--every belongs to --watch"], "./dr status --watch --every 5"),
        (["--watch", "--every", "soon"], ["soon is no number"], "--every 5"),
        (["--watch", "--every", "0.1"], ["every 0.1 s"], "1 s is the least"),
        (["--watch", "--every", "nan"], ["every nan s"], "1 s is the least"),
    ],
)
def test_a_mistake_is_told_before_anybody_is_asked(
    machine: Machine, words: list[str], told: list[str], hint: str
) -> None:
    assert_told(machine.dr("status", *words, "--inventory", machine.inventory), 2, *told, hint=hint)


def test_it_ends_with_what_the_last_look_said(capsys: pytest.CaptureFixture[str]) -> None:
    coming = iter([Look("bad", '{"n": 1}', True), Look("good", '{"n": 2}', False)])

    def look() -> Look:
        try:
            return next(coming)
        except StopIteration:
            raise KeyboardInterrupt from None

    assert status_watch.watch(look, 0.01, json=True) is False
    assert capsys.readouterr().out.splitlines() == ['{"n": 1}', '{"n": 2}']
    assert status_watch.watch(look, 0.01, json=True) is False, "one that never looked has seen nothing"
    with pytest.raises(BadInput):
        status_watch.seconds("-1")
