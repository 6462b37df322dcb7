"""Room on the outbox's disk that only the replayer may use: without it a full disk could never be drained."""

from __future__ import annotations

import os
from pathlib import Path

RESERVE = 32 << 20
SPARE = 4  # it is laid by again when there is so many times as much


class Reserve:
    """A file of zeros beside the outbox, laid by while there is room and given back when there is none."""

    def __init__(self, outbox: Path, size: int = RESERVE) -> None:
        self.path = outbox.with_name(outbox.name + ".reserve")
        self._size = size

    def lay(self) -> bool:
        """Whether it is there now. Never raises: a disk without room for it is what it is for."""
        try:
            if self.path.exists() and self.path.stat().st_size >= self._size:
                return True
            if free_bytes(self.path.parent) < self._size * SPARE:
                return False
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size)
            finally:
                os.close(handle)
        except OSError:
            self.give()
            return False
        return True

    def give(self) -> bool:
        """Whether it made room just now."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
