"""What differs between TDengine and the catalogue is told; what costs no row to mend is mended, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from inventories.catalog import load_tables
from inventories.catalog.tdengine.shape import Shape, canonical, declared, differences, keep_days, repairs

DATA: Mapping[str, object] = {
    "tdengine_keep_days": 3650, "tdengine_duration_days": 10, "tdengine_vgroups": 2, "tdengine_profile": "no-loss",
}  # fmt: skip
ONE = declared(DATA, load_tables(), 1)
THREE = declared(DATA, load_tables(), 3)
OPTIONS = {
    "duration": "10d", "keep": "3650d,3650d,3650d", "precision": "ns", "vgroups": "2", "replica": "1", "wal_level": "2",
    "wal_fsync_period": "0",
}  # fmt: skip


def described(shape: Shape) -> dict[str, list[list[str]]]:
    """The catalogue's tables as DESCRIBE tells them."""
    found = {}
    for table in shape.tables:
        assert table.supertable is not None
        composite = table.key[1] if len(table.key) > 1 else ""
        columns = [
            [column.name, canonical(column.type), "COMPOSITE KEY" if column.name == composite else ""]
            for column in table.columns
        ]
        tags = [[tag.name, canonical(tag.type), "TAG"] for tag in table.supertable.tags]
        found[f"{table.database}.{table.name}"] = columns + tags
    return found


LIVE = described(ONE)


def with_options(**changed: str) -> dict[str, dict[str, str]]:
    return {"market_data": {**OPTIONS, **changed}}


def test_three_nodes_keep_every_row_three_times() -> None:
    assert (ONE.replica, THREE.replica, declared(DATA, load_tables(), 2).replica) == (1, 3, 1)


def test_what_is_as_declared_needs_nothing() -> None:
    assert len(LIVE) >= 5
    assert differences(ONE, with_options(), LIVE) == []
    assert repairs(ONE, with_options(), LIVE) == []


def test_empty_server_gets_database_and_every_supertable() -> None:
    statements = repairs(ONE, {}, {})
    assert statements[0].startswith("CREATE DATABASE IF NOT EXISTS `market_data` PRECISION 'ns'")
    assert len(statements) == 1 + len(ONE.tables)
    assert "database market_data is missing" in differences(ONE, {}, {})


@pytest.mark.parametrize(
    ("option", "value", "repair"),
    [
        ("wal_level", "1", "ALTER DATABASE `market_data` WAL_LEVEL 2"),
        ("wal_fsync_period", "3000", "ALTER DATABASE `market_data` WAL_FSYNC_PERIOD 0"),
        ("keep", "30d,30d,30d", "ALTER DATABASE `market_data` KEEP 3650d"),
        ("keep", "5270400m,5270400m,5270400m", ""),  # ten days longer than declared
        ("precision", "ms", ""),
        ("vgroups", "4", ""),
    ],
)
def test_option_is_altered_where_no_row_is_lost(option: str, value: str, repair: str) -> None:
    live = with_options(**{option: value})
    told = differences(ONE, live, LIVE)
    assert len(told) == 1
    assert f"{option.upper()} {value}" in told[0]
    assert repairs(ONE, live, LIVE) == ([repair] if repair else [])
    assert bool(repair) == (";" not in told[0]), "what is left alone says why"


def test_replicas_are_added_and_never_taken_away() -> None:
    assert repairs(THREE, with_options(), LIVE) == ["ALTER DATABASE `market_data` REPLICA 3"]
    fewer = replace(THREE, replica=1)
    assert repairs(fewer, with_options(replica="3"), LIVE) == []
    assert "no deploy takes a replica away" in differences(fewer, with_options(replica="3"), LIVE)[0]


def changed(name: str, line: list[str] | None) -> dict[str, list[list[str]]]:
    """tick_data with one column told otherwise, or not at all."""
    lines = [old if old[0] != name else line for old in LIVE["market_data.tick_data"]]
    return {**LIVE, "market_data.tick_data": [one for one in lines if one]}


@pytest.mark.parametrize(
    ("live", "sentence", "repair"),
    [
        (changed("amount", None), "tick_data.amount is missing", "ADD COLUMN `amount` double"),
        (changed("exchange", None), "tick_data.exchange is missing", "ADD TAG `exchange` binary(10)"),
        (changed("event_id", None), "tick_data.event_id is missing", ""),
        (changed("symbol", ["symbol", "VARCHAR(8)", "TAG"]), "is VARCHAR(8)", "MODIFY TAG `symbol` binary(20)"),
        (changed("symbol", ["symbol", "VARCHAR(64)", "TAG"]), "is VARCHAR(64), declared", ""),
        (changed("price", ["price", "FLOAT", ""]), "is FLOAT, declared is DOUBLE", ""),
        (changed("event_id", ["event_id", "BIGINT", ""]), "is no part of the key, declared is COMPOSITE KEY", ""),
    ],
)
def test_column_is_told_and_altered_where_tdengine_can(
    live: dict[str, list[list[str]]], sentence: str, repair: str
) -> None:
    told = differences(ONE, with_options(), live)
    assert len(told) == 1
    assert sentence in told[0]
    found = repairs(ONE, with_options(), live)
    assert found == ([f"ALTER STABLE `market_data`.`tick_data` {repair}"] if repair else [])


def test_what_nobody_declared_is_told_and_left() -> None:
    live = {**LIVE, "market_data.tick_data": [*LIVE["market_data.tick_data"], ["by_hand", "INT", ""]]}
    assert differences(ONE, with_options(), live) == ["tick_data.by_hand is not in the catalogue"]
    assert repairs(ONE, with_options(), live) == []


def test_lost_supertable_is_told_and_made_again() -> None:
    live = {name: lines for name, lines in LIVE.items() if name != "market_data.depth_data"}
    assert differences(ONE, with_options(), live) == ["supertable market_data.depth_data is missing"]
    assert len(repairs(ONE, with_options(), live)) == 1


@pytest.mark.parametrize(("text", "days"), [("3650d,3650d,3650d", 3650), ("1440m", 1), ("10,20,30", 30), ("48h", 2)])
def test_keep_is_read_in_every_unit(text: str, days: float) -> None:
    assert keep_days(text) == days
