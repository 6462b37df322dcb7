"""What a watch costs is what its control group counts: whoever cut itself loose, and whoever has ended, included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drills.benches import account
from drills.benches.account import Account
from inventories.errors import TargetFailed

_WORK = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    end = time.process_time() + 0.3
    while time.process_time() < end: pass
    os._exit(0)
os.wait()
time.sleep(0.8)
"""


def may_make() -> bool:
    try:
        with account.opened("mystocks-dr-test"):
            return True
    except TargetFailed:
        return False


def test_newer_hierarchy_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.peak").write_text(f"{40 * 2**20}\n")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    made = Account(tmp_path, tmp_path, unified=True)
    assert (made.seconds(), made.peak_mib(), made.processes()) == (1.5, 40.0, (os.getpid(),))
    assert made.within[-2:] == ("1", str(tmp_path))
    assert len(made.programs()) == 1


def test_older_hierarchy_is_two(tmp_path: Path) -> None:
    cpu, memory = tmp_path / "cpuacct", tmp_path / "memory"
    cpu.mkdir()
    memory.mkdir()
    (cpu / "cpuacct.usage").write_text("2500000000\n")
    (memory / "memory.max_usage_in_bytes").write_text(f"{12 * 2**20}\n")
    made = Account(cpu, memory, unified=False)
    assert (made.seconds(), made.peak_mib()) == (2.5, 12.0)
    assert made.within[-3:] == ("2", str(cpu), str(memory))


def test_command_enters_every_folder_before_it_begins(tmp_path: Path) -> None:
    cpu, memory = tmp_path / "cpu", tmp_path / "memory"
    cpu.mkdir()
    memory.mkdir()
    made = Account(cpu, memory, unified=False)
    done = subprocess.run([*made.within, "sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    pid = done.stdout.strip()
    assert [(folder / "cgroup.procs").read_text().strip() for folder in (cpu, memory)] == [pid, pid]


def test_command_that_may_not_enter_does_not_begin(tmp_path: Path) -> None:
    made = Account(tmp_path / "gone", tmp_path / "gone", unified=True)
    done = subprocess.run([*made.within, "echo", "began"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_where_no_group_can_be_made_nothing_counts(tmp_path: Path) -> None:
    with pytest.raises(TargetFailed, match="no control group"), account.opened("toy", tmp_path / "nowhere"):
        pass


@pytest.mark.skipif(not may_make(), reason="control groups can be made by root, where they are mounted to write")
def test_work_of_one_that_cut_itself_loose_and_ended_is_counted() -> None:
    with account.opened("mystocks-dr-test") as own:
        folders = own.folders
        subprocess.run([*own.within, sys.executable, "-c", _WORK], check=True)
        assert own.seconds() > 0.3
        assert own.peak_mib() > 1
        left = subprocess.Popen([*own.within, "sleep", "60"])
        while left.pid not in own.processes():
            assert left.poll() is None
    assert left.wait(5) == -15
    assert not any(folder.exists() for folder in folders)
