"""A program that writes much works in turns: its writes are flushed, it rests as long, and it ends as it would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.postgresql.side import turns

# As pgBackRest does: one leads, and two workers write what they are told to and answer through a pipe.
WRITES = """
import os, sys
inner, outer = os.pipe()
for name in ("one", "two"):
    if os.fork() == 0:
        os.dup2(outer, 1)
        with open(f"{sys.argv[1]}/{name}", "wb", buffering=0) as file:
            for _ in range(200):
                file.write(os.urandom(100_000))
        os.write(1, b"x" * 300_000)
        os._exit(0)
os.close(outer)
sys.exit(7 if sum(len(part) for part in iter(lambda: os.read(inner, 1 << 16), b"")) == 600_000 else 8)
"""


def begun(folder: Path) -> subprocess.Popen[bytes]:
    command = [*turns.MANNERS, sys.executable, "-c", WRITES, str(folder)]
    return subprocess.Popen(command, start_new_session=True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LOOKS_EVERY_S", 0.02)


@pytest.mark.usefixtures("quick")
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
def test_a_worker_whose_pipe_is_too_small_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PIPE_BYTES", 1 << 40)
    monkeypatch.setattr(turns.signal, "pidfd_send_signal", lambda *_: pytest.fail("it may wait in that pipe"))
    assert turns.take(begun(tmp_path)) == 7


def state(path: str) -> str:
    try:
        return Path(path, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
