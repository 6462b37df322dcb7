"""Sessions that only read: on the primary where one answers, else on a standby, so that readers outlive a failover.

A session on a standby is for a second: then the primary is looked for again. An answer says where it comes from.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg2

from agents.base.config import Config, Host
from agents.base.deadline import Deadline, DeadlineExceeded
from agents.base.errors import AgentError, NoPrimary
from agents.postgresql.primary import TCP_TIMEOUT_S, connect, find_primary

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

ROLE, APPLICATION = "reader", "mystocks-tracker-history"
ANSWER_S = 2.0  # of one question
PRIMARY_S = 0.4  # for so long a primary is looked for, before a standby is asked
STANDBY_S, PRIMARY_AGE_S = 1.0, 60.0  # how long a session is used
PLACES = 8
_SESSION = "-c default_transaction_read_only=on -c statement_timeout=5s -c TimeZone=Asia/Ho_Chi_Minh"
_JSON = (
    "WITH asked AS MATERIALIZED ({}), shown AS (SELECT * FROM asked LIMIT %s)"
    " SELECT (SELECT coalesce(json_agg(s), '[]') FROM shown s)::text, (SELECT count(*) FROM asked) > %s"
)
_GONE = (psycopg2.OperationalError, psycopg2.InterfaceError, DeadlineExceeded, OSError)


class NobodyAnswers(AgentError):  # noqa: N818 - named after what happened
    """No server can be asked at the moment."""


@dataclass(frozen=True)
class Answer:
    """Rows as one text of JSON, whether there are more than were to be shown, and the server that told them."""

    json: str
    more: bool
    source: str


@dataclass
class Session:
    connection: Connection
    source: str
    until: float  # monotonic seconds

    def close(self) -> None:
        try:
            self.connection.close()
        except psycopg2.Error:
            return


class Readers:
    """For any number of threads; at most `places` sessions at once."""

    def __init__(self, config: Config, places: int = PLACES) -> None:
        self._config = replace(config, user=ROLE)
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._idle: list[Session] = []

    def ask(self, sql: str, values: Sequence[object], limit: int) -> Answer:
        """At most `limit` rows of it. Raises NobodyAnswers; psycopg2.Error for what the server refuses."""
        ends = time.monotonic() + ANSWER_S
        if not self._places.acquire(timeout=ANSWER_S):
            raise NobodyAnswers("Every session is in use.", "Ask again in a second.")
        try:
            return self._ask(_JSON.format(sql), (*values, limit, limit), ends)
        finally:
            self._places.release()

    def _ask(self, sql: str, values: Sequence[object], ends: float) -> Answer:
        why = "the time was over"
        while (left := ends - time.monotonic()) > 0:
            session = self._take(left)
            try:
                with Deadline(session.connection, max(left / 2, 0.1)), session.connection.cursor() as cursor:
                    cursor.execute(sql, values)
                    row = cursor.fetchone()
            except _GONE as error:
                # Others on the same server have fared no better.
                session.close()
                self.forget(session.source)
                why = (str(error).strip().splitlines() or [type(error).__name__])[0]
                continue
            except psycopg2.Error:
                session.close()
                raise
            assert row is not None
            self._give(session)
            return Answer(row[0], row[1], session.source)
        raise NobodyAnswers(f"No server answered: {why}.", "Ask again; ./dr status shows what each host is.")

    def _take(self, left: float) -> Session:
        with self._lock:
            while self._idle:
                session = self._idle.pop()
                if time.monotonic() < session.until and not session.connection.closed:
                    return session
                session.close()
        return self._opened(left)

    def _give(self, session: Session) -> None:
        with self._lock:
            self._idle.append(session)

    def _opened(self, left: float) -> Session:
        try:
            found = find_primary(self._config, min(PRIMARY_S, left), APPLICATION)
        except NoPrimary as error:
            return self._on_standby(str(error))
        found.connection.set_session(readonly=True, autocommit=True)
        with found.connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '5s'; SET TimeZone = 'Asia/Ho_Chi_Minh'")
        source = f"{found.name} (primary, timeline {found.timeline})"
        return Session(found.connection, source, time.monotonic() + PRIMARY_AGE_S)

    def _on_standby(self, why: str) -> Session:
        for host in self._config.hosts:
            try:
                connection = _standing_by(self._config, host)
            except (OSError, psycopg2.Error):
                continue
            return Session(connection, f"{host.name} (standby)", time.monotonic() + STANDBY_S)
        raise NobodyAnswers(f"No server answers: {why}", "./dr status shows what each host is.")

    def forget(self, source: str) -> None:
        """Let go of the idle sessions there."""
        with self._lock:
            gone = [one for one in self._idle if one.source == source]
            self._idle = [one for one in self._idle if one.source != source]
        for session in gone:
            session.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()


def _standing_by(config: Config, host: Host) -> Connection:
    """Raises OSError, psycopg2.Error."""
    with socket.create_connection(host.target, TCP_TIMEOUT_S):
        pass  # a host without power must not cost a login's timeout
    connection = connect(config, host, APPLICATION, _SESSION)
    connection.autocommit = True
    return connection
