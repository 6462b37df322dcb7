"""One job at a time: an flock with its owner written in it.

The kernel gives it back whatever way its holder dies, and a job's own process inherits it, so that it stays held while
that process lives, even without the runner. The owner in the file is for people; it decides nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.base.errors import AgentError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EVERY_S = 0.2
_AT_LEAST_S = 1.0  # whoever looks for the owner has the lock for an instant


class Held(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """Another job has the lock."""

    exit_code = 3


@dataclass(frozen=True)
class Owner:
    """Who holds it: process, boot of the machine, job, since when and last sign of life (unix seconds)."""

    pid: int
    boot_id: str
    job: str
    since: float
    heartbeat: float

    @classmethod
    def me(cls, job: str) -> Owner:
        now = time.time()
        return cls(os.getpid(), BOOT_ID.read_text().strip() if BOOT_ID.exists() else "", job, now, now)

    @property
    def sentence(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"{self.job} runs since {since} (process {self.pid})"


class Lock:
    """Take it with `acquire`, give it back with `release`; `handle` is for the child that is to inherit it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = -1

    def acquire(self, owner: Owner, wait_s: float) -> None:
        """Raises Held when it is not free within `wait_s` seconds."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        ends = time.monotonic() + max(wait_s, _AT_LEAST_S)
        while not _take(handle):
            if time.monotonic() > ends:
                os.close(handle)
                holder = read(self.path)
                said = holder.sentence if holder else f"somebody holds {self.path}"
                raise Held(f"{owner.job} cannot run: {said}.", "Wait for its end; --wait does.")
            time.sleep(_EVERY_S)
        self.handle = handle
        self._write(json.dumps(asdict(owner)))

    def beat(self, owner: Owner) -> None:
        """Leave a sign of life."""
        self._write(json.dumps(asdict(owner) | {"heartbeat": time.time()}))

    def release(self) -> None:
        """Also for a lock that was never taken."""
        if self.handle >= 0:
            self._write("")
            os.close(self.handle)
            self.handle = -1

    def _write(self, text: str) -> None:
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, text.encode(), 0)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read(path: Path) -> Owner | None:
    """The owner that is written in the file, whether or not it lives; None when there is none."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def holder(path: Path) -> Owner | None:
    """Who holds the lock now. An unnamed holder is somebody else's process, such as flock(1)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        now = time.time()
        return read(path) or Owner(0, "", "somebody", now, now)
    else:
        return None
    finally:
        os.close(handle)
