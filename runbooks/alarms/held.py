"""Be the one process of this machine that raises an estate's alarms: two would tell everything twice."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inventories.errors import Refused


@contextmanager
def held(spool: Path) -> Iterator[None]:
    """Raises Refused where another one does."""
    spool.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with spool.with_suffix(".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            who = lock.read().strip() or "unknown"
            raise Refused(
                f"process {who} of this machine raises these alarms already", "./dr alarms lists them; end that process"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
