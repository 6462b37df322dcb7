"""How a watch ends: by a signal that is not ignored, and its service over a boot too."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inventories.inventory import HostEntry
from runbooks.engine.signals import ended_by_signal
from runbooks.hosts import Estate, Host, Ran
from runbooks.watch import kept, main, service


class Systemd:
    """Hosts of the group `watch`, by name: systemd's word for the unit; and what was run there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **active: str) -> None:
        self.active = active
        self.ran: list[tuple[str, str]] = []
        monkeypatch.setattr(Host, "must_answer", lambda _: None)
        monkeypatch.setattr(Host, "run", lambda host, *words, **more: self.run(host, *words, **more))

    @property
    def estate(self) -> Estate:
        hosts = tuple(Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/n")) for name in self.active)
        return Estate("toy", "toy", hosts, {"watch": tuple(self.active)}, {})

    def run(self, host: Any, command: str, *words: str, **_: object) -> Ran:
        if "is-active" in command:
            return Ran(0, f"{self.active[host.name]}\n", "", 0.0)
        self.ran.append((host.name, command % words))
        return Ran(0, "", "", 0.0)


def test_service_that_is_stopped_stays_so_over_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd(monkeypatch, backup1="active", other="inactive")
    assert service.stop(systemd.estate) == ("backup1",)
    assert [(host, command.split(" 2>")[0]) for host, command in systemd.ran] == [
        ("backup1", "systemctl disable --now mystocks-watch.service"),
        ("other", "systemctl disable mystocks-watch.service"),
    ]


def test_service_that_is_started_again_comes_back_after_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd(monkeypatch, backup1="inactive")
    assert service.start(systemd.estate) == ("backup1",)
    assert systemd.ran[0][1].endswith("systemctl enable --now mystocks-watch.service")


def test_signal_that_is_ignored_ends_no_watch() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signal() as over:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not over.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert over.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_written_is_what_is_seen_then(tmp_path: Path) -> None:
    mine = kept.Mine(tmp_path / "watch.json", {"pid": 1})
    watching: Any = SimpleNamespace(as_json=lambda: {"acting": True})
    main.writer(mine, watching)()
    assert json.loads(mine.path.read_text())["acting"] is True
