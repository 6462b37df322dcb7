"""The spool: a folder of lines that wait for the monitoring database, see agents/monitor/store.py for a line.

Whoever has something to tell never waits for that database, and never hears of it. What must not be lost (runs, drills,
proofs, alarms) is a segment of its own, on the disk before `put` returns. What is told with every save goes through
`Stream`: one write into the page cache, as the shadow does, which outlives this process and not a power cut.

    <folder>/MS-PID-N.kept, .bulk       segments, in the order of their names; who still writes to one holds its flock
    <folder>/shipped/                   those that were shipped, kept for a while: a restored database lacks them

Bounds: `max_bytes` for what waits, and as much for what was shipped. Beyond that, and while the disk has less than
FREE_BYTES left, what was shipped goes, then the oldest bulk segments. A `loss` line says how many lines that were and
of when, before they go. Segments of the other kind never go unshipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

from agents.base import files
from agents.writing.room import free_bytes

KEPT, BULK = ".kept", ".bulk"
SEGMENT_BYTES, SEGMENT_S = 1 << 20, 30.0
FREE_BYTES = 256 << 20  # the spool leaves so much of its disk to whatever else lives there
MAX_BYTES = 256 << 20
_NUMBERS = count()


@dataclass(frozen=True)
class Depth:
    """What waits: `oldest_at` is the unix time of the oldest segment, None where nothing waits."""

    segments: int
    size_bytes: int
    oldest_at: float | None


class Spool:
    """The folder. Any number of processes may use it at once; only one ships (agents/monitor/shipping.py)."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.shipped = folder / "shipped"
        self.max_bytes = max_bytes

    def put(self, lines: Iterable[str]) -> None:
        """All of them or none, on the disk when this returns; none is no segment. Raises OSError."""
        text = "".join(f"{line}\n" for line in lines)
        if text:
            self.make()
            files.replace(self.folder / f"{_name()}{KEPT}", text, 0o640)

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)

    def segments(self) -> list[Path]:
        """What waits, the oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if path.suffix in (KEPT, BULK))

    def depth(self) -> Depth:
        there = self.segments()
        size = sum(_size(path) for path in there)
        return Depth(len(there), size, float(int(there[0].name.partition("-")[0]) / 1000) if there else None)

    def trim(self) -> None:
        """Let the oldest bulk go until what is left fits. Raises OSError where even the line about it finds no room."""
        for path in sorted(self.shipped.glob("[0-9]*")):
            if free_bytes(self.folder) >= FREE_BYTES:
                break
            path.unlink(missing_ok=True)
        there = self.segments()
        over = sum(_size(path) for path in there) - self.max_bytes
        for path in there:
            short = FREE_BYTES - free_bytes(self.folder)
            if max(over, short) <= 0:
                return
            if path.suffix == BULK and not in_use(path):
                over -= _size(path)
                why = f"more than {self.max_bytes >> 20} MiB waited" if over > 0 or short <= 0 else "the disk was full"
                self._let_go(path, why)

    def _let_go(self, path: Path, why: str) -> None:
        lines = path.read_bytes().count(b"\n")
        began = int(path.name.partition("-")[0]) / 1000
        with suppress(FileNotFoundError):  # another writer was quicker, and has said so
            ended = path.stat().st_mtime
            self.put([loss(path.name, lines, why, ended, began)])
            path.unlink(missing_ok=True)


class Stream:
    """Appends lines, for any number of threads and for a process that forks. Never raises and is never waited for."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._turn = threading.Lock()
        self._fd, self._pid, self._size, self._since = -1, 0, 0, 0.0
        self._untold, self._failed = 0, ""

    def add(self, line: str) -> None:
        with self._turn:
            try:
                self._write(line.encode() + b"\n")
                self._failed = ""
            except OSError as error:
                self._untold += 1
                self._close()
                if str(error) != self._failed:
                    self._failed = str(error)
                    print(f"The spool {self._spool.folder} takes no more: {error}.", file=sys.stderr, flush=True)

    def close(self) -> None:
        with self._turn:
            self._close()

    def before_fork(self) -> None:
        """Whoever forks calls this and then `after_fork` on both sides: no thread holds the lock meanwhile."""
        self._turn.acquire()

    def after_fork(self) -> None:
        self._turn.release()

    def _write(self, data: bytes) -> None:
        old = time.monotonic() - self._since > SEGMENT_S
        if self._fd < 0 or self._pid != os.getpid() or self._size + len(data) > SEGMENT_BYTES or old:
            self._begin()
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError("the line was written in part")
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def _begin(self) -> None:
        """A segment of this process's own: a child that was forked writes none of its parent's."""
        self._close()
        self._spool.make()
        self._spool.trim()
        name = _name()
        if self._untold:
            self._spool.put([loss(f"{name}-untold", self._untold, "the disk took nothing", time.time(), None)])
            self._untold = 0
        path = self._spool.folder / f".{name}{BULK}"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        fcntl.flock(self._fd, fcntl.LOCK_SH)  # before anybody sees it, who would take it for one that is complete
        path.rename(self._spool.folder / path.name[1:])
        self._pid, self._size, self._since = os.getpid(), 0, time.monotonic()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)


def line(kind: str, data: dict[str, Any]) -> str:
    """One line of a spool; a value that JSON has not is told as text."""
    return json.dumps({"kind": kind, "data": data}, separators=(",", ":"), default=str)


def loss(name: str, number: int, why: str, last: float, first: float | None) -> str:
    machine = socket.gethostname()
    return line("loss", {
        "loss_id": f"{machine}:{name}", "machine": machine, "number": number, "why": why,
        "first_at": None if first is None else utc(first), "last_at": utc(last),
    })  # fmt: skip


def utc(at: float) -> str:
    """ISO 8601 of a unix time, as columns of moments take it."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat()


def in_use(path: Path) -> bool:
    """Whether somebody may still write to it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _name() -> str:
    return f"{int(time.time() * 1000):015d}-{os.getpid()}-{next(_NUMBERS)}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
