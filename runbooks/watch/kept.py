"""Which watch runs on this machine, and what it sees: a file that its process holds locked as long as it lives."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from inventories.errors import Refused
from runbooks import files
from runbooks.engine.lock import state_dir
from runbooks.engine.wait import until

_STOPS_S = 15.0


def path_of(estate: str) -> Path:
    return state_dir() / "watch" / f"{quote(estate, safe='')}.json"


@dataclass
class Mine:
    """The file of the watch that this process is."""

    path: Path
    beginning: dict[str, Any]

    def write(self, seen: dict[str, Any]) -> None:
        """What is seen now; a full disk does not end a watch."""
        with suppress(OSError):
            files.put(self.path, json.dumps({**self.beginning, **seen, "at": time.time()}))


@contextmanager
def held(estate: str, act: bool) -> Iterator[Mine]:
    """Be the watch of this estate on this machine. Raises Refused where there is one already."""
    path = path_of(estate)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        if not _taken(lock):
            who = (read(estate) or {}).get("pid", "unknown")
            raise Refused(
                f"a watch of {estate} runs on this machine already (process {who})",
                "./dr watch.status shows what it sees, ./dr watch.stop ends it",
            )
        mine = Mine(path, {"pid": os.getpid(), "act": act, "since": time.time()})
        mine.write({})
        try:
            yield mine
        finally:
            with suppress(OSError):
                path.unlink()


def read(estate: str) -> dict[str, Any] | None:
    """What the watch of this machine has said last; None where none runs."""
    path = path_of(estate)
    try:
        with path.with_suffix(".lock").open("r+") as lock:
            if _taken(lock):
                return None
        known = json.loads(path.read_text())
        return known if isinstance(known, dict) else None
    except (OSError, ValueError):
        return None


def stop(estate: str) -> int:
    """End the watch of this machine and return its process's number; 0 where none runs. Raises Refused, TimedOut."""
    known = read(estate)
    if known is None:
        return 0
    if known.get("acting"):
        raise Refused(
            "the watch is running a failover, which would stop half way", "let it end: ./dr watch.status; then repeat"
        )
    pid = int(known["pid"])
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until(lambda: read(estate) is None, _STOPS_S, what=f"the end of the watch, process {pid}")
    return pid


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
