"""The alarm command hears of every alarm, however long it fails, and whatever ends who raises one."""

from __future__ import annotations

import json
import subprocess
import sys
import syslog
import threading
import time
from pathlib import Path

import pytest

from agents.base import files
from agents.base.locks import FileLock
from agents.jobs import alarm, untold
from agents.jobs.config import Settings
from tests.unit.jobs_kit import ROOT, BackupHost, backup_host

_COMMAND = """
import pathlib, sys, time
here = pathlib.Path({folder!r})
text = sys.stdin.read()
(here / "asked").touch()
while (here / "hangs").exists():
    time.sleep(0.02)
if (here / "out").exists():
    (here / "failed").touch()
    sys.exit("nobody answers")
with (here / "told").open("a") as told:
    told.write(text)
"""
_TELLS = """
import pathlib, sys
from agents.jobs import alarm, config
alarm.raise_alarm(config.load(pathlib.Path(sys.argv[1])), ["pg1 is lost"])
"""


class Pager:
    """The alarm command of a backup host, which can fail."""

    def __init__(self, host: BackupHost) -> None:
        self.host, self.folder = host, host.folder
        (host.folder / "pager.py").write_text(_COMMAND.format(folder=str(host.folder)))
        host.change(alarm_command=[sys.executable, str(host.folder / "pager.py")])

    @property
    def settings(self) -> Settings:
        return self.host.settings

    def is_out(self, out: bool) -> None:
        (self.folder / "out").touch() if out else (self.folder / "out").unlink()

    @property
    def told(self) -> list[str]:
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pager:
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: None)
    return Pager(backup_host(tmp_path))


def test_what_was_not_taken_goes_with_the_next_one_the_oldest_first_and_only_once(pager: Pager) -> None:
    pager.is_out(True)
    assert "ended with 1: nobody answers" in alarm.raise_alarm(pager.settings, ["pg1 is lost"])
    assert alarm.raise_alarm(pager.settings, ["incr failed"])
    pager.is_out(False)
    assert alarm.raise_alarm(pager.settings, ["pg2 is lost"]) == ""
    assert pager.told == ["pg1 is lost.", "incr failed.", "pg2 is lost."]
    assert alarm.raise_alarm(pager.settings, []) == "" and len(pager.told) == 3
    assert untold.read(pager.settings.states) == []


def test_a_hundred_outages_lose_nothing_and_double_nothing(pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    out = True

    def command(_: object, text: str) -> str:
        if not out:
            told.extend(text.splitlines())
        return "nobody answers" if out else ""

    monkeypatch.setattr(alarm, "_tell", command)
    for nr in range(100):
        out = True
        assert alarm.raise_alarm(pager.settings, [f"disk {nr} is full"])
        out = nr % 3 == 0
        alarm.raise_alarm(pager.settings, [])
    out = False
    alarm.raise_alarm(pager.settings, [])
    assert sorted(told) == sorted(f"disk {nr} is full." for nr in range(100))


def test_an_alarm_that_grows_older_while_it_waits_is_told_once_as_it_is_now(pager: Pager) -> None:
    pager.is_out(True)
    for age in ("51.2 h", "52.2 h", "53.2 h"):
        alarm.raise_alarm(pager.settings, [f"the last proof, of 20261128-101500F, is {age} old, the limit is 50.0 h"])
    alarm.raise_alarm(pager.settings, ["the last proof, of 20261129-101500F, is 53.2 h old, the limit is 50.0 h"])
    pager.is_out(False)
    alarm.raise_alarm(pager.settings, [])
    assert [line.split(", ")[1:3] for line in pager.told] == [
        ["of 20261128-101500F", "is 53.2 h old"], ["of 20261129-101500F", "is 53.2 h old"],
    ]  # fmt: skip


def test_one_that_is_told_late_says_since_when(pager: Pager) -> None:
    pager.is_out(True)
    alarm.raise_alarm(pager.settings, ["pg1 is lost"])
    (path,) = pager.settings.states.glob("untold-*")
    path.write_text(json.dumps({"at": 1795939200.0, "line": "pg1 is lost."}))
    pager.is_out(False)
    alarm.raise_alarm(pager.settings, ["pg2 is lost"])
    assert pager.told == ["(Untold since 2026-11-29 08:00 UTC.) pg1 is lost.", "pg2 is lost."]


def test_one_whose_teller_was_killed_is_told_by_the_next(pager: Pager) -> None:
    (pager.folder / "hangs").touch()
    teller = subprocess.Popen([sys.executable, "-c", _TELLS, str(pager.folder / "jobs.json")], cwd=ROOT)
    waited(pager, "asked")
    teller.kill()
    teller.wait(10)
    pager.is_out(True)
    (pager.folder / "hangs").unlink()
    waited(pager, "failed")
    pager.is_out(False)
    assert alarm.raise_alarm(pager.settings, []) == ""
    assert pager.told == ["pg1 is lost."]


def test_the_hourly_catch_up_tells_what_waits(pager: Pager) -> None:
    pager.is_out(True)
    alarm.raise_alarm(pager.settings, ["pg1 is lost"])
    pager.is_out(False)
    for job in ("full", "incr", "verify", "expire"):
        pager.host.note(job, armed_at=time.time())
    pager.host.run("catch-up")
    assert pager.told == ["pg1 is lost."]


def test_alarms_of_several_at_once_are_each_told_once(pager: Pager) -> None:
    many = [threading.Thread(target=alarm.raise_alarm, args=(pager.settings, [f"pg{nr} is lost"])) for nr in range(8)]
    for one in many:
        one.start()
    for one in many:
        one.join(60)
    assert sorted(pager.told) == [f"pg{nr} is lost." for nr in range(8)]


def test_one_that_cannot_be_told_for_another_waits(pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm, "_TELLING_S", 0.2)
    other = FileLock(pager.settings.states / "telling.lock")
    assert other.take()
    assert "still telling another alarm" in alarm.raise_alarm(pager.settings, ["pg1 is lost"])
    other.release()
    assert [one.line for one in untold.read(pager.settings.states)] == ["pg1 is lost."]


def test_a_disk_that_takes_nothing_keeps_nobody_from_being_told(pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", full)
    assert alarm.raise_alarm(pager.settings, ["pg1 is lost"]) == ""
    pager.is_out(True)
    assert alarm.raise_alarm(pager.settings, ["pg1 is lost"])
    assert pager.told == ["pg1 is lost."]


def test_what_is_damaged_keeps_no_other_from_being_told(pager: Pager) -> None:
    (pager.settings.states / "untold-0").write_text("{")
    assert alarm.raise_alarm(pager.settings, ["pg1 is lost"]) == ""
    assert pager.told == ["pg1 is lost."]


def waited(pager: Pager, name: str) -> None:
    ends = time.monotonic() + 20
    while not (pager.folder / name).exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
