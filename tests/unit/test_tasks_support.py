"""What every door shares: exit codes, sentences, the lab's name; and a wrong command line."""

import errno
import io
import os
import signal
import sys

import pytest
from invoke.exceptions import Exit

from doors import support
from doors.main import DrProgram, arguments
from inventories.errors import BadInput, ExitCode, Refused


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        DrProgram(name="dr", binary="./dr").run(arguments(list(argv)))
    shown = capsys.readouterr()
    return int(str(ended.value.code)), shown.out, shown.err


def test_alone_it_lists_every_task_on_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    tasks = [line for line in out.splitlines()[1:] if line.strip()]
    assert {"lab.up", "lab.down", "lab.status", "lab.ssh"} <= {line.split()[0] for line in tasks}
    assert all(
        line.startswith("  ") and not line.startswith("   ") and len(line.split()) > 2 for line in tasks
    )


def test_help_explains_one_task(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "help", "lab.up")
    assert code == 0
    assert "--hosts=STRING" in out


@pytest.mark.parametrize(
    "argv", [["nope"], ["lab.up", "--nope"], ["lab.ssh"], ["help", "nope"], ["--timeout", "x"]]
)
def test_a_wrong_command_line_is_bad_input_without_a_traceback(
    capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    code, _, err = run(capsys, *argv)
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].startswith("HINT: ./dr lists the tasks")
    assert "Traceback" not in err


def test_a_bad_lab_name_ends_with_a_sentence_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "lab.status", "--lab", "No")
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[0] == "'No' cannot be the name of a lab."
    assert err.splitlines()[1].startswith("HINT: ")


@pytest.mark.parametrize("error", [BadInput("What.", "Do."), Refused("What.", "Do.")])
def test_an_error_of_ours_becomes_its_exit_code(error: Refused | BadInput) -> None:
    @support.door
    def task() -> None:
        raise error

    with pytest.raises(Exit) as ended:
        task()
    assert ended.value.code == error.exit_code
    assert ended.value.message == "What.\nHINT: Do."


def test_control_c_is_interrupted() -> None:
    @support.door
    def task() -> None:
        raise KeyboardInterrupt

    with pytest.raises(Exit) as ended:
        task()
    assert ended.value.code == ExitCode.INTERRUPTED


@pytest.mark.parametrize("one", [signal.SIGTERM, signal.SIGHUP])
def test_a_task_that_is_ended_from_outside_undoes_what_it_has_to(one: signal.Signals) -> None:
    undone: list[str] = []

    @support.door
    def task() -> None:
        try:
            os.kill(os.getpid(), one)
        finally:
            undone.append("the feed")

    before = signal.signal(one, lambda *_: undone.append("nobody heard it"))
    try:
        with pytest.raises(Exit) as ended:
            task()
    finally:
        signal.signal(one, before)
    assert ended.value.code == ExitCode.INTERRUPTED
    assert undone == ["the feed"]


def test_a_full_disk_is_a_sentence_and_a_mistake_of_ours_is_not() -> None:
    @support.door
    def task(number: int) -> None:
        raise OSError(number, os.strerror(number), "/state/lab.json")

    with pytest.raises(Exit) as ended:
        task(errno.ENOSPC)
    assert str(ended.value.message).startswith("/state/lab.json: No space left on device.\nHINT: ")
    with pytest.raises(OSError, match="No child"):
        task(errno.ECHILD)


def test_the_lab_is_the_option_then_the_environment_then_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    @support.door
    def task(lab: str = "") -> str:
        return lab

    monkeypatch.delenv("DR_LAB", raising=False)
    assert task(lab="") == "lab"
    monkeypatch.setenv("DR_LAB", "other")
    assert task(lab="") == "other"
    assert task(lab="mine") == "mine"
    assert os.environ["DR_LAB"] == "mine"


def test_a_path_is_meant_from_where_the_operator_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_CALLER_CWD", "/home/op")
    assert str(support.caller_path("x.tar")) == "/home/op/x.tar"
    assert str(support.caller_path("/abs/x.tar")) == "/abs/x.tar"


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with support.progress() as say:
        say("One")
        say("Two")
    assert capsys.readouterr().err == "One\nTwo\n"
    assert not sys.stderr.isatty()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["rejoin", "pg1", "--yes"], ["rejoin", "--host", "pg1", "--yes"]),
        (["rejoin", "--yes"], ["rejoin", "--yes"]),
        (["rejoin", "status"], ["rejoin", "status"]),
        (["rejoin"], ["rejoin"]),
    ],
)
def test_rejoin_takes_its_host_without_an_option_as_every_hint_says(typed: list[str], meant: list[str]) -> None:
    assert arguments(typed) == ["dr", *meant]


@pytest.mark.parametrize(("columns", "width"), [(None, 160), ("100", 100)])
def test_what_is_piped_into_a_file_is_not_cut_to_a_terminals_width(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert support.screen().width == width
