"""What ./dr drill shows while it runs: on a terminal, in a pipe, and that a drill never waits for it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from doors import drill_screen
from doors.drill_screen import drawn, drilling
from drills import run
from drills.course import Course, Plan
from drills.judging.result import Outcome
from drills.live.own import Own
from drills.live.snapshot import Rows, Snapshot
from drills.measuring.tally import LedgerView, Writing
from drills.scenarios.catalogue import SCENARIOS
from drills.stage import Stage
from inventories.errors import TargetFailed
from tests.unit import live_kit as kit
from tests.unit.test_bad_input import ROOT
from tests.unit.test_drill_ends import Machine, machine

__all__ = ["machine"]
SEEN = Snapshot(
    run="r", scenario="primary-power-loss", summary="the primary's host loses power", phase="noticed; recovery runs",
    elapsed_s=83.2, since_fault_s=1.26, rows=(Rows("PostgreSQL", 165_251, 1203, 203, "outbox"),), left_s=33.2,
    share=0.6,
)  # fmt: skip


def shown(seen: Snapshot | None, width: int = 100) -> list[str]:
    console = Console(width=width, force_terminal=True, no_color=True, legacy_windows=False)
    with console.capture() as said:
        console.print(drawn(seen, time.monotonic() - 2, "the standby [takes over]"))
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.get())
    return [one.rstrip() for one in text.splitlines()]


def test_the_bars_tell_phase_rows_and_the_time_since_the_fault() -> None:
    sentence, drill, rows, fault = shown(SEEN)
    assert re.match(r"\S the standby \[takes over\] 2\.\d s", sentence)
    assert "noticed; recovery runs; about 33 s left" in drill
    assert rows.split(maxsplit=1)[0] == "PostgreSQL" and "165,251 by store, 1,203 by outbox, 203 wait" in rows
    assert rows.count("━") == 19 and rows.count("┅") == 1, "told apart without colour, and few are seen, too"
    assert fault.split() == ["fault", "1.3", "s", "ago"]
    assert len(shown(None)) == 1


def test_a_narrow_terminal_cuts_words_and_never_wraps() -> None:
    assert [len(shown(SEEN, width)) for width in (80, 60, 40)] == [4, 4, 4]


def test_what_nobody_knows_is_said() -> None:
    unknown = Snapshot("r", "s", "x", "the feed writes", 2.0, None, (), None, None)
    assert "the feed writes; how long is unknown" in shown(unknown)[1]
    late = Snapshot("r", "s", "x", "last checks", 2.0, None, (), 0.2, 1.0)
    assert "last checks; longer than the last time" in shown(late)[1]


def test_this_process_takes_what_it_holds_and_reads_no_file(tmp_path: Path) -> None:
    kit.past(tmp_path)
    drill = kit.running(tmp_path)
    view = LedgerView(acked=5, by_store=3, by_outbox=2, writing=Writing.OUTBOX)
    feed = SimpleNamespace(ledger=SimpleNamespace(view=lambda: view))
    stage = SimpleNamespace(run_dir=drill.folder, running={"PostgreSQL": feed})
    own = Own(stage, drill.writer)  # type: ignore[arg-type]
    drill.writer.mark("fault", time.monotonic() - 5)
    seen = own.look()
    assert seen and seen.rows == (Rows("PostgreSQL", 3, 2, 2, "outbox"),)
    assert seen.since_fault_s == pytest.approx(5, abs=1)
    assert seen.left_s == 48, "it was noticed after 2 s, the last time"
    drill.writer.close()
    assert own.look() is None


# ---- a drill never waits for it


def test_what_cannot_be_shown_ends_no_drill(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> Snapshot:
        raise TargetFailed("The ledger cannot be written: No space left on device.")

    monkeypatch.setattr(drill_screen, "EVERY_S", 0.02)
    with drilling() as screen:
        screen._look = full
        screen.say("first")
        time.sleep(0.1)
        screen.say("last")
    assert capsys.readouterr().err.splitlines() == ["first", "last"]


def test_a_terminal_that_stands_still_holds_no_drill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setattr(drill_screen, "EVERY_S", 0.02)
    monkeypatch.setattr(drill_screen, "_CLOSES_S", 0.5)
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        began = time.monotonic()
        with drilling() as screen:
            for nr in range(20_000):  # far more than a terminal takes that nobody reads
                screen.say(f"sentence {nr} " + "x" * 60)
            time.sleep(0.2)
            assert time.monotonic() - began < 2.0
        monkeypatch.undo()
        while select.select([ours], [], [], 0.2)[0]:
            os.read(ours, 1 << 16)
    os.close(ours)


_HELD = """
from doors.drill_screen import drilling
with drilling() as screen:
    for nr in range(5000):
        screen.say(f"sentence {nr} " + "x" * 60)
print("passed")
"""


def test_a_terminal_that_stands_still_to_the_end_takes_neither_result_nor_exit_code() -> None:
    ours, theirs = pty.openpty()
    command, env = [sys.executable, "-c", _HELD], {**os.environ, "TERM": "xterm"}
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, env=env, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, b"passed\n")
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_listener_who_has_gone_takes_neither_result_nor_exit_code(terminal: bool) -> None:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    os.close(ours)
    command = [sys.executable, "-c", _SCRIPT]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, b"passed\n")
    os.close(theirs)


def test_the_drill_hands_over_what_it_goes_on_with(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Snapshot | None] = []

    def go(course: Course) -> None:
        course.stage.mark("fault")
        looks.append(own[0].look())
        course.result = course.result.model_copy(update={"outcome": Outcome.PASSED})

    own: list[Own] = []
    monkeypatch.setattr(Course, "go", go)

    def begun(stage: Stage, writer: object) -> None:
        own.append(Own(stage, writer))  # type: ignore[arg-type]

    result, _ = run.drill(SCENARIOS["primary-crash"], "lab", machine.said.append, Plan(), begun=begun)
    assert result.outcome is Outcome.PASSED
    assert looks[0] and (looks[0].phase, looks[0].scenario) == ("broken, and not noticed yet", "primary-crash")
    assert own[0].look() is None, "it is over"
    text = (tmp_path / "course.jsonl").read_text()
    assert '"mark": "normal"' in text and '"mark": "fault"' in text and "cleaning up" in text


def test_a_drill_whose_course_cannot_be_written_is_judged_all_the_same(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "course.jsonl").symlink_to("/dev/full")
    result, _ = run.drill(SCENARIOS["primary-crash"], "lab", machine.said.append, Plan())
    assert result.outcome is Outcome.PASSED and (tmp_path / "report.html").exists()


# ---- as it is seen

_SCRIPT = """
import time
from doors.drill_screen import drilling
from tests.unit.test_drill_screen import SEEN
with drilling() as screen:
    screen.say("the feed writes")
    time.sleep(0.4)
    screen._look = lambda: SEEN
    screen.say("fault: it has no power")
    time.sleep(1.0)
print("passed")
"""


def test_in_a_pipe_there_are_the_sentences_alone() -> None:
    command = [sys.executable, "-c", _SCRIPT]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "passed\n"
    assert ran.stderr.splitlines() == ["the feed writes", "fault: it has no power"]


def test_on_a_terminal_the_bars_go_and_what_was_said_stays() -> None:
    code, text = on_terminal(_SCRIPT)
    assert code == 0
    assert text.count("165,251 by store") >= 2 and "about 33 s left" in text
    *_, last = text.split("165,251 by store")
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    assert re.search(r"fault: it has no power \d\.\d s\s+passed", told), "and nothing is drawn over what comes after"


def test_an_interrupt_leaves_the_terminal_as_it_was() -> None:
    code, text = on_terminal(_SCRIPT.replace("    time.sleep(1.0)", "    time.sleep(1.0)\n    raise KeyboardInterrupt"))
    assert code and "KeyboardInterrupt" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0, "the cursor is seen again"
    assert text.index("Traceback") > text.rfind("\x1b[?25h")


def on_terminal(script: str) -> tuple[int, str]:
    """How it ended, and everything that the terminal was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )  # fmt: skip
    os.close(theirs)
    text = ""
    while select.select([ours], [], [], 30)[0]:
        try:
            text += os.read(ours, 1 << 16).decode(errors="replace")
        except OSError:
            break
    os.close(ours)
    return process.wait(30), text
