"""./dr test: what is given to pytest, and how its ends become ours."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from doors import checks
from doors.main import DrProgram, arguments
from inventories.errors import ExitCode
from tests.unit.client_kit import library


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What would have been started, and that with nothing wrong."""
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
        commands.append((*command, f"lab={environment.get('DR_TEST_LAB', '')}"))
        return 0

    monkeypatch.delenv("DR_TEST_LAB", raising=False)
    monkeypatch.setattr(checks, "_run", run)
    monkeypatch.setattr(checks, "_lint", lambda: None)
    monkeypatch.setattr(checks, "_prepare_for_labs", lambda: None)
    monkeypatch.setattr(checks.subprocess, "run", lambda command, **_: pytest.fail(f"ran {command}"))
    return commands


def dr(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dr", *argv])
    try:
        DrProgram(name="dr", binary="./dr").run(arguments(list(argv)))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_every_suite_runs_in_one_process_cheap_ones_first(
    monkeypatch: pytest.MonkeyPatch, started: list[Sequence[str]]
) -> None:
    assert dr(monkeypatch, "test") == 0
    (command,) = started
    assert [word for word in command if word.startswith("tests/")] == ["tests/unit", "tests/plan", "tests/drills"]
    assert command[-1] == "lab="


def test_options_and_what_follows_dashes_reach_pytest_word_by_word(
    monkeypatch: pytest.MonkeyPatch, started: list[Sequence[str]]
) -> None:
    argv = ("test", "-k", "fence or lock", "-m", "destructive", "--lab", "t-two", "--", "--maxfail", "1", "-o", "a b")
    assert dr(monkeypatch, *argv) == 0
    (command,) = started
    assert list(command[-10:]) == [
        "tests/drills", "-k", "fence or lock", "-m", "(destructive)", "--maxfail", "1", "-o", "a b", "lab=t-two"
    ]  # fmt: skip


def test_fast_leaves_lab_tests_out_whatever_else_is_selected() -> None:
    command = checks.pytest_command("", "destructive or tdengine", fast=True)
    assert "tests/drills" not in command
    assert command[-2:] == ["-m", "(destructive or tdengine) and not lab"]


def test_long_tests_run_when_asked_for_and_are_never_lost() -> None:
    command = checks.pytest_command("", "", fast=False)
    assert command[command.index("-m", 3) :][:2] == ["-m", "not long"]
    assert "not long" not in " ".join(checks.pytest_command("", "", fast=False, long=True))
    assert "not long" not in " ".join(checks.pytest_command("swap", "", fast=False))
    assert "not long" not in " ".join(checks.pytest_command("", "long", fast=False))


def test_all_installs_the_libraries_of_frames_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, started: list[Sequence[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    ran: list[Sequence[str]] = []

    def pip(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 1, "", "ERROR: a\nERROR: No index\n")

    monkeypatch.setattr(checks.subprocess, "run", pip)
    monkeypatch.setattr(checks, "find_spec", lambda name: object() if name == "pandas" else None)
    assert checks.frames() == ("pandas", "polars", "pyarrow")
    assert dr(monkeypatch, "test") == 0
    assert dr(monkeypatch, "test", "--fast") == 0
    assert ran == []
    assert dr(monkeypatch, "test", "--all") == 0
    assert [command[-2:] for command in ran] == [("polars", "pyarrow")]
    assert "Tests of frames are skipped: ERROR: No index" in capfd.readouterr().err
    assert len(started) == 3, "the tests run all the same"


def test_a_test_that_lacks_its_library_says_what_installs_it() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"\./dr test --all installs it"):
        library("no_such_library")
    for path in (checks.ROOT / "tests/unit").glob("test_client_*.py"):
        left = [name for name in checks.frames() if f'importorskip("{name}")' in path.read_text(encoding="utf-8")]
        assert not left, path


@pytest.mark.parametrize(
    ("pytest_code", "ours"),
    [(1, ExitCode.FAILED), (2, ExitCode.FAILED), (3, ExitCode.FAILED), (4, ExitCode.BAD_INPUT), (-9, 1)],
)
def test_pytests_ends_become_ours_without_a_word_after_its_closing_line(
    monkeypatch: pytest.MonkeyPatch,
    started: list[Sequence[str]],
    capfd: pytest.CaptureFixture[str],
    pytest_code: int,
    ours: int,
) -> None:
    monkeypatch.setattr(checks, "_run", lambda *_: pytest_code)
    assert dr(monkeypatch, "test") == ours
    assert capfd.readouterr() == ("", "")


def test_a_selection_that_fits_no_test_is_a_failure_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "_lint", lambda: None)
    monkeypatch.setattr(checks, "SUITES", ("tests/unit/test_checks.py", "tests/unit/test_ranges.py", ""))
    assert dr(monkeypatch, "test", "--fast", "-k", "no_such_test_anywhere") == ExitCode.FAILED
    assert capfd.readouterr().err.splitlines()[-2:] == [
        "No test ran, which proves nothing.",
        "HINT: -k and -m select from what pytest --collect-only lists.",
    ]


def test_lint_shows_all_complaints_at_once_and_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    complain = "import sys; print('wrong in', sys.argv[1]); sys.exit(1)"
    linters = [(name, (sys.executable, "-c", complain, name)) for name in ("one", "two")]
    monkeypatch.setattr(checks, "_linters", lambda _: iter(linters))
    assert dr(monkeypatch, "lint") == ExitCode.FAILED
    assert capfd.readouterr().err.splitlines()[-2:] == ["wrong in one", "wrong in two"]


def test_what_is_linted_and_run_exists() -> None:
    """A folder or script that was renamed must not fall out of the checks."""
    missing = [path for path in (*checks.SHELL_SCRIPTS, *checks.SUITES) if not (checks.ROOT / path).exists()]
    assert missing == []


def test_the_ci_script_can_be_executed_and_runs_the_tests() -> None:
    script = checks.ROOT / ".ci/run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "./dr test" in script.read_text().splitlines()


def test_all_tests_share_two_processes_and_a_selection_runs_in_this_one() -> None:
    assert "--numprocesses" in checks.pytest_command("", "", fast=False)
    assert "--numprocesses" not in checks.pytest_command("swap", "", fast=False)


def test_what_needs_the_lab_stays_in_one_process(tmp_path: Path) -> None:
    """Two processes on one lab would deploy to it and break it at the same time."""
    for suite in ("drills", "unit"):
        for name in ("one", "other"):
            path = tmp_path / "tests" / suite / f"test_{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("import time\n\n\ndef test_it():\n    time.sleep(0.2)\n")
    shutil.copy(checks.ROOT / "tests/conftest.py", tmp_path / "tests/conftest.py")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *checks.AT_ONCE, "-v", "-p", "no:cacheprovider", "--import-mode", "importlib",
         "--rootdir", str(tmp_path), "."],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = re.findall(r"\[(gw\d)\] .*PASSED tests/(drills|unit)/", ran.stdout)
    assert len(said) == 4, ran.stdout + ran.stderr
    assert len({worker for worker, suite in said if suite == "drills"}) == 1
    assert len({worker for worker, _ in said}) == 2
