"""The client against a real PostgreSQL: what it acknowledges is there, whatever dies in between."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.base.config import Config, load_config, load_tables
from agents.client import By, Client
from agents.writing import clock as clock_module
from agents.writing.clock import Clock
from agents.writing.outbox import Outbox
from agents.writing.replayer import Replayer, drain_once, serve
from inventories.catalog import load_tables as load_catalogue
from inventories.catalog.postgresql import ddl
from tests.unit.agent_fixtures import config_file
from tests.unit.client_kit import NODE, order, setting
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
def settings(tmp_path: Path, server: Server) -> Path:
    hosts = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": server.port}]
    return config_file(tmp_path, hosts=hosts, node=NODE)


@pytest.fixture
def config(settings: Path) -> Config:
    return load_config(settings)


def drained(config: Config) -> None:
    outbox, replayer = Outbox(config.outbox.path), _replayer(config, threading.Event())
    drain_once(outbox, replayer, 30, threading.Event())
    assert not outbox.waiting()
    replayer.close()
    outbox.close()


def test_the_store_acknowledges_and_has_the_rows(server: Server, settings: Path) -> None:
    with Client.open(settings) as client:
        ack = client.save("order_records", [order(order_id="A", remark="手动\t撤单"), order(order_id="B", price=None)])
    assert (ack.by, ack.taken, ack.acks[0].host) == (By.STORE, (0, 1), "127.0.0.1")
    assert server.sql("SELECT event_id, order_id, price, remark FROM order_records ORDER BY 1") == [
        (ack.event_ids[0], "A", pytest.approx(10.5), "手动\t撤单"), (ack.event_ids[1], "B", None, None),
    ]  # fmt: skip


def test_whatever_the_check_lets_through_the_store_takes(server: Server, settings: Path) -> None:
    """The ends of every type: one that the store refused would be a dead letter that somebody was told is safe."""
    rows: list[dict[str, Any]] = [
        order(price=value, remark="x" * 100_000)
        for value in ("99999999999999.9999", -99_999_999_999_999, "1e-4", 0, "0.00010", 1e-300, 123.45678)
    ]
    rows += [order(order_id="中" * 40, symbol="\u2028" * 20, quantity=(1 << 63) - 1), order(quantity=-(1 << 63))]
    rows += [order(order_time=at) for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-01-01 09:30")]
    with Client.open(settings) as client:
        ack = client.save("order_records", rows)
        assert (ack.refused, ack.by) == ((), By.STORE), ack.why
        documents = [
            {"a": "\\u0000\\"}, '{"a": 1e400}', "[1e131071, 1e-16383, 0e999999]", "1" * 131_072, "[]",
            {"中": ["\u2028"]}, 1.5, True, None, '"\\ud83d\\ude00"',
        ]  # fmt: skip
        jobs = [
            {"task_name": f"t{n}", "cron": "* * * * *", "is_enabled": True, "parameters": one}
            for n, one in enumerate(documents)
        ]
        assert client.save("task_schedules", jobs).by is By.STORE
        model = {"model_name": "m", "model_version": "1", "calc_date": "2026-01-01"}
        ends = (float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308, 10**300)
        outputs = [{**model, "symbol": f"s{n}", "output_value": value} for n, value in enumerate(ends)]
        assert client.save("model_output", outputs).by is By.STORE
    server.sql("TRUNCATE task_schedules, model_outputs")


def test_the_process_that_began_first_overwrites_what_a_later_one_saved(server: Server, settings: Path) -> None:
    """Finding 2: its ids were those of its start, so that the later process won for ever."""
    with Client.open(settings) as first, Client.open(settings) as second:
        for client, value in ((first, "1"), (second, "2"), (first, "3")):
            assert client.save("system_config", [setting("k", value)]).by is By.STORE
    assert server.sql("SELECT config_value FROM system_config") == [("3",)]


def test_a_session_teaches_the_clock_the_store_s_time(
    server: Server, settings: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client.open(settings) as client:
        client.save("system_config", [setting("k", "1")])
        monkeypatch.setattr(clock_module.time, "time_ns", lambda: 1_500_000_000 * 10**9)
        later = client.save("system_config", [setting("k", "2")]).event_ids[0]
    monkeypatch.undo()
    assert abs((later >> 32) - time.time()) < 5
    clock = Clock(config.outbox.path.with_name("clock"), NODE)
    assert clock.ahead_s() < 5


def test_both_sides_of_a_fork_use_sessions_of_their_own(server: Server, settings: Path) -> None:
    context = multiprocessing.get_context("fork")
    with Client.open(settings, pool=2) as client:
        client.save("system_config", [setting("before")])
        children = [context.Process(target=_save_many, args=(client, f"c{n}", 20)) for n in range(3)]
        for child in children:
            child.start()
        _save_many(client, "parent", 20)
        for child in children:
            child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert server.sql("SELECT count(*) FROM system_config") == [(81,)]


def _save_many(client: Client, name: str, n: int) -> None:
    for number in range(n):
        assert client.save("system_config", [setting(f"{name}-{number}")]).by is By.STORE


def test_threads_share_the_sessions_of_the_pool(server: Server, settings: Path) -> None:
    with Client.open(settings, pool=3) as client:
        threads = [threading.Thread(target=_save_many, args=(client, f"t{n}", 10)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        name = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mystocks-client'"
        assert 1 <= int(str(server.sql(name)[0][0])) <= 3
    assert server.sql("SELECT count(*) FROM system_config") == [(80,)]


def test_a_deploy_gives_tables_their_optional_columns_and_takes_no_row(server: Server, settings: Path) -> None:
    with Client.open(settings) as client:
        client.save("order_records", [order()])
    server.sql(
        "ALTER TABLE order_records DROP COLUMN remark", "UPDATE order_records SET strategy_id = 'x'",
        "ALTER TABLE order_records ALTER strategy_id SET NOT NULL", "ALTER TABLE order_records DROP COLUMN quantity",
    )  # fmt: skip
    tables = load_catalogue()
    missing = server.sql(ddl.without_optional(tables))
    assert sorted(row[1:] for row in missing) == [("remark", "text", True), ("strategy_id", "varchar(40)", False)]
    server.sql(f"BEGIN; {'; '.join(ddl.optional_statements(tables))}; COMMIT")
    assert server.sql(ddl.without_optional(tables)) == []
    assert server.sql("SELECT count(*), count(remark) FROM order_records") == [(1, 0)]
    server.sql("ALTER TABLE order_records ADD COLUMN quantity bigint NOT NULL DEFAULT 0")


# ---- what dies in between ----

KEYS = 12
CLIENTS = 4


def _overwrite(settings: Path, ledger: Path, name: str) -> None:
    """Save random keys again and again until told to stop, and note each acknowledgement once it is there."""
    pick = random.Random(name)
    stop = settings.with_name("stop")
    with Client.open(settings, pool=1) as client, ledger.open("a", encoding="utf-8") as notes:
        number = 0
        while not stop.exists():
            number += 1
            rows = [setting(f"k{key}", f"{name}-{number}") for key in pick.sample(range(KEYS), 3)]
            ack = client.save("system_config", rows)
            for row, event in zip(ack.taken, ack.event_ids, strict=True):
                notes.write(json.dumps([rows[row]["config_key"], event, rows[row]["config_value"]]) + "\n")
            notes.flush()


def _replay(settings: Path) -> None:
    stop = threading.Event()
    config = load_config(settings)
    serve(config, Outbox(config.outbox.path), _replayer(config, stop), stop)


def _replayer(config: Config, stop: threading.Event) -> Replayer:
    return Replayer(config, load_tables(config.tables), Outbox(config.outbox.path), stop)


class Soak:
    """Clients that overwrite each other's keys and a replayer, all of them processes that may be killed."""

    def __init__(self, settings: Path, folder: Path) -> None:
        self.kills = self._started = 0
        self._settings, self._folder = settings, folder
        self._context = multiprocessing.get_context("spawn")
        self._clients = [self._client() for _ in range(CLIENTS)]
        self._replayer = self._process(_replay, settings)

    def kill(self, pick: random.Random) -> None:
        number = pick.randrange(CLIENTS)
        for process in (self._clients[number], self._replayer):
            os.kill(process.pid, signal.SIGKILL)
            process.join(10)
            self.kills += 1
        self._clients[number] = self._client()
        self._replayer = self._process(_replay, self._settings)

    def stop(self) -> None:
        self._settings.with_name("stop").touch()
        for process in self._clients:
            process.join(60)
            assert process.exitcode == 0
        self._replayer.kill()
        self._replayer.join(10)

    def acknowledged(self) -> list[tuple[str, int, str]]:
        lines = [line for path in self._folder.glob("ledger*") for line in path.read_text().splitlines()]
        return [tuple(json.loads(line)) for line in lines if line.endswith("]")]  # the last one may be cut off

    def _client(self) -> Any:
        self._started += 1
        name = f"p{self._started}"
        return self._process(_overwrite, self._settings, self._folder / f"ledger-{name}", name)

    def _process(self, work: Callable[..., None], *words: object) -> Any:
        process = self._context.Process(target=work, args=words)
        process.start()
        return process


@pytest.mark.parametrize("rounds", [2, pytest.param(67, marks=pytest.mark.long)])
def test_every_key_ends_with_its_newest_value_whoever_is_killed(
    server: Server, settings: Path, config: Config, tmp_path: Path, rounds: int
) -> None:
    """A client, the replayer and the server are killed in each round; nothing that was acknowledged is lost."""
    pick = random.Random(rounds)
    soak = Soak(settings, tmp_path)
    for _ in range(rounds):
        time.sleep(pick.uniform(0.3, 1.2))
        server.stop("immediate")
        soak.kill(pick)
        time.sleep(pick.uniform(0.2, 0.8))
        server.start()
    time.sleep(1.0)
    soak.stop()
    drained(config)
    acknowledged = soak.acknowledged()
    assert len({event for _, event, _ in acknowledged}) == len(acknowledged) > 50 * rounds
    newest = {key: (event, value) for key, event, value in sorted(acknowledged, key=lambda one: one[1])}
    found = {
        str(key): (int(str(event)), value)
        for key, event, value in server.sql("SELECT config_key, event_id, config_value FROM system_config")
    }
    assert set(found) == set(newest)
    for key, (event, value) in newest.items():
        # One that was saved and not yet noted when its process was killed may be newer still.
        assert found[key] == (event, value) or found[key][0] > event, key
    assert sum(found[key] == newest[key] for key in newest) >= KEYS - 3
