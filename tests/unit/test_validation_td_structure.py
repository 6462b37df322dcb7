"""A supertable that is gone, or is not what the catalogue says, is told, whatever the backup has of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from runbooks.hosts import Estate
from runbooks.probes.tdengine.servers import Server
from runbooks.validation import td_structure
from runbooks.validation.difference import Looked
from tests.unit.test_objectives import host
from tests.unit.test_td_shape import LIVE, ONE, with_options

EVERY = [table.name for table in ONE.tables]
Columns = Mapping[str, Sequence[Sequence[str]]]
Look = Callable[..., Looked]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    def of(columns: Columns, online: bool = True, compared: Sequence[str] = EVERY) -> Looked:
        one = Server(
            host("tsdb1"), ssh=True, online=online, why="" if online else "nobody listens", dnodes={"tsdb1": "ready"},
            databases=with_options(), columns=columns,
        )  # fmt: skip
        monkeypatch.setattr(td_structure.servers, "survey", lambda estate: (one,))
        monkeypatch.setattr(td_structure.servers, "shape", lambda estate: ONE)
        return td_structure.look(cast(Estate, SimpleNamespace()), compared)

    return of


def test_what_is_as_declared_differs_in_nothing(look: Look) -> None:
    found = look(LIVE)
    assert found.sound and found.number == len(EVERY) and not found.unknown


def test_a_supertable_that_is_gone_from_server_and_backup_is_told(look: Look) -> None:
    without = {name: columns for name, columns in LIVE.items() if name != "market_data.tick_data"}
    found = look(without, compared=[name for name in EVERY if name != "tick_data"])
    [one] = found.differences
    assert one.found == "supertable market_data.tick_data is missing" and not found.sound
    assert found.unknown == "rows of tick_data, which the backup does not have"


def test_a_server_that_does_not_answer_is_no_good_news(look: Look) -> None:
    found = look(LIVE, online=False)
    assert not found.sound and found.differences[0].found == "nobody listens"
