"""One session with one server that never blocks: begun, asked again and again, given up when it breaks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2 import extensions

LOGIN_S = 2.0  # by then a first packet that got lost would not have been sent again soon enough
_ASK = "SELECT pg_is_in_recovery()"
_TCP = {
    "tcp_user_timeout": 2000,
    "keepalives": 1,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}
_SESSION = "-c statement_timeout=0 -c idle_session_timeout=0"


class Said(Exception):  # noqa: N818 - not an error of ours: the server, or a kernel in its name, has spoken
    """What the other end said instead of an answer. `refused`: that nobody listens."""

    def __init__(self, words: str, refused: bool) -> None:
        super().__init__(words)
        self.refused = refused


class Session:
    """`fileno` and `writes` are for select; `step` goes on as far as it can without waiting."""

    def __init__(self, host: str, address: str, port: int, libpq: Mapping[str, str]) -> None:
        self._where: dict[str, Any] = {"host": host, "hostaddr": address, "port": str(port), **libpq, **_TCP}
        self._connection: extensions.connection | None = None
        self._cursor: extensions.cursor | None = None
        self._began = 0.0
        self._state = extensions.POLL_WRITE

    @property
    def writes(self) -> bool:
        return self._state == extensions.POLL_WRITE

    @property
    def broken(self) -> bool:
        return self._connection is None

    def fileno(self) -> int:
        return self._connection.fileno() if self._connection else -1

    def ask(self) -> None:
        """Have a question under way; one that was asked before and not answered yet will do. Raises Said."""
        overdue = self._cursor is None and time.monotonic() - self._began > LOGIN_S
        if self._connection is not None and self._state != extensions.POLL_OK and overdue:
            self.close()
        try:
            if self._connection is None:
                self._began = time.monotonic()
                self._connection = psycopg2.connect(
                    application_name="mystocks-watch", options=_SESSION, async_=1, **self._where
                )
                self._state = self._connection.poll()
            elif self._state == extensions.POLL_OK:
                self._put()
        except psycopg2.Error as error:
            self._broken(error)

    def step(self) -> bool | None:
        """Whether it is in recovery, once it has said so; None until then. Raises Said where the session broke."""
        if self._connection is None:
            return None
        try:
            self._state = self._connection.poll()
            while self._state == extensions.POLL_OK:
                if self._cursor is not None:
                    row = self._cursor.fetchone()
                    self._cursor = None
                    return bool(row and row[0])
                self._put()
        except psycopg2.Error as error:
            self._broken(error)
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._cursor = None

    def _put(self) -> None:
        assert self._connection is not None
        self._cursor = self._connection.cursor()
        self._cursor.execute(_ASK)
        self._state = self._connection.poll()

    def _broken(self, error: psycopg2.Error) -> None:
        """Raises Said for what the other end said; a session that just ended is begun anew by the next `ask`."""
        self.close()
        words = " ".join(str(error).split())
        if "Connection refused" in words:
            raise Said(words, True) from error
        if "FATAL:" in words:
            raise Said(words.rpartition("FATAL:")[2].strip()[:200], False) from error
