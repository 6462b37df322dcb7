"""What a server would refuse is found before the first row, and said in one sentence."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agents.tdengine.backup import ground, scan
from agents.tdengine.backup.manifest import Manifest, Window
from agents.tdengine.backup.selection import BadRequest

OPTIONS = {"precision": "ns", "keep": "3650d,3650d,3650d", "duration": "1d", "replica": "1", "vgroups": "2",
           "wal_level": "2", "wal_fsync_period": "0"}  # fmt: skip
SHAPE = {"tick_data": {"columns": [["ts", "TIMESTAMP", True]], "tags": [["symbol", "VARCHAR(20)"]]}}
NOW = int(time.time()) // 3600


class FakeSession:
    """A server that says its version and whether it has the database: the process boundary."""

    def __init__(self, version: str = "3.3.7.5", there: bool = True) -> None:
        self.server, self._there = version, there

    def rows(self, sql: str) -> list[tuple[str]]:
        return [("market_data",)] if self._there else []


def manifest(version: str = "3.3.7.5", **options: str) -> Manifest:
    return Manifest(
        "20261121-100000F", "full", None, 1.0, 2.0, version, "market_data", {**OPTIONS, **options}, SHAPE, [], {}, {},
        {}, {}, {}, 10, 10, 100, "key", 1.0,
    )  # fmt: skip


def check(session: Any, made: Manifest, hour: int = NOW) -> bool:
    return ground.check(session, "market_data", made, {"tick_data": {hour: Window(10, "", "", made.label)}})


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options and supertables of the database that is there."""
    found = {"options": dict(OPTIONS), "tables": dict(SHAPE)}
    monkeypatch.setattr(scan, "options", lambda session, database: found["options"])
    monkeypatch.setattr(scan, "supertables", lambda session, database: found["tables"])
    return found


def test_a_database_that_fits_is_taken_and_one_that_is_not_there_is_made(live: dict[str, Any]) -> None:
    assert check(FakeSession(), manifest()) is True
    assert check(FakeSession(there=False), manifest()) is False


@pytest.mark.parametrize("server", ["3.3.6.13", "3.2.9.9", "3.3.7.4.alpha"])
def test_a_server_older_than_the_backup_is_refused(live: dict[str, Any], server: str) -> None:
    with pytest.raises(BadRequest, match=f"is TDengine {server}, backup .* is from 3.3.7.5") as told:
        check(FakeSession(server), manifest())
    assert "newer" in told.value.hint


def test_a_newer_server_is_taken(live: dict[str, Any]) -> None:
    assert check(FakeSession("3.10.0.0"), manifest()) is True


def test_another_precision_is_refused_before_rows_overwrite_one_another(live: dict[str, Any]) -> None:
    live["options"]["precision"] = "ms"
    with pytest.raises(BadRequest, match="counts time in ms"):
        check(FakeSession(), manifest())


def test_rows_older_than_keep_are_counted_before_the_restore(live: dict[str, Any]) -> None:
    live["options"]["keep"] = "14400m,14400m,14400m"  # ten days
    assert check(FakeSession(), manifest(), NOW - 9 * 24) is True
    with pytest.raises(BadRequest, match="would refuse about 10 rows") as told:
        check(FakeSession(), manifest(), NOW - 11 * 24)
    assert "ALTER DATABASE market_data KEEP" in told.value.hint


def test_the_backups_own_keep_counts_where_the_database_is_made_again(live: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="KEEP 10d"):
        check(FakeSession(there=False), manifest(keep="10d"), NOW - 11 * 24)


def test_another_column_is_named(live: dict[str, Any]) -> None:
    live["tables"] = {"tick_data": {**SHAPE["tick_data"], "columns": [["ts", "TIMESTAMP", True], ["b", "INT", False]]}}
    with pytest.raises(BadRequest, match=r"other columns .*: b"):
        check(FakeSession(), manifest())


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        ("O'Hare", "VARCHAR(20)", r"'O\'Hare'"),
        ('引号"\\', "NCHAR(20)", '\'引号"\\\\\''),
        (7, "INT", "7"),
        (None, "VARCHAR(20)", "NULL"),
        (True, "BOOL", "True"),
    ],
)
def test_tags_are_written_as_they_are(value: object, kind: str, written: str) -> None:
    assert ground.literal(value, kind) == written
