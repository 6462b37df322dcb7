"""A pair of eyes: looks at a server as often as it is told, and says what it saw. It judges nothing.

    python3 -m agents.watch.eye [--config /etc/mystocks-dr/agent.json]

A question is a line of JSON on standard input, its answer a line on standard output:

    {"n": 7, "host": "pg1", "address": "192.0.2.21", "port": 5432, "ssh": 22, "within": 0.4}
    {"n": 7, "seen": "serves", "why": ""}

`serves` or `standby`: the server answered in its open session. `alive`: its host answered, or the server said why it
does not serve. `down`: the host's kernel says that nobody listens. `silent`: nothing came back within `within`
seconds, from the server's port and from SSH's, nor to what earlier looks had asked. An answer that has come while this
host was too busy to look counts.
Ends when its input does, or when nobody has asked for a minute.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.base.config import load_config
from agents.watch.session import Said, Session

FORSAKEN_S = 60.0
LATE_S = 2.0  # a watch is patient for less: what answers so late was not lost meanwhile
KNOCK_AFTER = 1 / 3  # of the time that a look has: a session that answers costs the server no new one
_CA, _PASSFILE = "/etc/mystocks-dr/ca.crt", "/var/lib/postgresql/.mystocks.pgpass"
_CLOSED = "its port is closed"
Seen = tuple[str, str]


class Knocks:
    """New connections to a host's ports, begun together; `told` is what came back so far, by port."""

    def __init__(self, address: str, ports: Sequence[int]) -> None:
        self.told: dict[int, str] = {}
        self.open: dict[socket.socket, int] = {}
        for port in dict.fromkeys(ports):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            knocking = socket.socket(family, socket.SOCK_STREAM)
            knocking.setblocking(False)
            self.open[knocking] = port
            self._heard(knocking, knocking.connect_ex((address, port)))

    def ready(self, sockets: Sequence[Any]) -> None:
        for one in sockets:
            if one in self.open:
                self._heard(one, one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    @property
    def answered(self) -> bool:
        return any(word != "silent" for word in self.told.values())

    def close(self) -> None:
        for one in self.open:
            one.close()
        self.open = {}

    def _heard(self, knocking: socket.socket, code: int) -> None:
        if code == errno.EINPROGRESS:
            return
        # No route, no neighbour: nothing came back from the host itself.
        self.told[self.open.pop(knocking)] = {0: "open", errno.ECONNREFUSED: "refused"}.get(code, "silent")
        knocking.close()


class Late:
    """Knocks that nobody had answered when their look was over: a host that is very busy answers them later, a lost one
    never.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Knocks]] = []

    def keep(self, knocks: Knocks) -> None:
        self._waiting.append((time.monotonic() + LATE_S, knocks))

    def answered(self) -> bool:
        """Whether one has been by now, which is told once."""
        for _, knocks in self._waiting:
            knocks.ready(select.select([], list(knocks.open), [], 0)[1])
        if any(knocks.answered for _, knocks in self._waiting):
            self.forget()
            return True
        now = time.monotonic()
        for end, knocks in self._waiting:
            if end <= now:
                knocks.close()
        self._waiting = [one for one in self._waiting if one[0] > now]
        return False

    def forget(self) -> None:
        for _, knocks in self._waiting:
            knocks.close()
        self._waiting = []


class Eye:
    """`libpq`: whom this host logs in as, and how. One server at a time is looked at."""

    def __init__(self, libpq: dict[str, str]) -> None:
        self._libpq = libpq
        self._late = Late()
        self._session: Session | None = None
        self._target: tuple[str, str, int] | None = None

    def look(self, host: str, address: str, port: int, ssh: int, within: float) -> Seen:
        """One look, of `within` seconds at most."""
        session = self._of(host, address, port)
        began, knocks, again = time.monotonic(), None, True
        try:
            session.ask()
            while True:
                left = began + within - time.monotonic()
                if knocks is None and left <= within * (1 - KNOCK_AFTER):
                    knocks = Knocks(address, (port, ssh))
                _wait(session, knocks, left if knocks else left - within * (1 - KNOCK_AFTER))
                answer = session.step()
                if answer is not None:
                    self._late.forget()  # what was knocked before it served says nothing of a loss after that
                    return ("standby" if answer else "serves"), ""
                if knocks and knocks.told.get(port) == "refused":
                    return "down", _CLOSED
                if left <= 0:
                    seen = _without_answer(knocks.told if knocks else {}, port, ssh, within)
                    if seen[0] != "silent":
                        return seen
                    late = self._late.answered()
                    if knocks:
                        self._late.keep(knocks)
                        knocks = None
                    return ("alive", "its host answers late") if late else seen
                if session.broken and again:  # once: what breaks at once would be tried without end
                    again = False
                    session.ask()
        except Said as words:
            return ("down", _CLOSED) if words.refused else ("alive", str(words))
        finally:
            if knocks:
                knocks.close()

    def _of(self, host: str, address: str, port: int) -> Session:
        if self._session is None or self._target != (host, address, port):
            if self._session:
                self._session.close()
            self._late.forget()
            self._session, self._target = Session(host, address, port, self._libpq), (host, address, port)
        return self._session


def _without_answer(told: dict[int, str], port: int, ssh: int, within: float) -> Seen:
    if told.get(port) == "open":
        return "alive", f"it takes connections and answers none within {within:g} s"
    if told.get(ssh) in ("open", "refused"):
        return "alive", f"its host answers and its port {port} does not"
    return "silent", ""


def _wait(session: Session, knocks: Knocks | None, seconds: float) -> None:
    """Until something is to be read, or for so long; who wakes up late looks once more."""
    reads: list[Any] = []
    writes: list[Any] = list(knocks.open) if knocks else []
    if session.fileno() >= 0:
        (writes if session.writes else reads).append(session)
    _, ready, _ = select.select(reads, writes, [], max(seconds, 0))
    if knocks:
        knocks.ready([one for one in ready if one is not session])


def asked(descriptor: int) -> Iterator[dict[str, Any]]:
    """The questions, until there are no more."""
    waiting = b""
    while select.select([descriptor], [], [], FORSAKEN_S)[0]:
        read = os.read(descriptor, 65536)
        if not read:
            return
        *lines, waiting = (waiting + read).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())


def login(config: Path | None) -> dict[str, str]:
    """As whom this host asks: the application's own role, or the monitor of a database host."""
    if config:
        found = load_config(config)
        return {"dbname": found.dbname, "user": found.user, **found.libpq}
    return {
        "dbname": "postgres", "user": "monitor", "sslmode": "verify-full", "sslrootcert": _CA, "passfile": _PASSFILE,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.watch.eye", description="Say what is seen of a server.")
    parser.add_argument("--config", type=Path)
    eye = Eye(login(parser.parse_args(arguments).config))
    for question in asked(sys.stdin.fileno()):
        number = question.pop("n")
        seen, why = eye.look(**question)
        print(json.dumps({"n": number, "seen": seen, "why": why}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
