"""Writers for many threads: each is lent to one at a time, with its session, its outbox and its shadow.

A fork takes none of them along. Before it everybody who has one gives it back, and all are closed: SQLite's locks
belong to the process, and a session that two processes use is nobody's. Both sides open theirs anew when they need one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agents.base.errors import AgentError, OutboxFull
from agents.writing.writer import Writer

FORK_WAIT_S = 5.0


class ClientClosed(AgentError):  # noqa: N818 - named after what it is
    """Nothing can be saved through this client any more: nothing was acknowledged."""


class Pool:
    """At most `size` writers, made as they are needed by `make`, ended by `end`."""

    def __init__(self, make: Callable[[], Writer], end: Callable[[Writer], None], size: int) -> None:
        self._make, self._end, self._size = make, end, size
        self._free = threading.Condition()
        self._idle: list[Writer] = []
        self._lent = 0
        self._why_closed = ""
        self._pid = os.getpid()

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """One for the block. It is kept for the next one unless the block fails in a way that says nothing of it."""
        writer = self._take()
        sound = False
        try:
            yield writer
            sound = True
        except OutboxFull:
            sound = True
            raise
        finally:
            if not sound:
                self._end(writer)
            with self._free:
                self._lent -= 1
                if sound:
                    self._idle.append(writer)
                self._free.notify_all()
            if self._why_closed:
                self._end_idle()

    def close(self) -> None:
        """Everybody who has a writer finishes with it."""
        with self._free:
            self._why_closed = self._why_closed or "The client is closed."
        self._end_idle()

    def _take(self) -> Writer:
        with self._free:
            self._look()
            while not self._idle and self._lent >= self._size:
                self._free.wait()
                self._look()
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._make()
        except BaseException:
            with self._free:
                self._lent -= 1
                self._free.notify_all()
            raise

    def _look(self) -> None:
        if self._pid != os.getpid():
            self._why_closed = "This process was forked past Python while the client was open."
        if self._why_closed:
            raise ClientClosed(self._why_closed, "Open a client in this process.")

    def _end_idle(self) -> None:
        with self._free:
            idle, self._idle = self._idle, []
        for writer in idle:
            self._end(writer)

    def before_fork(self) -> None:
        self._free.acquire()
        ends = time.monotonic() + FORK_WAIT_S
        while self._lent and (left := ends - time.monotonic()) > 0:
            self._free.wait(left)
        idle, self._idle = self._idle, []
        for writer in idle:
            self._end(writer)

    def after_fork(self, in_child: bool) -> None:
        if not in_child:
            self._free.release()
            return
        self._free = threading.Condition()
        self._pid = os.getpid()
        if self._lent:
            # Its thread is not here, and what it held open cannot be closed without harm to the other side.
            self._why_closed = "This process was forked in the middle of a save that did not end."
        self._lent = 0
