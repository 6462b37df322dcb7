"""What keeps a store from being whole, before a drill breaks it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from drills import stores
from runbooks.probes.tdengine import servers as tdengine
from tests.unit.test_probe_tdengine import GONE, WHOLE, server


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        (WHOLE, ""),
        ((), "no TDengine host"),
        ((*WHOLE[:2], GONE), "tsdb3 does not answer"),
        ((server("tsdb1", held=[]), *WHOLE[1:]), "tsdb1 lacks the data of 1 vgroup: ./dr tdengine-rejoin tsdb1 --yes"),
    ],
)
def test_a_node_that_is_ready_and_has_no_data_is_not_whole(
    monkeypatch: pytest.MonkeyPatch, servers: tuple[tdengine.Server, ...], said: str
) -> None:
    """A drill on three nodes took another one away: none was left that had the rows."""
    monkeypatch.setattr(tdengine, "survey", lambda _: servers)
    monkeypatch.setattr(stores.app, "outbox", lambda *_, **__: SimpleNamespace(pending_rows=0))
    found = stores.tdengine_wrong(cast(Any, SimpleNamespace(app=None)))
    assert said in found and bool(found) is bool(said)
