"""Our ways to write beside a bare COPY, against a real PostgreSQL: every row arrives, or nothing is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.base.config import Config, load_config
from agents.base.errors import AgentError
from agents.feed import yardstick
from tests.unit.agent_fixtures import config_file
from tests.unit.postgres_server import Server, fresh_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path, server: Server) -> Path:
    hosts = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": server.port}]
    return config_file(tmp_path, hosts=hosts, shadow={"path": str(tmp_path / "shadow")})


@pytest.fixture
def config(path: Path) -> Config:
    return load_config(path)


def rows(server: Server, first: object, last: object) -> list[int]:
    return [
        int(str(server.sql(f"SELECT count(*) FROM {table} WHERE event_id BETWEEN {first} AND {last}")[0][0]))
        for table in yardstick.TABLES
    ]


def test_every_way_is_timed_in_every_round_and_its_rows_are_bounded_by_what_is_told(
    server: Server, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert yardstick.main(["--config", str(path), "--rows", "600", "--rounds", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {way: len(seconds) for way, seconds in told["seconds"].items()} == dict.fromkeys(yardstick.WAYS, 2)
    assert all(second > 0 for seconds in told["seconds"].values() for second in seconds)
    # Two batches and the one before them, which is not timed; 172 orders and 129 executions each; eight runs.
    assert rows(server, told["first"], told["last"]) == [8 * 3 * 172, 8 * 3 * 129]
    assert rows(server, 0, 2**62) == rows(server, told["first"], told["last"])


def test_the_outbox_and_the_shadow_of_the_estate_are_left_alone(path: Path, config: Config) -> None:
    yardstick.measure(config, 300, 1)
    assert sorted(one.name for one in path.parent.iterdir()) == ["agent.json", "tables.json"]


def test_a_way_whose_rows_are_not_there_is_no_measurement(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yardstick.Bench, "_copied", lambda self, parts: None)
    with pytest.raises(AgentError, match="rows written by copy 0 are there"):
        yardstick.measure(config, 300, 1)


def test_too_few_rows_are_refused(path: Path) -> None:
    with pytest.raises(AgentError, match="would measure nothing"):
        yardstick.main(["--config", str(path), "--rows", "10"])
