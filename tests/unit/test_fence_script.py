"""The fence over SSH, as a shell runs it: whoever runs is asked first, and nobody is asked who does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.errors import TargetFailed
from inventories.inventory import HostEntry
from runbooks.actions.postgresql import server as act
from runbooks.hosts import Host
from runbooks.layout import Layout

HOST = Host("pg1", HostEntry(name="pg1", ssh_hostname="127.0.0.1"), Path("/nowhere"))


class Box:
    """A host of stubs that note what they were called for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log, self.fenced, self.data = folder / "log", folder / "fenced", folder / "data"
        self.data.mkdir()
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.put("ssh", 'exec sh -c "$5"')
        for name in ("systemctl", "pg_ctlcluster"):
            self.put(name, f'echo "{name} $*" >>{self.log}')
        self.put("ss", f"cat {folder}/listens 2>/dev/null; true")
        self.listens = folder / "listens"
        monkeypatch.setenv("PATH", f"{self.programs}:/usr/bin:/bin")
        monkeypatch.setattr(act, "FENCED", str(self.fenced))
        monkeypatch.setattr(Layout, "data", self.data)

    def put(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(tmp_path, monkeypatch)


@pytest.fixture
def postmaster(box: Box) -> Iterator[subprocess.Popen[bytes]]:
    """A process by the name of postgres, where the data directory says that the server is."""
    shutil.copy("/bin/sleep", box.data / "postgres")
    process = subprocess.Popen([str(box.data / "postgres"), "60"])
    (box.data / "postmaster.pid").write_text(f"{process.pid}\n/data\n")
    yield process
    process.kill()
    process.wait()


def test_server_that_runs_is_asked_before_it_is_killed(box: Box, postmaster: subprocess.Popen[bytes]) -> None:
    act.fence(HOST, Layout(17), "failover to pg2", 2)
    assert [call for call in box.calls if call.startswith("pg_ctlcluster")] == [
        "pg_ctlcluster --skip-systemctl-redirect 17 main stop -m fast"
    ]
    assert postmaster.wait(5) == -9  # it did not listen
    assert box.fenced.read_text() == "failover to pg2\n"


def test_server_that_hangs_is_killed_unasked(box: Box, postmaster: subprocess.Popen[bytes]) -> None:
    act.fence(HOST, Layout(17), "failover to pg2", 0)
    assert not [call for call in box.calls if call.startswith("pg_ctlcluster")]
    assert postmaster.wait(5) == -9


@pytest.mark.parametrize("left", ["", "1\n/data\n", "no number\n"])
def test_server_that_does_not_run_is_not_asked_and_is_fenced_all_the_same(box: Box, left: str) -> None:
    if left:
        (box.data / "postmaster.pid").write_text(left)  # of a crash: another process has the number
    act.fence(HOST, Layout(17), "failover to pg2", 2)
    assert not [call for call in box.calls if call.startswith("pg_ctlcluster")]
    assert box.calls[0].startswith("systemctl mask")
    assert box.fenced.exists()


def test_somebody_who_goes_on_listening_is_not_fenced(box: Box) -> None:
    box.listens.write_text("LISTEN 0 200 0.0.0.0:5432\n")
    with pytest.raises(TargetFailed):
        act.fence(HOST, Layout(17), "failover to pg2", 2)


def test_nobody_is_fenced_where_nobody_can_tell_who_listens(box: Box) -> None:
    box.put("ss", "exit 1")
    with pytest.raises(TargetFailed):
        act.fence(HOST, Layout(17), "failover to pg2", 2)
