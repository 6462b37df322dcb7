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
from agents.tdengine.session import TdengineError, load_settings
from agents.tdengine.sql import inserts
from agents.tdengine.worker import LENGTH
from agents.writing.batch import Part

TCP_TIMEOUT_S = 0.3
RETRY_S = 0.1
# What says that the rows themselves are at fault: syntax, a value out of range, a string too long, a time outside KEEP.
DATA_CODES = frozenset((0x0216, 0x0217, 0x2600, 0x2602, 0x2605, 0x0612, 0x0653, 0x070F))


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
    """One session. After any failure but a data error it is of no further use: close it."""

    def __init__(self, primary: Node, tables: Mapping[str, Table]) -> None:
        self.primary = primary
        self._worker = primary.worker
        self._tables = dict(tables)

    def write(self, parts: Iterable[Part], deadline_s: float) -> None:
        """Write all parts; returns only if the server acknowledges every row. Raises a StoreFailure."""
        deadline = time.monotonic() + deadline_s
        for statement, rows in inserts(parts, self._tables):
            affected = self._worker.ask(statement, deadline)["affected"]
            if affected != rows:
                raise TdengineError(f"TDengine took {affected} of {rows} rows", "Write them again.")

    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[tuple[Part, str]]]:
        """Like write, but rows that TDengine refuses for what they are stay out: (written, (row, why))."""
        sound: list[Part] = []
        poison: list[tuple[Part, str]] = []
        waiting = list(parts)
        while waiting:
            part = waiting.pop(0)
            try:
                self.write([part], deadline_s)
                sound.append(part)
            except TdengineError as error:
                if not is_data_code(error.code):
                    raise
                if part.n == 1:
                    poison.append((part, str(error)))
                else:
                    waiting[:0] = part.halves()
        return sound, poison

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


def connector(config: Config) -> Connector:
    assert config.tdengine is not None, "only a configuration with store tdengine comes here"
    return Connector(config.tdengine)
