"""What a deploy lays on the hosts for SQLite databases: settings that the programs read, and nothing where none is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from pyinfra.operations import systemd

from agents.sqlite.expire import Law
from agents.sqlite.receiver import law
from agents.sqlite.settings import load
from agents.writing.copy_server import load as load_receiver
from deploys import estate
from deploys.pki import issue
from deploys.sqlite import hosts
from inventories.errors import BadInput

WANTS = f"/etc/systemd/system/multi-user.target.wants/{hosts.PROTECTOR}"
NODES = {"app": ("app1", "192.0.2.11"), "backup": ("backup1", "192.0.2.31")}


class Deploy:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, pki: Path, names: list[str], *there: str) -> None:
        self.placed: dict[str, Any] = {}
        self.services: list[dict[str, Any]] = []
        self.packages: list[str] = []
        self.there = there
        self.data = SimpleNamespace(get={"sqlite_databases": names, "sqlite_max_mb": 8192}.get)
        secret = {"pgbackrest_cipher": SecretStr("of the repository")}
        monkeypatch.setattr(hosts, "host", self)
        monkeypatch.setattr(hosts, "placed", self._put)
        monkeypatch.setattr(hosts, "packages", lambda names, **_: self.packages.extend(names))
        monkeypatch.setattr(hosts, "any_changed", lambda *_: None)
        monkeypatch.setattr(systemd, "daemon_reload", lambda **_: None)
        monkeypatch.setattr(systemd, "service", lambda **more: self.services.append(more))
        monkeypatch.setattr(estate, "secret", lambda: secret)
        monkeypatch.setattr(estate, "certificate", lambda: issue(pki, "app1", "192.0.2.11"))
        monkeypatch.setattr(estate, "nodes", lambda group: (SimpleNamespace(**_node(group)),))

    def get_fact(self, _fact: object, paths: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        return {path: ("regular",) for path in paths if path in self.there}

    def _put(self, places: list[Any], **_: object) -> SimpleNamespace:
        self.placed |= {place.path: place for place in places}
        return SimpleNamespace(did_change=None)

    @property
    def running(self) -> dict[str, bool]:
        return {one["service"]: one["running"] for one in self.services if "running" in one}


def _node(group: str) -> dict[str, str]:
    name, address = NODES[group]
    return {"name": name, "address": address}


def test_programs_read_what_is_laid_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deploy = Deploy(monkeypatch, tmp_path / "pki", ["trading", "outbox"])
    hosts.protect()
    (tmp_path / "sqlite.json").write_text(deploy.placed[hosts.SETTINGS].text)
    read = load(tmp_path / "sqlite.json")
    assert sorted(read.databases) == ["outbox", "trading"]
    assert str(read.database("trading").path).startswith(f"{hosts.DATABASES}/")
    there = read.there()
    assert (there.host, there.address, there.port) == ("backup1", "192.0.2.31", hosts.PORT)
    hosts.receiver(SimpleNamespace())  # type: ignore[arg-type]
    (tmp_path / "receiver.json").write_text(deploy.placed[hosts.RECEIVER_SETTINGS].text)
    receiver = load_receiver(tmp_path / "receiver.json")
    assert law(tmp_path / "receiver.json") == Law(full_copies=2, days=28, every_days=2)
    assert (receiver.port, receiver.clients, receiver.max_bytes) == (there.port, ("app1",), 8192 << 20)
    assert deploy.running == dict.fromkeys(
        ("mystocks-sqlite@trading", "mystocks-sqlite@outbox", "mystocks-sqlite-receiver"), True
    )


def test_key_and_certificate_are_the_writers_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deploy = Deploy(monkeypatch, tmp_path, ["trading"])
    hosts.protect()
    for path in (hosts.CIPHER, f"{hosts.ETC}/host.key"):
        assert (deploy.placed[path].owner, deploy.placed[path].mode) == ("mystocks", "0600")
    assert len(deploy.placed[hosts.CIPHER].text.strip()) == 64
    assert "of the repository" not in deploy.placed[hosts.CIPHER].text


def test_what_goes_wrong_in_a_service_costs_its_neighbours_no_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deploy = Deploy(monkeypatch, tmp_path, ["trading"])
    hosts.protect()
    hosts.receiver(SimpleNamespace())  # type: ignore[arg-type]
    units = [place.text for path, place in deploy.placed.items() if path.endswith(".service")]
    assert len(units) == 2
    for unit in units:
        assert "MemoryMax=512M" in unit and "OOMScoreAdjust=500" in unit
    [receiver] = [unit for unit in units if "sqlite.receiver" in unit]
    assert "OOMPolicy=continue" in receiver, "restic, which it asks, is no reason to end it"


def test_where_none_is_named_nothing_is_laid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deploy = Deploy(monkeypatch, tmp_path, [])
    hosts.protect()
    hosts.receiver(SimpleNamespace())  # type: ignore[arg-type]
    assert (deploy.placed, deploy.services, deploy.packages) == ({}, [], [])


def test_what_is_named_no_more_is_protected_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unit = f"/etc/systemd/system/{hosts.RECEIVER}.service"
    deploy = Deploy(monkeypatch, tmp_path, [], f"{WANTS}trading.service", unit)
    hosts.protect()
    hosts.receiver(SimpleNamespace())  # type: ignore[arg-type]
    assert deploy.running == {"mystocks-sqlite@trading": False, hosts.RECEIVER: False}
    assert deploy.placed == {}


def test_a_name_that_the_catalogue_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Deploy(monkeypatch, tmp_path, ["tradnig"])
    with pytest.raises(BadInput, match="tradnig") as said:
        hosts.protect()
    assert "trading" in said.value.hint
