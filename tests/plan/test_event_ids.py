"""The number of an application host in the event ids of its rows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agents.writing.clock import NODES
from deploys import app
from deploys.estate import Node
from inventories.errors import BadInput


def as_seen_by(monkeypatch: pytest.MonkeyPatch, name: str, *names: str) -> None:
    monkeypatch.setattr(app, "host", SimpleNamespace(name=name))
    monkeypatch.setattr(app.estate, "nodes", lambda *groups: tuple(Node(one, "192.0.2.1") for one in names))


def alike(name: str) -> str:
    """Another name with the same number."""
    return next(other for n in range(10**6) if app._number(other := f"app{n}") == app._number(name) and other != name)


def test_a_host_keeps_its_number_whoever_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    as_seen_by(monkeypatch, "app1", "app1")
    alone = app.node()
    as_seen_by(monkeypatch, "app1", "app0", "app1", "app2")
    assert app.node() == alone
    as_seen_by(monkeypatch, "app2", "app0", "app1", "app2")
    assert app.node() != alone
    assert 0 <= alone < NODES


def test_two_hosts_of_one_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = alike("app1")
    as_seen_by(monkeypatch, "app1", "app1", twin)
    with pytest.raises(BadInput, match=f"app1 and {twin} would give rows the same event ids") as error:
        app.node()
    assert error.value.hint
