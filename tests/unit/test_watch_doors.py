"""The watch's commands where something is away, old, or somebody else's: said, and nothing else is lost for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from agents.guard import notes
from doors import watch
from inventories.errors import TargetFailed, Unreachable
from inventories.inventory import HostEntry
from runbooks import hosts
from runbooks.actions import fencing
from runbooks.hosts import Estate, Host
from runbooks.watch import desk, kept, maintenance, rights, service
from runbooks.watch.service import Service

AWAY = Unreachable("backup1 (192.0.2.31:22) cannot be reached over SSH: Connection timed out")


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """Its notes are a folder here, changed by the program that changes them on the backup host."""

    def call(_: Host, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        return notes.answered(verb, request, tmp_path)

    found = tuple(Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/n")) for name in ("pg1", "backup1"))
    toy = Estate("toy", "toy", found, {"pg_primary": ("pg1",), "backup": ("backup1",), "watch": ("backup1",)}, {})
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(hosts, "load", lambda *_: toy)
    for module in (desk, maintenance):
        monkeypatch.setattr(module, "call", call)
    return toy


def services(monkeypatch: pytest.MonkeyPatch, estate: Estate, active: str, known: dict[str, Any] | None) -> None:
    monkeypatch.setattr(service, "services", lambda _: (Service(estate.backup, active, known),))


def told(does: Callable[..., None], **options: Any) -> tuple[int, str]:
    """Exit code and sentence of a door that ends otherwise than well."""
    with pytest.raises(Exit) as ends:
        does(Context(), **options)
    return int(ends.value.code), str(ends.value.message)


def test_watch_is_shown_where_the_notes_cannot_be_read(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At night the backup host may be what is away, and a watch of this machine looks all the same."""

    def away(*_: object) -> None:
        raise AWAY

    monkeypatch.setattr(desk, "call", away)
    services(monkeypatch, estate, "unknown", None)
    with kept.held("toy", act=True) as mine:
        mine.write({"says": "pg1 serves"})
        assert told(watch.status)[0] == 1
        assert "may run failover; pg1 serves" in capsys.readouterr().out
        assert told(watch.status, json=True)[0] == 1
    assert '"notes": null' in capsys.readouterr().out


def test_word_of_a_watch_that_says_nothing_any_more_has_its_age(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    services(monkeypatch, estate, "active", {"pid": 1, "says": "pg1 serves", "at": time.time() - 3600})
    watch.status(Context())
    assert "by its clock that is 60 min old" in capsys.readouterr().out
    services(monkeypatch, estate, "active", {"pid": 1, "says": "pg1 serves", "at": time.time() - 2})
    watch.status(Context())
    assert "old" not in capsys.readouterr().out


def test_watch_of_this_machine_is_said_to_have_ended_before_a_service_that_is_away_is_asked(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(_: Estate) -> None:
        raise AWAY

    monkeypatch.setattr(kept, "stop", lambda _: 17)
    monkeypatch.setattr(service, "stop", away)
    assert told(watch.stop)[0] == 1
    assert "(process 17) has ended" in capsys.readouterr().out


@pytest.mark.parametrize(("active", "known"), [("failed", None), ("activating", None)])
def test_watch_that_refuses_after_it_was_started_does_not_run(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, active: str, known: dict[str, Any] | None
) -> None:
    """`status` says that watch.start starts it, and watch.start said that it runs: nobody learnt why it does not."""
    monkeypatch.setattr(watch, "LOOKS_S", 0.1)
    monkeypatch.setattr(service, "start", lambda _: ("backup1",))
    services(monkeypatch, estate, active, known)
    code, sentence = told(watch.start)
    assert code == 1 and f"the one on backup1 is {active}" in sentence and "journalctl" in sentence


def test_watch_that_looks_runs(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "start", lambda _: ("backup1",))
    services(monkeypatch, estate, "active", {"pid": 1})
    watch.start(Context())
    assert "The watch runs on backup1" in capsys.readouterr().out


def test_service_that_was_never_deployed_leads_on_to_a_deploy(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Estate) -> None:
        raise TargetFailed("backup1: `systemctl enable` ended with 1: Unit file mystocks-watch.service does not exist.")

    monkeypatch.setattr(service, "start", missing)
    assert "HINT: ./dr deploy" in told(watch.start)[1]


def test_maintenance_of_somebody_else_is_not_cut_short(
    estate: Estate, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two people work on the estate, and the second one is done sooner."""
    watch.maintenance(Context(), for_="1d", reason="a new disk in pg1")
    code, sentence = told(watch.maintenance, for_="10min", reason="a look at pg2")
    assert code == 3
    assert "a new disk in pg1" in sentence and "HINT: ./dr watch.maintenance --end" in sentence
    assert "a new disk in pg1" in desk.call(estate.backup, "show", {})["maintenance"]["reason"]
    watch.maintenance(Context(), for_="2d", reason="both")
    assert "both" in capsys.readouterr().out.splitlines()[-1]


def test_reason_is_one_line_of_an_alarm(estate: Estate) -> None:
    watch.maintenance(Context(), for_="1h", reason="a disk\nThe watch: all is well\x1b[2J")
    assert desk.call(estate.backup, "show", {})["maintenance"]["reason"] == "a disk The watch: all is well [2J"
    assert told(watch.maintenance, for_="1h", reason="\n \x07")[0] == 2


def test_watch_is_held_back_whatever_recovery_yaml_says(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops it must not depend on a file that somebody is editing."""

    def broken(*_: object) -> None:
        raise AssertionError("recovery.yaml is read")

    monkeypatch.setattr("inventories.catalog.load.load_recovery", broken)
    watch.maintenance(Context(), for_="1h", reason="r")
    watch.maintenance(Context(), end=True)


def test_hosts_that_no_watch_here_could_cut_off_are_named() -> None:
    def host(name: str, **own: Any) -> Host:
        return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1", **own), Path("/n"))

    three = (host("pg1"), host("pg2", fence_command=("/nowhere/fence", "pg2")), host("pg3", fence_command=("sh", "x")))
    assert list(fencing.unfit(three)) == [
        "pg1 has no fence_command", "/nowhere/fence, which fences pg2, cannot be run on this machine",
    ]  # fmt: skip


def test_watch_says_what_it_could_not_do_before_it_begins(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host whose rights nobody could look at is no host where they are as they should be."""
    became = []
    estate.data.update(watch_key=True, synchronous_standbys="none")  # type: ignore[attr-defined]
    monkeypatch.setattr(rights, "require_key", lambda _: None)
    monkeypatch.setattr(rights, "require", lambda _: ("pg1",))
    monkeypatch.setattr("runbooks.watch.watching.require_eyes", lambda _: None)
    monkeypatch.setattr("runbooks.watch.handed.become", lambda *words: became.append(words))
    watch.on(Context(), act="failover")
    warned = capsys.readouterr().err
    assert "WARNING: nobody knows what this watch's key may do on pg1" in warned
    assert "WARNING: pg1 has no fence_command" in warned
    assert "WARNING: commits wait for no standby" in warned and "never fails over by itself" in warned
    assert became
