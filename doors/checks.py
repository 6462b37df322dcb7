"""What holds this repository to its word: lint, and tests from cheap to dear."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import tomllib
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import door, progress
from inventories.errors import DrError, ExitCode

ROOT = Path(__file__).resolve().parent.parent
SHELL_SCRIPTS = ("dr", ".ci/run", "lab/recipe/customise.sh")
HOSTS_PYTHON = "3.10"  # of the oldest distribution that hosts may have
ON_HOSTS = (
    "agents.alarms", "agents.client", "agents.feed", "agents.guard", "agents.jobs", "agents.monitor",
    "agents.offsite", "agents.postgresql", "agents.sqlite", "agents.tracker", "agents.watch", "agents.writing",
    "mystocks_dr",
)  # fmt: skip
SUITES = ("tests/unit", "tests/plan", "tests/drills")  # tests/verify needs an estate: ./dr verify
NO_LAB = "not lab"
NO_LONG = "not long"
# One process goes through everything that needs the lab, in order; the other, meanwhile, through everything else.
AT_ONCE = ("--numprocesses", "2")
_SLOWEST = ("--durations", "40", "--durations-min", "10")  # what a machine without a terminal spends its hour on
# pytest's own codes; every other one is a failure, also 2, with which it gives up where a file cannot be imported.
_ENDS = {0: ExitCode.PASSED, 4: ExitCode.BAD_INPUT}
_NOTHING_RAN = 5


@task
@door
def lint(c: Context) -> None:
    """Check style, types, shell scripts and alarms' rules."""
    _lint()


@task(
    help={
        "keyword": "only tests whose names match, as pytest's -k",
        "markers": "only tests with these markers, as pytest's -m",
        "fast": "leave out the tests that need a lab",
        "all": "also the long tests in the lab: every drill, every trouble, each step interrupted; and those of frames",
        "lab": "name of the lab that tests make and remove (default: $DR_TEST_LAB, else t-main)",
    }
)
def test(
    c: Context, keyword: str = "", markers: str = "", fast: bool = False, all: bool = False, lab: str = ""
) -> None:
    """Run lint, then unit, plan and lab tests.

    What follows -- goes to pytest. DR_TEST_KEEP=1 keeps the lab for a look at it.
    """
    # Not `lab`: the door would resolve that to the lab that drills run in, which tests must never touch.
    _test(keyword=keyword, markers=markers, fast=fast, long=all, test_lab=lab)


@door
def _test(keyword: str, markers: str, fast: bool, long: bool, test_lab: str) -> None:
    _lint()
    if long:
        _install_frames()
    if not fast:
        _prepare_for_labs()
    environment = {**os.environ, **({"DR_TEST_LAB": test_lab} if test_lab else {})}
    ended = _run(pytest_command(keyword, markers, fast, long, _after_dashes(sys.argv)), environment)
    if ended == _NOTHING_RAN:
        raise Exit(
            "No test ran, which proves nothing.\nHINT: -k and -m select from what pytest --collect-only lists.",
            code=int(ExitCode.FAILED),
        )
    if ended:
        # No sentence: pytest's closing line stays the last one, where a CI looks for it.
        raise Exit(code=int(_ENDS.get(ended, ExitCode.FAILED)))


def pytest_command(
    keyword: str, markers: str, fast: bool, long: bool = False, further: Sequence[str] = ()
) -> list[str]:
    """One command for every suite, so that one closing line counts all; without a lab the lab tests are left out.

    The long ones run when they are asked for, all of them or by a selection of one's own.
    """
    short = not (long or keyword or markers)
    chosen = " and ".join(
        [*([f"({markers})"] if markers else []), *([NO_LAB] if fast else []), *([NO_LONG] if short else [])]
    )
    return [
        sys.executable, "-m", "pytest", "-v",  # with -q of pyproject.toml: a line for each file, as it goes on
        *SUITES[: 2 if fast else 3],
        *(["-k", keyword] if keyword else []),
        *(["-m", chosen] if chosen else []),
        *([] if keyword or markers else (*AT_ONCE, *_SLOWEST)),
        *further,
    ]  # fmt: skip


def _prepare_for_labs() -> None:
    """Install what labs need; where that cannot be, the tests that need a lab say so, and the others still run."""
    from lab.machine import ensure_engine, ensure_ssh

    with progress() as say:
        try:
            ensure_ssh(say)
            ensure_engine(say)
        except DrError as why:
            say(f"Tests that need a lab will fail (--fast leaves them out): {why} {why.hint}")


def frames() -> tuple[str, ...]:
    """Libraries whose frames the client library saves; it needs none of them, and only its tests do."""
    with (ROOT / "client/pyproject.toml").open("rb") as file:
        return tuple(tomllib.load(file)["project"]["optional-dependencies"]["frames"])


def _install_frames() -> None:
    """Hundreds of MiB, so only for who runs everything; where that cannot be, their tests say why they are skipped."""
    missing = [name for name in frames() if find_spec(name) is None]
    if not missing:
        return
    with progress() as say:
        say(f"Installing {', '.join(missing)} for the tests of frames")
        command = (sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *missing)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            why = next(reversed(done.stderr.strip().splitlines()), f"pip ended with {done.returncode}")
            say(f"Tests of frames are skipped: {why}")


def _lint() -> None:
    failed: list[str] = []
    with progress() as say:
        for name, command in _linters(say):
            say(name)
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                failed.append(f"{done.stdout}{done.stderr}".strip() or f"{name} ended with {done.returncode}.")
    failed += _misnamed()
    for sentence in _outdated():
        print(f"WARNING: {sentence}")
    if failed:
        raise Exit("\n".join(failed), code=int(ExitCode.FAILED))


def _misnamed() -> list[str]:
    """A rule of the alarms that names a figure which nobody exports would be silent for ever."""
    from inventories.catalog.load import load_alarms
    from runbooks.alarms.evaluating import require_known

    try:
        require_known(load_alarms())
    except DrError as error:
        return [error.render()]
    return []


def _outdated() -> tuple[str, ...]:
    """Tables of the README that are older than the code they measured: said and no failure, see docs/decisions.md."""
    from drills.benches.pages import outdated

    return outdated((ROOT / "README.md").read_text(encoding="utf-8"))


def _linters(say: Callable[[str], None]) -> Iterator[tuple[str, Sequence[str]]]:
    yield "ruff check", (sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise", ".")
    yield "mypy --strict", (sys.executable, "-m", "mypy", "--strict")
    # What runs on hosts, or in the trading system, meets the oldest Python there: what that one has not is found here.
    yield f"mypy for Python {HOSTS_PYTHON}", (
        sys.executable, "-m", "mypy", "--python-version", HOSTS_PYTHON, *(f"--package={name}" for name in ON_HOSTS),
    )  # fmt: skip
    if _has_shellcheck(say):
        yield "shellcheck", ("shellcheck", *SHELL_SCRIPTS)


def _has_shellcheck(say: Callable[[str], None]) -> bool:
    from lab.machine import ensure_programs

    try:
        ensure_programs({"shellcheck": "shellcheck"}, say)
    except DrError as why:
        say(f"Shell scripts stay unchecked: {why}")
    return shutil.which("shellcheck") is not None


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The child's exit code. An interrupt reaches the child too, and it is given the time to remove its lab."""
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.wait()
            raise


def _after_dashes(argv: Sequence[str]) -> list[str]:
    """What was typed after ``--``, word by word; invoke hands it on as one string, without its quotes."""
    return list(argv[argv.index("--") + 1 :]) if "--" in argv else []


TOP_LEVEL = (lint, test)
