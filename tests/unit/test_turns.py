"""A program that writes much works in turns: its writes are flushed, it rests as long, and it ends as it would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from agents.postgresql.side import turns

# As pgBackRest does: one leads, and two workers write what they are told to and answer through a pipe.
WORKS = """
import os, sys
with open(sys.argv[1], "wb", buffering=0) as file:
    for _ in range(200):
        file.write(os.urandom(100_000))
os.write(1, b"x" * 300_000)
"""
WRITES = f"""
import os, sys, time
inner, outer = os.pipe()
for name in ("one", "two"):
    if os.fork() == 0:
        time.sleep(float(sys.argv[2]))
        os.dup2(outer, 1)
        os.execv(sys.executable, [sys.executable, "-c", {WORKS!r}, f"{{sys.argv[1]}}/{{name}}"])
os.close(outer)
sys.exit(7 if sum(len(part) for part in iter(lambda: os.read(inner, 1 << 16), b"")) == 600_000 else 8)
"""


def begun(folder: Path, waits_s: float = 0) -> subprocess.Popen[bytes]:
    """`waits_s`: between a worker's fork and the moment at which it has its pipe."""
    command = [*turns.MANNERS, sys.executable, "-c", WRITES, str(folder), str(waits_s)]
    return subprocess.Popen(command, preexec_fn=turns.lead)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LOOKS_EVERY_S", 0.02)


def test_its_workers_rest_it_does_not_and_what_they_wrote_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: set[str] = set()
    resting: dict[bool, list[str]] = {True: [], False: []}
    child = begun(tmp_path)

    def fdatasync(handle: int) -> None:
        flushed.add(Path(f"/proc/self/fd/{handle}").readlink().name)
        really(handle)

    def tell(workers: dict[str, int], what: signal.Signals) -> None:
        if what == signal.SIGCONT:
            for path in (f"/proc/{child.pid}", *workers):
                resting[path in workers].append(state(path))
        told(workers, what)

    really, told = os.fdatasync, turns._tell
    monkeypatch.setattr(turns.os, "fdatasync", fdatasync)
    monkeypatch.setattr(turns, "_tell", tell)
    assert turns.take(child) == 7, "an answer was cut short"
    assert {"one", "two"} <= flushed
    at_work = [one for one in resting[True] if one not in "XZ"]
    assert at_work.count("T") > len(at_work) / 2, "they wrote on instead"
    assert "T" not in resting[False], "who leads may be writing to a worker"
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {20_000_000}


@pytest.mark.usefixtures("quick")
def test_whoever_is_interrupted_leaves_nobody_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = begun(tmp_path)

    def interrupted(members: tuple[str, ...]) -> None:
        if len(members) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(turns, "_flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        turns.take(child)
    assert child.wait(30) == 7, "they went on by themselves"


@pytest.mark.usefixtures("quick")
def test_whoever_is_interrupted_while_it_lets_them_go_on_leaves_nobody_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, told, interrupted = begun(tmp_path), turns._tell, []

    def tell(workers: dict[str, int], what: signal.Signals) -> None:
        if what == signal.SIGCONT and len(workers) == 2 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        told(workers, what)

    monkeypatch.setattr(turns, "_tell", tell)
    with pytest.raises(KeyboardInterrupt):
        turns.take(child)
    try:
        assert child.wait(30) == 7, "they went on by themselves"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


# Who leads ends at once, its worker takes its time, or hears nothing of it.
LINGERS = """
import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: sys.argv[1] == "late" and (time.sleep(0.5), os._exit(0)))
    print("there", flush=True)
    while True:
        time.sleep(60)
time.sleep(60)
"""


@pytest.mark.parametrize("worker", ["late", "deaf"])
def test_what_is_ended_has_ended_with_its_workers(worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_ENDS_WITHIN_S", 2.0)
    command = [sys.executable, "-c", LINGERS, worker]
    child = subprocess.Popen(command, preexec_fn=turns.lead, stdout=subprocess.PIPE)
    assert child.stdout
    with child.stdout as said:
        assert said.readline() == b"there\n"
        turns.end(child)
        assert child.returncode == -signal.SIGTERM
        assert not any(turns._group_of(child.pid)), "its files cannot be removed"


# Its disk hangs as soon as two workers rest: it says who leads them, and stays where it is.
KILLED = """
import subprocess, sys, time
from agents.postgresql.side import turns
turns._LOOKS_EVERY_S = 0.02
child = subprocess.Popen(sys.argv[1:], preexec_fn=turns.lead)
turns._flush = lambda members: len(members) == 3 and (print(child.pid, flush=True), time.sleep(60))
turns.take(child)
"""


def test_whoever_is_killed_while_they_rest_leaves_nobody_behind(tmp_path: Path) -> None:
    writes = [*turns.MANNERS, sys.executable, "-c", WRITES, str(tmp_path), "0"]
    agent = subprocess.Popen([sys.executable, "-c", KILLED, *writes], stdout=subprocess.PIPE, text=True)
    assert agent.stdout
    leader = int(agent.stdout.readline())
    members = [f"/proc/{leader}", *turns._group_of(leader)]
    deadline = time.monotonic() + 20
    while [state(path) for path in members].count("T") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    agent.kill()
    agent.wait()
    while {state(path) for path in members} - {"X", "Z"} and time.monotonic() < deadline:
        time.sleep(0.01)
    found = [state(path) for path in members]
    agent.stdout.close()
    if set(found) - {"X", "Z"}:
        os.killpg(leader, signal.SIGKILL)
    assert len(members) == 3
    assert set(found) <= {"X", "Z"}, "they hold the side cluster's name, and its lock, for ever"


@pytest.mark.usefixtures("quick")
def test_a_worker_whose_pipe_is_too_small_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PIPE_BYTES", 1 << 40)
    monkeypatch.setattr(turns.signal, "pidfd_send_signal", lambda *_: pytest.fail("it may wait in that pipe"))
    assert turns.take(begun(tmp_path)) == 7


@pytest.mark.usefixtures("quick")
def test_a_fork_that_has_no_pipe_yet_is_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for one without a pipe, it would be stopped later in a pipe that nobody has widened."""
    sizes: set[int] = set()

    def fcntl(handle: int, what: int, bytes_: int) -> int:
        sizes.add(bytes_)
        return really(handle, what, bytes_)

    really = turns.fcntl.fcntl
    monkeypatch.setattr(turns.fcntl, "fcntl", fcntl)
    assert turns.take(begun(tmp_path, waits_s=0.5)) == 7
    assert sizes == {turns._PIPE_BYTES}, "no pipe was looked at once it was there"


def state(path: str) -> str:
    try:
        return Path(path, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
