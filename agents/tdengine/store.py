"""TDengine as a store: the same two calls as PostgreSQL's, over a session that can be ended at any time.

A write that failed, or whose answer did not come in time, may have been stored: it is not acknowledged, and is sent
again under the same timestamps and event ids, which overwrites what is there with itself.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.config import Config, Table
from agents.base.deadline import DeadlineExceeded
from agents.base.errors import NoPrimary
from agents.base.failures import Kind, Refusal
from agents.tdengine.newest import absent, newer, subtables
from agents.tdengine.sent import turn
from agents.tdengine.session import TdengineError, load_settings
from agents.tdengine.sql import inserts
from agents.tdengine.worker import LENGTH
from agents.writing.batch import Part
from agents.writing.separating import Refused, separate

TCP_TIMEOUT_S = 0.3
RETRY_S = 0.1
# Codes that name a value, each seen with a row of that kind: a number out of range, syntax, text that is too long (also
# as a tag), NULL in a key, a time that is none, a time outside KEEP.
DATA_CODES = frozenset((
    0x0216, 0x0224, 0x2600, 0x2605, 0x2635, 0x263D, 0x2653, 0x267A, 0x060B, 0x0615, 0x070F,
))  # fmt: skip
# Nobody answered, or a part of the server is not there: the network, the cluster's management, vnodes, the log's sync.
_AWAY = ((0x0001, 0x00FF), (0x0213, 0x0213), (0x0300, 0x0360), (0x0500, 0x0550), (0x0900, 0x09FF))
NO_SUPERTABLE, DROPPED_MEANWHILE = 0x2603, 0x0618

@dataclass
class Node:
    """A session on one server. `timeline` is always 1: TDengine has none."""

    name: str
    host: str
    worker: Worker
    timeline: int = 1


class Worker:
    """The process with the session. Any failure of it is final."""

    def __init__(self, settings: Path, node: str) -> None:
        self.node = node
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agents.tdengine.worker", "--config", str(settings), "--node", node],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        assert self._process.stdout is not None and self._process.stdin is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._kept = b""

    def answer(self, deadline: float) -> dict[str, Any]:
        """The next answer before `deadline` (monotonic seconds). Raises DeadlineExceeded, TdengineError, OSError."""
        while b"\n" not in self._kept:
            ready, _, _ = select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise DeadlineExceeded("TDengine did not answer in time")
            block = os.read(self._out.fileno(), 1 << 20)
            if not block:
                raise OSError("the session with TDengine has ended")
            self._kept += block
        line, _, self._kept = self._kept.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise TdengineError(said["error"], "Look at the server's log in /var/log/taos.", said["code"])
        return said

    def ask(self, statement: str, deadline: float) -> dict[str, Any]:
        data = statement.encode()
        sender = threading.Thread(target=self._send, args=(data,), daemon=True)
        sender.start()
        return self.answer(deadline)

    def _send(self, data: bytes) -> None:
        try:
            self._in.write(LENGTH.pack(len(data)) + data)
            self._in.flush()
        except (OSError, ValueError):
            return  # the reader finds the same end

    @property
    def closed(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._in, self._out):
            try:
                pipe.close()
            except OSError:
                continue


class Connector:
    """Opens sessions. One that is not ready in time is kept for the next try, which finds it further on."""

    def __init__(self, settings: Path) -> None:
        self._path = settings
        self._pending: Worker | None = None

    def connect(self, timeout_s: float, stop: threading.Event | None = None) -> Node:
        """A session with a server that answers. Raises NoPrimary."""
        settings = load_settings(self._path)
        end = time.monotonic() + timeout_s
        why = "there was no time left"
        while time.monotonic() < end and not (stop and stop.is_set()):
            reachable = next((node for node in settings.nodes if _listens(node)), None)
            if reachable is None:
                why = f"{', '.join(name for name, _ in settings.nodes)}: nobody listens"
                self._drop()
            else:
                try:
                    return self._opened(reachable[0], end)
                except DeadlineExceeded:
                    raise NoPrimary(f"TDengine at {reachable[0]} does not answer yet.", "It may be starting.") from None
                except (TdengineError, OSError) as error:
                    self._drop()
                    why = str(error)
            time.sleep(max(0.0, min(RETRY_S, end - time.monotonic())))
        raise NoPrimary(f"TDengine takes no rows ({why}).", "Does taosd run there?")

    def _opened(self, name: str, end: float) -> Node:
        if self._pending is not None and (self._pending.closed or self._pending.node != name):
            self._drop()
        if self._pending is None:
            self._pending = Worker(self._path, name)
        self._pending.answer(end)
        worker, self._pending = self._pending, None
        return Node(name, name, worker)

    def _drop(self) -> None:
        if self._pending is not None:
            self._pending.close()
            self._pending = None

    close = _drop


def _listens(node: tuple[str, int]) -> bool:
    try:
        socket.create_connection(node, TCP_TIMEOUT_S).close()
    except OSError:
        return False
    return True


class TdStore:
    """One session. After any failure but a refusal it is of no further use: close it.

    TDengine keeps what is written last. `late` rows may be older than what is there: of tables whose newest row wins
    those that are stay out. Compared and written in two statements, so no writer may go past them meanwhile: those of
    this host take turns in a subtable, by the file `sent`.
    """

    def __init__(
        self, primary: Node, tables: Mapping[str, Table], late: bool = False, sent: Path | None = None
    ) -> None:
        self.primary = primary
        self._worker = primary.worker
        self._tables = dict(tables)
        self._late = late
        self._sent = sent

    def write(self, parts: Iterable[Part], deadline_s: float) -> None:
        """Write all parts; returns only if the server acknowledges every row. Raises a StoreFailure."""
        deadline, parts = time.monotonic() + deadline_s, list(parts)
        contested = [part for part in parts if self._tables[part.table].on_conflict == "newest"]
        if not contested or self._sent is None:
            self._write(parts, deadline, self._late)
            return
        names, last = subtables(contested, self._tables), max(part.last for part in contested)
        with turn(self._sent, names, last, deadline) as before:
            self._write(parts, deadline, self._late or before > min(part.first for part in contested))

    def _write(self, parts: Iterable[Part], deadline: float, look: bool) -> None:
        if look:
            # Whatever a look is refused with: that nothing newer is there it does not say.
            parts = newer(parts, self._tables, lambda statement: self._worker.ask(statement, deadline)["rows"])
        for statement, rows in inserts(parts, self._tables):
            affected = self._worker.ask(statement, deadline)["affected"]
            if affected != rows:
                raise TdengineError(f"TDengine took {affected} of {rows} rows", "Write them again.")

    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[Refused]]:
        """Like write, but what TDengine refuses stays out: (written, (part, why))."""
        end = time.monotonic() + deadline_s

        def tried(part: Part) -> Refusal | None:
            try:
                self.write([part], end - time.monotonic())
            except TdengineError as error:
                if kind_of(error) is not Kind.REFUSED:
                    raise
                return refusal(error)
            return None

        return separate(parts, tried)

    def absent(self, part: Part, deadline_s: float) -> list[int]:
        """Event ids of the rows that are not there, neither themselves nor, where the newest wins, a newer one."""
        deadline = time.monotonic() + deadline_s
        return absent(part, self._tables[part.table], lambda statement: self._rows(statement, deadline))

    def _rows(self, statement: str, deadline: float) -> list[list[Any]]:
        """None where there is no such supertable."""
        try:
            found: list[list[Any]] = self._worker.ask(statement, deadline)["rows"]
        except TdengineError as error:
            if error.code == NO_SUPERTABLE:
                return []
            raise
        return found

    def ping(self, deadline_s: float) -> None:
        """Raise a StoreFailure unless the server answers in time."""
        self._worker.ask("SELECT server_status()", time.monotonic() + deadline_s)

    def abandon(self) -> None:
        """From another thread: end a write that hangs."""
        self._worker.close()

    @property
    def closed(self) -> bool:
        return self._worker.closed

    def close(self) -> None:
        self._worker.close()


def is_data_code(code: int) -> bool:
    return code in DATA_CODES


def kind_of(error: BaseException) -> Kind:
    """What an error of this store says. A code that nobody knows is a refusal: whether others go through will tell."""
    if not isinstance(error, TdengineError):
        return Kind.AWAY
    if error.code in (0, DROPPED_MEANWHILE):
        return Kind.UNLUCKY  # it took fewer rows than it was given, or a subtable went under the statement
    return Kind.AWAY if any(first <= error.code <= last for first, last in _AWAY) else Kind.REFUSED


def refusal(error: TdengineError) -> Refusal:
    return Refusal(str(error), f"0x{error.code:04x}", is_data_code(error.code))


def connector(config: Config) -> Connector:
    assert config.tdengine is not None, "only a configuration with store tdengine comes here"
    return Connector(config.tdengine)
