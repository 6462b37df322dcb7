"""A host that answers too late for the first look: `status` asks once more, with more time, before it calls it slow."""

from __future__ import annotations

from typing import Any

import pytest

from inventories.errors import TimedOut, Unreachable
from runbooks.engine.budgets import budget
from runbooks.hosts import Host
from runbooks.knock import Door
from runbooks.look import status
from tests.unit.walk_kit import ESTATE


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each question to pg1 might take. Everybody can be reached; nobody answers before four seconds."""
    patiences: list[float] = []

    def run(host: Host, *_: Any, timeout: float = 60, **__: Any) -> Any:
        if host.name == "pg1":
            patiences.append(timeout)
        if timeout < 4:
            raise TimedOut(f"{host.name} did not finish within {timeout:g} s")
        raise Unreachable(f"{host.name} says nothing that this test needs")

    monkeypatch.setattr(Host, "knock", lambda _: Door.OPEN)
    monkeypatch.setattr(Host, "reachable", lambda _: True)
    monkeypatch.setattr(Host, "run", run)
    return patiences


def test_whoever_was_too_slow_is_asked_once_more_with_more_time(asked: list[float]) -> None:
    seen = status.look(ESTATE)
    assert {budget("status.host"), budget("status.again")} <= set(asked)
    assert not any(node.slow for node in seen.nodes)
    assert status.SLOW not in seen.unknown.values()


def test_whoever_is_too_slow_for_both_is_slow(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_SLOW", "0.1")
    assert all(node.slow for node in status.look(ESTATE).nodes)
    assert {budget("status.host"), budget("status.again")} <= set(asked)


def test_a_host_that_is_away_is_not_waited_for_twice(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "knock", lambda _: Door.SILENT)
    monkeypatch.setattr(Host, "reachable", lambda _: False)
    assert not any(node.slow for node in status.look(ESTATE).nodes)
    assert asked == []


def test_a_host_whose_door_is_open_and_that_lets_nobody_in_is_asked_once_more(
    asked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSH gives a login a few seconds, whatever time a look has: its end is no loss of the host."""

    def refuse(host: Host, *_: Any, timeout: float = 60, **__: Any) -> Any:
        if host.name == "pg1":
            asked.append(timeout)
        raise Unreachable(f"{host} cannot be reached over SSH: Connection timed out during banner exchange")

    monkeypatch.setattr(Host, "run", refuse)
    assert not any(node.ssh for node in status.look(ESTATE).nodes)
    assert {budget("status.host"), budget("status.again")} <= set(asked)
