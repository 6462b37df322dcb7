"""One job at a time: a lock with its owner written in it.

A job's own process inherits it, so that it stays held while that process lives, even without the runner.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.base import clock
from agents.base.errors import AgentError
from agents.base.locks import FileLock, is_held

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
        return cls(os.getpid(), clock.boot_id(), job, now, now)

    @property
    def sentence(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"{self.job} runs since {since} (process {self.pid})"


class Lock(FileLock):
    """Take it with `acquire`, give it back with `release`; `handle` is for the child that is to inherit it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 0o640)

    def acquire(self, owner: Owner, wait_s: float) -> None:
        """Raises Held when it is not free within `wait_s` seconds."""
        if not self.take(max(wait_s, _AT_LEAST_S)):
            holder = read(self.path)
            said = holder.sentence if holder else f"somebody holds {self.path}"
            raise Held(f"{owner.job} cannot run: {said}.", "Wait for its end; --wait does.")
        self.note(json.dumps(asdict(owner)))

    def beat(self, owner: Owner) -> None:
        """Leave a sign of life."""
        self.note(json.dumps(asdict(owner) | {"heartbeat": time.time()}))

    def release(self) -> None:
        """Also for a lock that was never taken."""
        if self.handle >= 0:
            self.note("")
        super().release()


def read(path: Path) -> Owner | None:
    """The owner that is written in the file, whether or not it lives; None when there is none."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def holder(path: Path) -> Owner | None:
    """Who holds the lock now. An unnamed holder is somebody else's process, such as flock(1)."""
    if not is_held(path):
        return None
    now = time.time()
    return read(path) or Owner(0, "", "somebody", now, now)
