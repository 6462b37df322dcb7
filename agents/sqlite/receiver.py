"""Keep changes and snapshots of other hosts' SQLite databases: a service of the backup host.

    python3 -m agents.sqlite.receiver --config /etc/mystocks-dr/sqlite-receiver.json

{"folder": ..., "port": 8434, "ca": ..., "certificate": ..., "key": ..., "clients": ["app1"], "max_bytes": ...,
"retention": {"full_copies": 2, "days": 28, "every_days": 2}}. A client is who its certificate says; each database of
each has a shelf of its own. Without retention nothing expires. The key is never here: what is kept is locked.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import socketserver
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

from agents.base.errors import AgentError, BadConfig, run
from agents.sqlite import wire
from agents.sqlite.elsewhere import Elsewhere
from agents.sqlite.expire import Law
from agents.sqlite.shelf import Shelf
from agents.writing.copy_server import Server as CopyServer
from agents.writing.copy_server import ServerSettings, _context, _name_of, load

DEFAULT = Path("/etc/mystocks-dr/sqlite-receiver.json")
IDLE_S = 3600.0
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class _Client(socketserver.BaseRequestHandler):
    """One connection, until it ends."""

    server: Server

    def handle(self) -> None:
        try:
            connection = _context(self.server.settings).wrap_socket(self.request, server_side=True)
        except OSError as error:
            return _log(f"{self.client_address[0]}: {error}")
        with closing(connection):
            connection.settimeout(IDLE_S)
            name = _name_of(connection)
            if name not in self.server.settings.clients:
                return _log(f"{self.client_address[0]}: {name} is no client of ours")
            try:
                while (asked := wire.receive(connection)) is not None:
                    wire.send(connection, *self._answer(name, *asked))
            except (OSError, ValueError) as error:
                _log(f"{name}: {error}")
        return None

    def _answer(self, name: str, said: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            database = str(said.get("database", ""))
            shelf = self.server.shelf(name, database)
            if said.get("do") == "offsite":
                return self.server.elsewhere.has(f"{name}-{database}"), b""
            return shelf.answer(said, data)
        except (AgentError, OSError, KeyError, TypeError, ValueError) as error:
            _log(f"{name}: {said.get('do')}: {error!r}")
            return {"error": str(error).rstrip(".") if isinstance(error, AgentError | OSError) else repr(error)}, b""


class Server(CopyServer):
    """As that of second copies: who may talk is a matter of certificates."""

    def __init__(self, settings: ServerSettings, law: Law | None = None) -> None:
        self._law = law
        self._shelves: dict[str, Shelf] = {}
        self.elsewhere = Elsewhere()
        self._lock = Lock()
        super().__init__(settings)
        self.RequestHandlerClass = _Client
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def shelf(self, client: str, database: str) -> Shelf:
        """The one of this database, for all connections. Raises ValueError for a name that is none."""
        if not _NAME.fullmatch(database):
            raise ValueError(f"{database!r} is no database's name")
        with self._lock:
            name = f"{client}-{database}"
            if name not in self._shelves:
                self._shelves[name] = Shelf(self.settings.folder / name, self.settings.max_bytes, self._law)
            return self._shelves[name]


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def law(path: Path) -> Law | None:
    """Of the same file. Raises BadConfig."""
    try:
        said = json.loads(path.read_text(encoding="utf-8")).get("retention")
        return None if said is None else Law(**{name: int(value) for name, value in said.items()})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadConfig(f"{path} has no retention that could be used: {error!r}.", "Deploy this host again.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.sqlite.receiver", description="Keep SQLite's changes and snapshots.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    options = parser.parse_args(arguments)
    with Server(load(options.config), law(options.config)) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
