"""A lock between the processes of one host: flock(2) on a file, which the kernel gives back however its holder dies.

An expiry time instead could be outlived by its holder. What is written in the file is for people and decides nothing. A
child that was given the handle holds the lock too, for as long as it lives.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.base.errors import AgentError
from agents.base.files import give_to_owner_of_folder, is_named

_EVERY_S = 0.05
_FLOCK = struct.Struct("@hhqqi4x")  # type, whence, start, length, and a process id that has to be 0


class FileLock:
    """`take` it, `release` it; `handle` is for the child that is to inherit it. `every_s`: who waits looks so often."""

    def __init__(self, path: Path, mode: int = 0o600, every_s: float = _EVERY_S) -> None:
        self.path = path
        self.handle = -1
        self._mode = mode
        self._every_s = every_s

    def take(self, patience_s: float = 0.0) -> bool:
        """False when somebody else holds it for `patience_s` seconds. Raises AgentError where no such file can be."""
        ends = time.monotonic() + patience_s
        while True:
            handle = opened(self.path, self._mode)
            try:
                # One that was moved away meanwhile keeps nobody out.
                if _locked(handle, fcntl.LOCK_EX) and is_named(os.fstat(handle), self.path, follow_symlinks=False):
                    self.handle = handle
                    return True
                is_late = time.monotonic() >= ends
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
            if is_late:
                return False
            time.sleep(self._every_s)

    def note(self, text: str) -> None:
        """Write into the file who holds it; only for the holder."""
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, text.encode(), 0)

    def release(self) -> None:
        """Also for a lock that was never taken."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def opened(path: Path, mode: int) -> int:
    """A handle of a file that is made where it is not there. Raises AgentError."""
    # O_NOFOLLOW: some lie in folders that everybody may write to.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, mode)
        give_to_owner_of_folder(handle, path)
        return handle
    except OSError as error:
        raise AgentError(
            f"The lock {path} cannot be used: {error.strerror}.", "Deploy this host; see who may write there."
        ) from error


@contextmanager
def held(path: Path, busy: AgentError, patience_s: float = 0.0, mode: int = 0o600) -> Iterator[int]:
    """Hold it inside; the handle is for a child. Raises `busy` when somebody else holds it for `patience_s` seconds."""
    lock = FileLock(path, mode)
    if not lock.take(patience_s):
        raise busy
    try:
        yield lock.handle
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether anybody holds it now; takes nothing from anybody."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise AgentError(f"Who holds {path} is unknown: {error.strerror}.", "Ask as the lock's own user.") from error
    try:
        return not _locked(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def lock_range(handle: int, start: int, length: int) -> bool:
    """Take bytes of a file for this opening of it, whatever thread asks. False when somebody else holds one of them."""
    return _ranged(handle, fcntl.F_WRLCK, start, length)


def unlock_all(handle: int) -> None:
    """Give back every range of this opening, also where a child that was forked meanwhile has the handle too."""
    _ranged(handle, fcntl.F_UNLCK, 0, 0)


def _ranged(handle: int, kind: int, start: int, length: int) -> bool:
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)  # a file system without such locks keeps nobody waiting
    return True


def _locked(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
