"""The right to replay: two replayers can never run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lease:
    """An flock beside the outbox: the kernel releases it whatever way its holder dies.

    An expiry time instead could be outlived by a transaction that hangs.
    """

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(outbox.name + ".lock")
        self._file: int | None = None

    def take(self) -> bool:
        """False when another process is the replayer."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._file = handle
        return True

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
