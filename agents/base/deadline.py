"""Bound a call into psycopg2 without ever cancelling it.

A query cancel (also statement_timeout) that meets a COMMIT waiting for its synchronous standby makes
PostgreSQL answer "COMMIT" with a mere warning: the row exists on the primary only, and the client believes it
is safe. So at the deadline the socket is shut down instead. The call then fails with a lost connection, which
is what it is: the outcome is unknown, nobody is acknowledged, and the batch is sent again under the same
event ids.
"""

from __future__ import annotations

import os
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


class DeadlineExceeded(Exception):  # noqa: N818 - what happened, not an error of ours
    """The call did not return in time; its connection is gone and its outcome unknown."""


class Deadline:
    """`with Deadline(connection, seconds):` shuts the connection's socket down when the block lasts longer.

    Raises DeadlineExceeded in place of the psycopg2 error that follows. A block that finished just before the
    shutdown counts as finished; `expired` then tells that the connection is of no further use.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.expired = False

    def __enter__(self) -> Deadline:
        if self._seconds <= 0:
            raise DeadlineExceeded("there was no time left")
        # A duplicate: shutdown acts on the connection itself, but closing ours leaves libpq's descriptor
        # alone.
        self._socket = socket.socket(fileno=os.dup(self._connection.fileno()))
        self._timer = threading.Timer(self._seconds, self.give_up)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            assert self._socket is not None
            self._socket.close()
            self._socket = None
        if self.expired and isinstance(error, psycopg2.Error):
            raise DeadlineExceeded(f"no answer in time (at most {self._seconds:.2f} s)") from error

    def give_up(self) -> None:
        """Do now what the deadline would do (for another thread). No effect after the block."""
        with self._lock:
            if self._socket is None:
                return
            self.expired = True
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Already reset by the other side: the call is failing by itself.
                return
