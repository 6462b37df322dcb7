"""Find the server that takes writes, fast, whatever the other hosts do.

Each host is watched by its own thread, so that a dead, frozen or partitioned one costs the others nothing
(libpq's multi-host DSN asks them one after the other, two seconds each). A session on a standby stays open
and is asked again every few milliseconds: it becomes writable by itself at the promotion, without another
login. Should two hosts take writes, the one on the higher timeline is the primary; the other was left behind
by a promotion.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

from agents.base.config import Config, Host
from agents.base.deadline import Deadline, DeadlineExceeded
from agents.base.errors import NoPrimary

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

TCP_TIMEOUT_S = 0.3  # a host of the estate that does not shake hands within this is down
ASK_EVERY_S = 0.025
RETRY_S, RETRY_MAX_S = 0.05, 0.25
GRACE_S = 0.1  # how long a first answer waits for a host that has not yet answered at all
LOGIN_S = 2.0

# statement_timeout would cancel a waiting commit, see agents/base/deadline.py; an asynchronous default would make
# acknowledgements untrue.
SESSION = "-c synchronous_commit=on -c statement_timeout=0 -c lock_timeout=0 -c client_min_messages=notice"
STATE = (
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,"
    " CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
)


@dataclass(frozen=True)
class Primary:
    """An open session on the server that takes writes; `host` is its address, `timeline` its number."""

    connection: Connection
    name: str
    host: str
    timeline: int


def connect(config: Config, host: Host, application: str, session: str = SESSION) -> Connection:
    """A session on exactly this host, whatever its role. Raises psycopg2.Error after at most two seconds."""
    parameters: dict[str, Any] = {"host": host.name, "port": host.port, **config.libpq}
    if host.address:
        parameters["hostaddr"] = host.address
    connection: Connection = psycopg2.connect(
        dbname=config.dbname,
        user=config.user,
        application_name=application,
        connect_timeout=int(LOGIN_S),
        # Milliseconds that sent data may stay unanswered by the other kernel; notices a dead host in
        # mid-transaction.
        tcp_user_timeout=1000,
        keepalives=1,
        keepalives_idle=1,
        keepalives_interval=1,
        keepalives_count=2,
        options=session,
        **parameters,
    )
    return connection


def peer(connection: Connection) -> str:
    """The address of the server at the other end."""
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        name = duplicate.getpeername()
    return str(name[0]) if isinstance(name, tuple) else "local"


def find_primary(
    config: Config, timeout_s: float, application: str, stop: threading.Event | None = None
) -> Primary:
    """The server that takes writes, waiting up to `timeout_s` for one to appear.

    Raises NoPrimary with every host's reason.
    """
    search = _Search(config, application)
    return search.result(config.hosts, timeout_s, stop or threading.Event())


class _Search:
    """What the watchers of one search share."""

    def __init__(self, config: Config, application: str) -> None:
        self._config = config
        self._application = application
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._found: list[Primary] = []
        self._answers: dict[str, str] = {}

    def result(self, hosts: Sequence[Host], timeout_s: float, stop: threading.Event) -> Primary:
        end = time.monotonic() + timeout_s
        for host in hosts:
            threading.Thread(target=self._watch, args=(host,), daemon=True, name=f"watch-{host.name}").start()
        with self._changed:
            while not self._found and not stop.is_set() and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.2))
            grace = time.monotonic() + GRACE_S
            while self._found and len(self._answers) < len(hosts) and (left := grace - time.monotonic()) > 0:
                self._changed.wait(left)
            self._over.set()
            ranked = sorted(self._found, key=lambda primary: primary.timeline)
            self._found = []
            answers = dict(self._answers)
        for loser in ranked[:-1]:
            loser.connection.close()
        if ranked:
            return ranked[-1]
        reasons = "; ".join(f"{host.name}: {answers.get(host.name, 'no answer yet')}" for host in hosts)
        raise NoPrimary(
            f"No host takes writes ({reasons}).",
            "Look at the cluster's state; run the failover if it is down.",
        )

    def _watch(self, host: Host) -> None:
        pause = RETRY_S
        while not self._over.is_set():
            connection = None
            try:
                with socket.create_connection(host.target, TCP_TIMEOUT_S):
                    pass
                connection = connect(self._config, host, self._application)
                connection.autocommit = True
                if self._stay(host, connection):
                    return
            except (OSError, psycopg2.Error, DeadlineExceeded) as error:
                self._answer(host, _first_line(error))
            if connection is not None:
                connection.close()
            self._over.wait(pause)
            pause = min(pause * 1.5, RETRY_MAX_S)

    def _stay(self, host: Host, connection: Connection) -> bool:
        """Ask this session until it takes writes or the search is over.

        True: the session has been handed over.
        """
        while not self._over.is_set():
            with Deadline(connection, LOGIN_S), connection.cursor() as cursor:
                cursor.execute(STATE)
                row = cursor.fetchone()
            assert row is not None
            if not row[0]:
                connection.autocommit = False
                return self._offer(Primary(connection, host.name, peer(connection), int(row[1], 16)))
            self._answer(host, "it is read-only")
            self._over.wait(ASK_EVERY_S)
        return False

    def _offer(self, primary: Primary) -> bool:
        with self._changed:
            if self._over.is_set():
                return False
            self._found.append(primary)
            self._answers[primary.name] = "it takes writes"
            self._changed.notify_all()
            return True

    def _answer(self, host: Host, answer: str) -> None:
        with self._changed:
            self._answers[host.name] = answer
            self._changed.notify_all()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
