"""What a store acknowledged and has not is found by the shadow, named, and sent again; newer values are kept."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agents.base.config import Config, Table, load_config
from agents.base.errors import AgentError, BadConfig
from agents.marks import positions
from agents.reconcile import lacking, marked
from agents.reconcile.marked import Bounds
from agents.writing import shadow
from agents.writing.batch import Batch, encode
from agents.writing.outbox import Outbox
from agents.writing.replayer import Replayer, drain_once
from agents.writing.writer import By, Writer
from tests.unit.agent_fixtures import config_file, orders, setting, tables
from tests.unit.postgres_server import Server, fresh_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server: Server) -> Iterator[None]:
    yield
    server.sql("TRUNCATE order_records, system_config")


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


@pytest.fixture
def config(tmp_path: Path, server: Server) -> Config:
    hosts = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": server.port}]
    return load_config(config_file(tmp_path, hosts=hosts, shadow={"path": str(tmp_path / "shadow")}))


@pytest.fixture
def outbox(config: Config) -> Iterator[Outbox]:
    opened = Outbox(config.outbox.path)
    yield opened
    opened.close()


def written(config: Config, known: dict[str, Table], outbox: Outbox, *batches: Batch) -> None:
    """Each is acknowledged by the store, past the outbox."""
    writer = Writer(config, known, outbox, 7)
    for batch in batches:
        assert writer.write(batch).by is By.STORE
    writer.close()


def settings(known: dict[str, Table], *rows: tuple[object, ...]) -> Batch:
    return encode(known, {"system_config": list(rows)})


def drained(config: Config, known: dict[str, Table], outbox: Outbox) -> None:
    replayer = Replayer(config, known, outbox, threading.Event())
    drain_once(outbox, replayer, 60, threading.Event())
    replayer.close()


def ids(server: Server) -> list[int]:
    return [row[0] for row in server.sql("SELECT event_id FROM order_records ORDER BY 1")]


def test_rows_that_the_store_has_are_all_found(config: Config, known: dict[str, Table], outbox: Outbox) -> None:
    written(config, known, outbox, orders(known, 1, 50), orders(known, 51, 60))
    found = lacking.search(config, known, 0.0)
    assert (found.looked, found.lacking, found.tables) == (60, 0, {})


def test_what_is_gone_is_named_and_nothing_is_written(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    written(config, known, outbox, orders(known, 1, 50))
    server.sql("DELETE FROM order_records WHERE event_id IN (7, 8, 30) OR event_id > 45")
    found = lacking.search(config, known, 0.0)
    assert (found.looked, found.lacking, found.sent) == (50, 8, 0)
    assert found.tables["order_records"].events == [7, 8, 30, 46, 47, 48, 49, 50]
    assert found.since is not None and found.since <= found.tables["order_records"].first <= time.time()
    assert outbox.waiting() == 0


def test_what_is_gone_comes_back_and_is_found_then(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    batches = [orders(known, first, first + 999) for first in range(1, 6001, 1000)]
    written(config, known, outbox, *batches)
    server.sql("DELETE FROM order_records WHERE event_id > 2500 AND event_id % 3 = 0")
    found = lacking.search(config, known, 0.0, send=True)
    assert found.lacking == found.sent == 1167
    drained(config, known, outbox)
    assert ids(server) == list(range(1, 6001))
    assert lacking.search(config, known, 0.0).lacking == 0


def test_what_went_through_the_outbox_is_looked_for_as_well(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    outbox.enqueue(orders(known, 1, 10), known, 7)
    drained(config, known, outbox)
    server.sql("DELETE FROM order_records WHERE event_id = 4")
    assert lacking.search(config, known, 0.0).tables["order_records"].events == [4]


def test_of_a_key_that_has_a_newer_value_nothing_is_lacking_and_an_older_one_is_superseded(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    newest = settings(known, setting(20, "a", "lost"), setting(21, "b", "lost too"))
    written(config, known, outbox, settings(known, setting(10, "a", "old"), setting(11, "b", "old")), newest)
    server.sql(
        "UPDATE system_config SET event_id = 30, config_value = 'newer than all' WHERE config_key = 'a'",
        "UPDATE system_config SET event_id = 11, config_value = 'old' WHERE config_key = 'b'",
    )
    found = lacking.search(config, known, 0.0, send=True)
    assert found.tables["system_config"].events == [21]
    drained(config, known, outbox)
    rows = server.sql("SELECT config_key, config_value FROM system_config ORDER BY 1")
    assert rows == [("a", "newer than all"), ("b", "lost too")]


def test_a_value_that_comes_between_is_kept(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    """It is written after the look, before the replay."""
    written(config, known, outbox, settings(known, setting(10, "a", "lost")))
    server.sql("DELETE FROM system_config")
    assert lacking.search(config, known, 0.0, send=True).sent == 1
    outbox.enqueue(settings(known, setting(40, "a", "of now")), known, 7)
    drained(config, known, outbox)
    assert server.sql("SELECT config_value FROM system_config") == [("of now",)]


def test_only_the_tables_that_are_named_and_only_what_was_acknowledged_since(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    written(config, known, outbox, orders(known, 1, 5), settings(known, setting(9)))
    between = time.time()
    time.sleep(0.01)
    written(config, known, outbox, orders(known, 6, 10))
    server.sql("TRUNCATE order_records, system_config")
    assert lacking.search(config, known, 0.0, ["system_config"]).lacking == 1
    assert lacking.search(config, known, between).tables["order_records"].events == [6, 7, 8, 9, 10]
    assert lacking.search(config, known, time.time()).since is None


def test_bad_input_is_told(config: Config, known: dict[str, Table], tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no table nobody"):
        lacking.search(config, known, 0.0, ["nobody"])
    alone = load_config(config_file(tmp_path))
    with pytest.raises(BadConfig, match="No shadow is kept"):
        lacking.search(alone, known, 0.0)


def test_a_store_that_takes_no_rows_is_told(known: dict[str, Table], tmp_path: Path) -> None:
    away = load_config(config_file(tmp_path, shadow={"path": str(tmp_path / "shadow")}))
    with pytest.raises(AgentError):
        lacking.search(away, known, 0.0)


def test_the_program_prints_one_object(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    written(config, known, outbox, orders(known, 1, 3))
    server.sql("DELETE FROM order_records WHERE event_id = 2")
    assert lacking.main(["--config", str(tmp_path / "agent.json"), "--send"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["looked"], said["lacking"], said["sent"]) == (3, 1, 1)


def bounds_now(config: Config) -> Bounds:
    """As a mark binds them."""
    assert config.shadow is not None
    numbers = positions.numbers(config.outbox.path)
    applied = int(str(numbers["applied_no"])) if numbers else 0
    return Bounds(applied, positions.position(config.shadow.path))


def test_only_what_was_acknowledged_by_the_time_of_a_mark_is_looked_for(
    config: Config, known: dict[str, Table], outbox: Outbox, server: Server
) -> None:
    """The writer goes on in the same segment, and the outbox in the same file."""
    writer = Writer(config, known, outbox, 7)
    writer.write(orders(known, 1, 10))
    outbox.enqueue(orders(known, 11, 20), known, 7)
    drained(config, known, outbox)
    bounds = bounds_now(config)
    writer.write(orders(known, 21, 30))
    outbox.enqueue(orders(known, 31, 40), known, 7)
    drained(config, known, outbox)
    writer.close()
    written(config, known, outbox, orders(known, 41, 50))
    assert ids(server) == list(range(1, 51))
    server.sql("DELETE FROM order_records WHERE event_id % 10 = 5")
    found = lacking.search(config, known, 0.0, bounds=bounds)
    assert (found.looked, found.tables["order_records"].events) == (20, [5, 15])
    assert lacking.search(config, known, 0.0).lacking == 5


def test_what_a_mark_bound_and_nobody_can_read_any_more_is_no_good_news(
    config: Config, known: dict[str, Table], outbox: Outbox, tmp_path: Path
) -> None:
    """A segment that is shorter than it was, one that is gone from between others, a record of the outbox."""
    assert config.shadow is not None
    written(config, known, outbox, orders(known, 1, 10))
    outbox.enqueue(orders(known, 11, 20), known, 7)
    drained(config, known, outbox)
    bounds, [segment] = bounds_now(config), shadow.segments(config.shadow.path)
    more = Bounds(bounds.applied_no, {name: size + 1 for name, size in bounds.shadow.items()})
    assert lacking.search(config, known, 0.0, bounds=bounds).damaged_segments == 0
    assert lacking.search(config, known, 0.0, bounds=more).damaged_segments == 1
    later = segment.with_name("9" * 30 + segment.suffix)
    between = Bounds(bounds.applied_no, {**bounds.shadow, later.name: 1})
    assert lacking.search(config, known, 0.0, bounds=between).damaged_segments == 1
    with closing(sqlite3.connect(config.outbox.path)) as opened:
        opened.execute("UPDATE outbox_queue SET checksum = 'x'")
        opened.commit()
    found = lacking.search(config, known, 0.0, bounds=bounds)
    assert (found.looked, found.damaged_segments) == (10, 1)


@pytest.mark.parametrize("text", ["", "[]", '{"applied_no": "x", "shadow": {}}', '{"applied_no": 1}'])
def test_what_is_no_position_is_told(text: str) -> None:
    with pytest.raises(BadConfig, match="no positions of a mark"):
        marked.read(text)
