"""What an application host is given to listen for the alarms with, and that nothing of it stays where nobody alarms."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from agents.alarms.heard import load
from deploys import heard, watch


class Deploy:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, watches: tuple[str, ...], **data: Any) -> None:
        self.placed: dict[str, Any] = {}
        self.services: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.packages: list[str] = []
        self.data = SimpleNamespace(get={"estate": "mine", **data}.get)
        nodes = tuple(SimpleNamespace(name=name, address="192.0.2.31") for name in watches)
        monkeypatch.setattr(heard.estate, "nodes", lambda *_: nodes)
        monkeypatch.setattr(heard, "host", self)
        monkeypatch.setattr(heard, "placed", self._put)
        monkeypatch.setattr(heard, "packages", lambda names, **_: self.packages.extend(names))
        monkeypatch.setattr(heard, "any_changed", lambda *_: None)
        monkeypatch.setattr(heard.systemd, "daemon_reload", lambda **_: None)
        monkeypatch.setattr(heard.systemd, "service", lambda **more: self.services.append(more))
        self.ended: list[str] = []
        monkeypatch.setattr(watch, "away", self._away)

    def get_fact(self, _fact: object, paths: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(paths, ("regular",))

    def _away(self, _: str, *paths: str, service: str = "") -> None:
        self.removed.extend(paths)
        self.ended.append(service)

    def _put(self, places: list[Any], **_: object) -> SimpleNamespace:
        self.placed |= {place.path: place for place in places}
        return SimpleNamespace(did_change=None)


CHANNELS = {"hook": "jsons://dr:{secret}@hooks.example.org", "pager": ["/bin/page"], "unused": "log"}
PEOPLE = {"operators": ["hook"], "lead": ["pager"]}


def test_it_listens_for_the_first_watch_and_tells_everybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("DR_SECRET_ALARM_HOOK", "hush-hush")
    deploy = Deploy(monkeypatch, ("backup1", "control2"), alarm_channels=CHANNELS, alarm_people=PEOPLE)
    heard.deploy()
    settings = deploy.placed[heard.SETTINGS]
    assert (settings.mode, settings.owner, settings.group) == ("0640", "root", "mystocks")
    (tmp_path / "heard.json").write_text(settings.text)
    read = load(tmp_path / "heard.json")
    assert read.who == "backup1"
    assert read.channels == {"hook": "jsons://dr:hush-hush@hooks.example.org", "pager": ["/bin/page"]}
    assert deploy.packages == ["apprise"]
    assert "agents.alarms.heard --config /etc/mystocks-dr/heard.json" in deploy.placed[heard._SERVICE].text
    assert deploy.services[0]["service"] == "mystocks-heard.timer" and deploy.services[0]["running"]


def test_a_command_alone_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    people = {"operators": ["pager"], "lead": ["pager"]}
    deploy = Deploy(monkeypatch, ("backup1",), alarm_channels={"pager": ["/bin/page"]}, alarm_people=people)
    heard.deploy()
    assert deploy.packages == []
    assert json.loads(deploy.placed[heard.SETTINGS].text)["channels"] == {"pager": ["/bin/page"]}


@pytest.mark.parametrize(("watches", "channels"), [((), CHANNELS), (("backup1",), {})])
def test_where_nobody_alarms_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, watches: tuple[str, ...], channels: dict[str, Any]
) -> None:
    deploy = Deploy(monkeypatch, watches, alarm_channels=channels, alarm_people=PEOPLE)
    heard.deploy()
    assert deploy.placed == {} and heard.SETTINGS in deploy.removed
    assert deploy.ended == ["mystocks-heard.timer"]
