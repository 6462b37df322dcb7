"""A real trading database, its protector and its receiver as processes of their own, on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.sqlite.database import TradingDatabase
from agents.sqlite.protecting import Asking, NotProtected, Protected
from agents.sqlite.seal import Seal
from agents.sqlite.settings import Settings, load
from agents.sqlite.wire import Away, Line
from deploys.pki import issue
from inventories.catalog.load import load_databases
from inventories.catalog.sqlite.export import exported

ROOT = Path(__file__).resolve().parents[2]
TRADE = (
    "INSERT INTO trades (trade_id, asset, side, quantity, price, timestamp) VALUES (?, 'BTC', 'buy', 1.5, 100.25, ?)"
)


def written(folder: Path, **changes: Any) -> Path:
    """sqlite.json for a database in `folder`, as a deploy writes it."""
    databases = exported(load_databases())
    databases["trading"]["path"] = str(folder / "trading" / "trading.db")
    cipher = folder / "cipher"
    cipher.write_text("a secret of the tests\n")
    raw = {"databases": {"trading": databases["trading"]}, "cipher": str(cipher), "run": str(folder / "run"), **changes}
    path = folder / "sqlite.json"
    path.write_text(json.dumps(raw))
    return path


def trade(database: TradingDatabase, number: int) -> None:
    with database._transaction() as connection:
        connection.execute(TRADE, (f"t-{number:08d}", str(number)))


def trades(path: Path) -> list[str]:
    """Ids of the trades in a file that nobody has open."""
    with closing(sqlite3.connect(path)) as connection:
        return [one for (one,) in connection.execute("SELECT trade_id FROM trades ORDER BY id")]


@dataclass
class Estate:
    """An application host's folder and a backup host's. `kill` ends a process as a power cut would."""

    folder: Path
    pki: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    first: int = 1  # the number of the writer's next trade

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        theirs, mine = issue(self.pki, "app1", "127.0.0.1"), issue(self.pki, "backup1", "127.0.0.1")
        there = {
            "host": "backup1", "address": "127.0.0.1", "port": self.port, "ca": str(theirs.ca),
            "certificate": str(theirs.certificate), "key": str(theirs.key),
        }  # fmt: skip
        self.config = written(self.folder, receiver=there, **self.changes)
        self.kept = self.folder / "sqlite"
        self._receiver = self.folder / "receiver.json"
        self._receiver.write_text(
            json.dumps({
                "folder": str(self.kept), "port": self.port, "ca": str(mine.ca), "certificate": str(mine.certificate),
                "key": str(mine.key), "clients": ["app1"], "max_bytes": 1 << 30,
            })
        )  # fmt: skip

    @property
    def ledger(self) -> Path:
        """What the writer was told is protected: number, transaction, unix time, seconds of the commit."""
        return self.folder / "ledger"

    def noted(self) -> list[tuple[int, int, float, float]]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        whole = [line.split() for line in lines if line.count(" ") == 3]
        return [(int(a), int(b), float(c), float(d)) for a, b, c, d in whole]

    @property
    def settings(self) -> Settings:
        return load(self.config)

    @property
    def path(self) -> Path:
        return self.settings.database("trading").path

    def database(self) -> TradingDatabase:
        """The first time it is made, once the receiver has said that no backups of a lost one are there."""
        if not self.path.exists():
            self.start("receiver")
            until(self._is_received)
        return TradingDatabase(settings=self.settings)

    def _is_received(self) -> bool:
        with closing(self.line()) as line, suppress(Away):
            return bool(line.ask("state"))
        return False

    def line(self) -> Line:
        return Line(self.settings.there(), "trading")

    def seal(self) -> Seal:
        return Seal(self.settings.secret())

    def asking(self) -> Asking:
        return Asking(self.settings.socket("trading"))

    def start(self, *names: str) -> None:
        commands = {
            "receiver": ("agents.sqlite.receiver", "--config", str(self._receiver)),
            "writer": ("tests.unit.sqlite_writer", str(self.config), str(self.ledger), str(self.first)),
            "protector": ("agents.sqlite.protector", "--name", "trading", "--config", str(self.config)),
        }
        for name in names or ("receiver", "protector"):
            if name in self.running:
                continue
            log = (self.folder / f"{name}.log").open("ab")
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *commands[name]], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """The process and what it started."""
        one = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(one.pid, number)
        one.wait()

    def end(self) -> None:
        for name in tuple(self.running):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)


def protected(asking: Asking, seconds: float = 20.0) -> Protected:
    """Asked until it is so: a snapshot may be under way."""
    ends = time.monotonic() + seconds
    while True:
        try:
            return asking.protected()
        except NotProtected:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)
