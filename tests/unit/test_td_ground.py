"""What a server would refuse is found before the first row and said in one sentence; what it would lose asks first."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tdengine.backup import ground, scan, schema
from agents.tdengine.backup.manifest import Manifest
from agents.tdengine.backup.selection import BadRequest

OPTIONS = {"precision": "ns", "keep": "3650d,3650d,3650d", "duration": "1d", "replica": "1", "vgroups": "2",
           "wal_level": "2", "wal_fsync_period": "0"}  # fmt: skip
SHAPE = {"tick_data": {"columns": [["ts", "TIMESTAMP", True]], "tags": [["symbol", "VARCHAR(20)"]]}}


class FakeSession:
    """A server that says its version and whether it has the database: the process boundary."""

    def __init__(self, version: str = "3.3.7.5", there: bool = True) -> None:
        self.server, self._there = version, there

    def rows(self, sql: str) -> list[tuple[str]]:
        return [("market_data",)] if self._there else []


def manifest(version: str = "3.3.7.5", **options: str) -> Manifest:
    return Manifest(
        "20261121-100000F", "full", None, 1.0, 2.0, version, "market_data", {**OPTIONS, **options}, dict(SHAPE), [], {},
        {}, {}, {}, {}, 10, 10, 100, "key", 1.0,
    )  # fmt: skip


def check(session: Any, made: Manifest, accept_lost: bool = True) -> ground.Ground:
    return ground.check(session, "market_data", made, ["tick_data"], accept_lost)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options and supertables of the database that is there."""
    found = {"options": dict(OPTIONS), "tables": dict(SHAPE)}
    monkeypatch.setattr(scan, "options", lambda session, database: found["options"])
    monkeypatch.setattr(schema, "tables", lambda session, database: found["tables"])
    return found


def test_a_database_that_fits_is_taken_and_one_that_is_not_there_is_made(live: dict[str, Any]) -> None:
    assert check(FakeSession(), manifest()).there
    assert not check(FakeSession(there=False), manifest()).there


@pytest.mark.parametrize("server", ["3.3.6.13", "3.2.9.9", "3.3.7.4.alpha"])
def test_a_server_older_than_the_backup_is_refused(live: dict[str, Any], server: str) -> None:
    with pytest.raises(BadRequest, match=f"is TDengine {server}, backup .* is from 3.3.7.5") as told:
        check(FakeSession(server), manifest())
    assert "newer" in told.value.hint


def test_a_newer_server_is_taken(live: dict[str, Any]) -> None:
    assert check(FakeSession("3.10.0.0"), manifest()).there


def test_another_precision_is_refused_before_rows_overwrite_one_another(live: dict[str, Any]) -> None:
    live["options"]["precision"] = "ms"
    with pytest.raises(BadRequest, match="counts time in ms"):
        check(FakeSession(), manifest())


def test_how_long_rows_are_kept_is_told_by_the_database_or_by_the_backup_that_makes_it(live: dict[str, Any]) -> None:
    live["options"]["keep"] = "14400m,14400m,14400m"
    assert check(FakeSession(), manifest()).keep_s == 10 * 86400
    assert check(FakeSession(there=False), manifest(keep="20d")).keep_s == 20 * 86400


def test_a_column_that_is_gone_is_left_behind_only_where_that_was_said(live: dict[str, Any]) -> None:
    live["tables"] = {"tick_data": {**SHAPE["tick_data"], "columns": [["ts", "TIMESTAMP", True], ["b", "INT", False]]}}
    made = manifest()
    made.tables["tick_data"] = {**SHAPE["tick_data"], "columns": [["ts", "TIMESTAMP", True], ["a", "INT", False]]}
    with pytest.raises(BadRequest, match="tick_data: a is not there any more") as told:
        check(FakeSession(), made, accept_lost=False)
    assert "--accept-lost-columns" in told.value.hint
    assert check(FakeSession(), made).lost == ["tick_data: a is not there any more"]


def test_another_key_has_no_place_for_any_row(live: dict[str, Any]) -> None:
    live["tables"] = {"tick_data": {**SHAPE["tick_data"], "columns": [["ts", "TIMESTAMP", True], ["n", "INT", True]]}}
    with pytest.raises(BadRequest, match="its key is TIMESTAMP and INT now and was TIMESTAMP"):
        check(FakeSession(), manifest())
