"""Who acts for the watch is a process that is there while a loss is expected: real processes, toys for the runbook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.catalog.recovery import Watch
from inventories.inventory import HostEntry
from runbooks.engine.outcome import Outcome
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.watch.deputy import PROGRAM, READY_S, Deed, Deputy
from runbooks.watch.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("app1", "pg1", "pg2", "backup1")
# The real program; what it runs is played, and so is what it makes ready: a file for each time.
_PLAYED = """
import pathlib, sys, time
from runbooks.watch import failing_over as program
folder = pathlib.Path({folder!r})
program.get_ready = lambda estate, primary: (folder / f"ready-{{time.monotonic_ns()}}").write_text(primary.name)
def execute(procedure, estate, options, say):
    say("1/9 assess: look")
    {does}
program.execute = execute
sys.exit(program.main())
"""
_REFUSES = "from inventories.errors import Refused; raise Refused(f'{estate.name} is not lost', 'look')"
_FENCES = "say('2/9 fence: cut it off'); time.sleep(60)"
_DIES = "import os; say('2/9 fence: cut it off'); os._exit(7)"


@pytest.fixture
def estate() -> Estate:
    hosts = tuple(Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere")) for name in NAMES)
    groups = {"app": ("app1",), "pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",)}
    return Estate("toy", "toy", hosts, groups, {"postgres_version": 17})


class Played:
    """A deputy with that program, what it has said, and how often something was made ready."""

    def __init__(self, estate: Estate, folder: Path, does: str) -> None:
        self.said: list[str] = []
        self.folder, self.primary = folder, estate.host("pg1")
        program = _PLAYED.format(folder=str(folder), does=does)
        self.deputy = Deputy(estate, self.said.append, (sys.executable, "-c", program))

    @property
    def readied(self) -> int:
        return len(list(self.folder.glob("ready-*")))

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self.deputy._process
        return self.deputy._process


@pytest.fixture
def refusing(estate: Estate, tmp_path: Path) -> Iterator[Played]:
    made = Played(estate, tmp_path, _REFUSES)
    yield made
    made.deputy.dismiss()


def test_it_is_begun_once_makes_ready_and_acts_at_a_word(refusing: Played) -> None:
    now = time.monotonic()
    refusing.deputy.expect(refusing.primary, now)
    begun = refusing.process
    until(lambda: refusing.readied == 1, 20, what="what is asked first")
    refusing.deputy.expect(refusing.primary, now + 1)
    refusing.deputy.expect(refusing.primary, now + READY_S + 1)  # what was begun ahead is too old by then
    until(lambda: refusing.readied == 2, 20, what="the same anew")
    assert refusing.process is begun
    found = refusing.deputy.fail_over(refusing.primary)
    assert found == Deed(Outcome.REFUSED, "toy is not lost", "look", touched=False)
    assert refusing.said == ["1/9 assess: look"]
    assert begun.returncode == 0


def test_nobody_expects_anything_any_more_and_it_is_gone(refusing: Played) -> None:
    now = time.monotonic()
    refusing.deputy.expect(refusing.primary, now)
    process = refusing.process
    refusing.deputy.rest(now + READY_S - 1)
    assert process.poll() is None
    refusing.deputy.rest(now + READY_S)
    assert process.returncode == -signal.SIGKILL
    assert refusing.deputy._process is None


@pytest.mark.parametrize("begun", [False, True], ids=["never begun", "dead"])
def test_one_that_is_not_there_is_begun_when_it_has_to_act(refusing: Played, begun: bool) -> None:
    if begun:
        refusing.deputy.expect(refusing.primary, time.monotonic())
        refusing.process.kill()
        refusing.process.wait()
    assert refusing.deputy.fail_over(refusing.primary).outcome is Outcome.REFUSED


def test_one_that_dies_while_it_acts_has_touched_what_nobody_knows(estate: Estate, tmp_path: Path) -> None:
    found = Played(estate, tmp_path, _DIES)
    deed = found.deputy.fail_over(found.primary)
    assert (deed.outcome, deed.touched) == (Outcome.FAILED, True)
    assert "ended with 7" in deed.says


def test_program_that_cannot_be_begun_has_touched_nothing(estate: Estate, tmp_path: Path) -> None:
    for program in ("/nowhere/python", "/bin/false"):
        deed = Deputy(estate, lambda _: None, (program,)).fail_over(estate.host("pg1"))
        assert (deed.outcome, deed.touched) == (Outcome.FAILED, False)


def test_signal_that_the_watch_gets_interrupts_the_runbook(estate: Estate, tmp_path: Path) -> None:
    found = Played(estate, tmp_path, _FENCES)
    deeds: list[Deed] = []
    thread = threading.Thread(target=lambda: deeds.append(found.deputy.fail_over(found.primary)))
    thread.start()
    until(lambda: len(found.said) == 2, 20, what="the fence")
    found.deputy.interrupt()
    thread.join(20)
    (deed,) = deeds
    assert (deed.outcome, deed.touched) == (Outcome.INTERRUPTED, True)
    assert "runbook.abandon" in deed.hint


def test_watch_that_is_killed_interrupts_the_runbook(estate: Estate, tmp_path: Path) -> None:
    """What it has begun is not left running for nobody."""
    found = Played(estate, tmp_path, _FENCES)
    found.deputy.expect(found.primary, time.monotonic())
    process = found.process
    assert process.stdin and process.stdout
    process.stdin.write(b"act\n")
    process.stdin.flush()
    assert b"begins" in process.stdout.readline()
    process.stdin.close()
    process.wait(20)
    assert b"interrupted" in process.stdout.read()


def test_it_goes_with_a_watch_that_is_killed_before_it_acts(refusing: Played) -> None:
    refusing.deputy.expect(refusing.primary, time.monotonic())
    assert refusing.process.stdin
    refusing.process.stdin.close()
    assert refusing.process.wait(20) == 0


def test_program_runs_the_failover_that_a_person_would(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers, so that its gates refuse or its first step fails; nothing is touched."""
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DR_RUNS", str(tmp_path / "runs"))
    said: list[str] = []
    deed = Deputy(estate, said.append, PROGRAM).fail_over(estate.host("pg1"))
    assert deed.outcome in (Outcome.REFUSED, Outcome.FAILED), deed
    assert not deed.touched
    assert list((tmp_path / "runs").glob("*-failover*"))


# What a runbook, a door or a catalogue needs, and a watch that looks does not.
_HEAVY = (
    "invoke", "jinja2", "psycopg2", "pytest", "rich", "yaml", "doors", "inventories.catalog", "runbooks.procedures",
)  # fmt: skip


def test_process_that_looks_has_nothing_in_memory_that_only_acting_needs() -> None:
    shows = "import sys, runbooks.watch.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", shows], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "runbooks.watch.watching" in loaded.split()
    assert not [name for name in loaded.split() if name.startswith(_HEAVY)]


_BECOMES = """
import sys
from pathlib import Path
from inventories.inventory import HostEntry
from runbooks.hosts import Estate, Host
from runbooks.watch.handed import Handed, become
from runbooks.watch.settings import Settings
host = Host("pg1", HostEntry(name="pg1", ssh_hostname="192.0.2.1", _of="whom"), Path("/nowhere"))
groups = {"app": ("pg1",), "pg_primary": ("pg1",), "backup": ("pg1",)}
settings = Settings(*range(7))
print("said before", end="")
become("runbooks.watch.main", Handed(Estate("toy", "toy", (host,), groups, {"a": ("b", 1)}), settings, True, False))
"""


def test_door_becomes_the_process_that_looks(tmp_path: Path) -> None:
    """The same number, and whatever was known; here a watch that has nobody to look through."""
    ran = subprocess.run(
        [sys.executable, "-c", _BECOMES], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "DR_STATE": str(tmp_path)},
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert "there is no standby" in ran.stderr and "HINT: add a host to pg_standby" in ran.stderr
    assert ran.stdout == "said before"


def test_settings_are_those_of_the_catalogue() -> None:
    assert Settings(**Watch().model_dump()).patience_s == Watch().patience_s
