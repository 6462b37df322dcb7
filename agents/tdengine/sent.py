"""What this host sent last to TDengine's tables in which the newest of a key wins, and the right to send more.

TDengine keeps what arrives last, and rows of two programs that save at one moment arrive in whatever order. So one of
them writes at a time, and notes the greatest event id in a file before it does. Who comes with a smaller one looks at
what is there first; nobody else needs to. A file that is new, says nothing or cannot be had (a full disk) means a look:
it never keeps a row from a store that takes it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.base.deadline import DeadlineExceeded
from agents.base.errors import AgentError
from agents.base.locks import FileLock

EVERY_S = 0.001
_BYTES = 32
UNKNOWN = sys.maxsize


@contextmanager
def turn(path: Path, last: int, deadline: float) -> Iterator[int]:
    """Send alone what ends with the event `last`; inside, the greatest that was sent before.

    Raises DeadlineExceeded when others wrote until `deadline` (monotonic seconds).
    """
    lock = FileLock(path, 0o660, EVERY_S)
    try:
        taken = lock.take(max(0.0, deadline - time.monotonic()))
    except AgentError:
        yield UNKNOWN
        return
    try:
        # Who has his turn too late would leave a statement under way behind him when the next one writes.
        if not taken or time.monotonic() >= deadline:
            raise DeadlineExceeded("other programs of this host wrote rows of such tables all the time")
        yield _noted(lock, last)
    finally:
        _give_back(lock)


def _give_back(lock: FileLock) -> None:
    """Also from a child that was forked meanwhile, of a program that does not go by the client: it has the handle."""
    if lock.handle >= 0:
        fcntl.flock(lock.handle, fcntl.LOCK_UN)
    lock.release()


def _noted(lock: FileLock, last: int) -> int:
    try:
        said = os.pread(lock.handle, _BYTES, 0)
        before = int(said) if said.isdigit() else UNKNOWN
        if before == UNKNOWN or last > before:
            lock.note(str(last))
    except OSError:
        return UNKNOWN
    return before
