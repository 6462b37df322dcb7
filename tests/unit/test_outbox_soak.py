"""Writers, replayer and database are killed over and over while rows of one key chase one another: nothing is lost,
nothing is there twice, every key ends with its newest value, and a row that is refused costs itself alone.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.base.config import load_config
from agents.writing.letters import Letters
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import config_file
from tests.unit.fake_store import until
from tests.unit.postgres_server import Server, fresh_server

ROOT = Path(__file__).resolve().parents[2]
WRITERS, KEYS, KILLS = 4, 20, 40
POISON = "no such thing"
WRITER = f"""
import random, sys, time
from pathlib import Path
from agents.base.config import load_config, load_tables
from agents.writing.batch import encode
from agents.writing.outbox import Outbox
from agents.writing.writer import Writer
from tests.unit.agent_fixtures import order, setting
me, config = int(sys.argv[2]), load_config(Path(sys.argv[1]))
known = load_tables(config.tables)
writer = Writer(config, known, Outbox(config.outbox.path, config.outbox.max_bytes), me)
nth = 0
while True:
    nth += 1
    first = time.time_ns() // 1000 * 64 + me
    ids = [first + 8 * n for n in range(5)]
    bad = nth % 10 == 0
    rows = {{"order_records": [order(n, side="{POISON}"[:9] if bad and n == ids[2] else "BUY") for n in ids]}}
    if nth % 3:
        key = f"k{{random.randrange({KEYS})}}"
        rows["system_config"] = [setting(ids[-1], key, str(ids[-1]))]
    writer.write(encode(known, rows))
    for n in ids:
        print("order", n, bad and n == ids[2], flush=True)
    if nth % 3:
        print("key", key, ids[-1], flush=True)
    time.sleep(0.002)
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


class Crew:
    """The processes, and what they said was acknowledged."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder, self._path = folder, path
        self._logs: list[Path] = []
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        words = ["-m", "agents.writing.replayer", "--config", str(self._path)]
        if name != "replayer":
            words = ["-c", WRITER, str(self._path), name]
        log = self._folder / f"{name}-{len(self._logs)}.log"
        self._logs.append(log)
        with log.open("wb") as out:
            self.running[name] = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL
            )

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def acknowledged(self) -> tuple[set[int], set[int], dict[str, int]]:
        """Orders, those of them that the table refuses, and the newest number of each key. Torn lines do not count."""
        orders: set[int] = set()
        refused: set[int] = set()
        keys: dict[str, int] = {}
        for log in self._logs:
            for line in log.read_text().split("\n")[:-1]:
                words = line.split()
                if words[0] == "order":
                    orders.add(int(words[1]))
                    if words[2] == "True":
                        refused.add(int(words[1]))
                elif words[0] == "key":
                    keys[words[1]] = max(keys.get(words[1], 0), int(words[2]))
        return orders, refused, keys


@pytest.mark.long
def test_kills_of_everything_lose_nothing_repeat_nothing_and_leave_the_newest(server: Server, tmp_path: Path) -> None:
    hosts = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": server.port}]
    path = config_file(tmp_path, hosts=hosts)
    crew, chance = Crew(tmp_path, path), random.Random(11)
    names = [str(n) for n in range(1, WRITERS + 1)]
    for name in (*names, "replayer"):
        crew.start(name)
    time.sleep(2)
    for _ in range(KILLS):
        victim = chance.choice([*names, "replayer", "server"])
        if victim == "server":
            server.stop()
            time.sleep(chance.random())
            server.start()
        else:
            crew.kill(victim)
            crew.start(victim)
        time.sleep(chance.random() * 0.8)
    time.sleep(2)
    for name in names:
        crew.kill(name)
    outbox = Outbox(load_config(path).outbox.path)
    assert until(lambda: not outbox.status().pending_rows, 120), outbox.status()
    crew.kill("replayer")
    orders, refused, keys = crew.acknowledged()
    assert len(orders) > 1000
    assert refused
    found = server.sql("SELECT event_id, count(*) FROM order_records GROUP BY 1")
    assert orders - refused <= {row[0] for row in found}
    assert {row[1] for row in found} == {1}
    dead = {letter.tables["order_records"][0] for letter in Letters(outbox.path).every()}
    assert refused <= dead
    newest = {str(key): (int(str(event)), value) for key, event, value in server.sql(
        "SELECT config_key, event_id, config_value FROM system_config"
    )}  # fmt: skip
    assert set(keys) <= set(newest)
    for key, event in keys.items():
        assert newest[key][0] >= event, "an older row took the place of a newer one"
        assert newest[key][1] == str(newest[key][0]), "the value is the one of that row"
    assert [one.missing for one in outbox.accounts()] == [0] * len(outbox.accounts())
