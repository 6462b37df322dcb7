"""A beat is told by the thread that judges, after it has judged, with the moment of each pair of eyes' newest look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from drills.beats import Beating, beating
from inventories.catalog.recovery import Watch
from inventories.inventory import HostEntry
from runbooks.hosts import Estate, Host
from runbooks.watch.handed import Handed
from runbooks.watch.settings import Settings
from runbooks.watch.sights import Kind, Look, Sight
from runbooks.watch.watching import Watching

SETTINGS = Settings(**Watch().model_dump())


@pytest.fixture
def heard() -> list[Mapping[str, float]]:
    return []


@pytest.fixture
def estate() -> Estate:
    names = ("app1", "pg1", "pg2", "backup1")
    hosts = tuple(Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere")) for name in names)
    groups = {"app": ("app1",), "pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",)}
    return Estate("toy", "toy", hosts, groups, {})


@pytest.fixture
def watch(estate: Estate, heard: list[Mapping[str, float]]) -> Beating:
    made = Beating(estate, SETTINGS, False, lambda *_: None, 0.2, heard.append)
    made.seen.since = 0.0
    return made


def test_beat_says_when_each_pair_of_eyes_has_looked(
    watch: Beating, heard: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def judges(watching: Watching, now: float) -> None:
        assert heard == []  # first it judges

    monkeypatch.setattr(Watching, "step", judges)
    watch.seen.add("app1", Look("app1", Kind.APPLICATION, Sight.SERVES, 9.0, 9.1))
    watch.seen.add("pg1", Look("the watch", Kind.OWN, Sight.SILENT, 9.0, 9.3))
    watch.step(10.0)
    assert heard == [{"app1": 9.1, "the watch": 9.3}]


def test_blind_pair_of_eyes_has_not_looked(
    watch: Beating, heard: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked four times a second all the same: a watch whose sessions are gone would prove everything."""
    monkeypatch.setattr(Watching, "step", lambda *_: None)
    watch.seen.add("app1", Look("app1", Kind.APPLICATION, Sight.SERVES, 9.0, 9.1))
    watch.seen.add("pg2", Look("pg2", Kind.STANDBY, Sight.BLIND, 9.0, 9.2, "it does not answer"))
    watch.step(10.0)
    assert heard == [{"app1": 9.1}]


def test_command_beats_in_lines_of_json_when_asked(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watching, "step", lambda *_: None)
    made = beating(Handed(estate, SETTINGS, False, True, 0.2), lambda *_: None)
    made.seen.since = 0.0
    made.seen.add("app1", Look("app1", Kind.APPLICATION, Sight.SERVES, 9.0, 9.1))
    made.step(10.0)
    told = json.loads(capsys.readouterr().out)
    assert (told["what"], told["looked"]) == ("beat", {"app1": 9.1})


def test_beats_are_apart(
    watch: Beating, heard: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watching, "step", lambda *_: None)
    for tenths in range(20):
        watch.step(10.0 + tenths / 20)
    assert len(heard) == 5


def test_judge_that_hangs_says_nothing(
    watch: Beating, heard: list[Mapping[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watching, "step", hangs)
    with pytest.raises(KeyboardInterrupt):
        watch.step(10.0)
    assert heard == []
