"""Try to commit on every host of the database, again and again, and say who acknowledged: never two of them may.

    python3 -m agents.writing.watch --config FILE [--every S]

Each host has a thread of its own, so that a dead one costs the others nothing. What is committed is a message in the
WAL, which waits for the standby as a row does and leaves no row behind. One JSON object a line: `ack` for an
acknowledged commit with `began` and `ended` (monotonic seconds of this host) and the timeline that it is on, `looks`
once a second with the attempts on each host so far. Ends when its standard input does.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from agents.base.config import DEFAULT, Config, Host, load_config
from agents.base.deadline import Deadline, DeadlineExceeded
from agents.base.errors import run
from agents.postgresql.primary import SESSION, STATE, TCP_TIMEOUT_S, connect

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

EVERY_S, SAYS_EVERY_S = 0.1, 1.0
ANSWER_S = 1.0  # a commit that waits longer has not been acknowledged; the session is given up
_WRITE = "SELECT pg_logical_emit_message(true, 'mystocks-dr', 'watch')"


class Watch:
    """One host: an open session where it takes one, and how often it was tried."""

    def __init__(self, config: Config, host: Host, every_s: float, over: threading.Event) -> None:
        self.host = host
        self.looks = 0
        self._config, self._every_s, self._over = config, every_s, over
        self._session: Connection | None = None

    def go(self) -> None:
        """Until it is over. Whatever the host does is an answer."""
        while not self._over.is_set():
            began = time.monotonic()
            timeline = self._attempt()
            self.looks += 1
            if timeline is not None:
                say(kind="ack", host=self.host.name, timeline=timeline, began=began, ended=time.monotonic())
            self._over.wait(max(0.0, began + self._every_s - time.monotonic()))

    def _attempt(self) -> int | None:
        """The timeline on which a commit was acknowledged; None when none was."""
        try:
            session = self._session or self._connected()
            with Deadline(session, ANSWER_S) as deadline, session.cursor() as cursor:
                cursor.execute(STATE)
                row = cursor.fetchone()
                if row is None or row[0]:
                    session.rollback()
                    return None
                cursor.execute(_WRITE)
                del session.notices[:]
                session.commit()
            unconfirmed = bool(session.notices)
            if deadline.expired or unconfirmed:
                self._give_up()
            return None if unconfirmed else int(row[1], 16)
        except (OSError, psycopg2.Error, DeadlineExceeded):
            self._give_up()
            return None

    def _connected(self) -> Connection:
        with socket.create_connection(self.host.target, TCP_TIMEOUT_S):
            pass  # a host that is off would hold libpq up for two seconds
        self._session = connect(self._config, self.host, "mystocks-watch", SESSION)
        return self._session

    def _give_up(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


_mouth = threading.Lock()


def say(**words: object) -> None:
    with _mouth:
        print(json.dumps(words), flush=True)


def watch(config: Config, every_s: float, over: threading.Event) -> None:
    """Every host at once, until it is over."""
    watches = [Watch(config, host, every_s, over) for host in config.hosts]
    for one in watches:
        threading.Thread(target=one.go, daemon=True, name=f"watch-{one.host.name}").start()
    while not over.wait(SAYS_EVERY_S):
        say(kind="looks", at=time.monotonic(), hosts={one.host.name: one.looks for one in watches})
    say(kind="looks", at=time.monotonic(), hosts={one.host.name: one.looks for one in watches})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.watch", description="Say who acknowledges a commit.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between two attempts on one host")
    options = parser.parse_args(arguments)
    over = threading.Event()

    def until_nobody_listens() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=until_nobody_listens, daemon=True).start()
    watch(load_config(options.config), options.every, over)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
