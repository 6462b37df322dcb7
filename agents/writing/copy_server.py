"""Keep second copies of other hosts' outbox records: a service of the backup host.

    python3 -m agents.writing.copy_server --config /etc/mystocks-dr/copies.json

copies.json: {"folder": ..., "port": 8433, "ca": ..., "certificate": ..., "key": ..., "clients": ["app1"],
"max_bytes": ...}. A client is who its certificate says; each has a file of its own for each store. A copy is on the
disk when its number is told.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import socketserver
import sqlite3
import ssl
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, BadConfig, run
from agents.base.files import sync_folder
from agents.writing.copies import receive, send

DEFAULT = Path("/etc/mystocks-dr/copies.json")
YOUNG_S = 60.0  # whoever sent it may not have it in its own file yet
IDLE_S = 600.0
ANSWER_BYTES = 16 << 20  # of records in one answer, which holds at least one: a large message is refused
_STORE = re.compile(r"[a-z]{1,20}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS copies (no INTEGER PRIMARY KEY AUTOINCREMENT, mark TEXT NOT NULL, kept_at REAL NOT NULL,
    size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS copies_of ON copies (mark, no);
"""


@dataclass(frozen=True)
class ServerSettings:
    folder: Path
    port: int
    ca: str
    certificate: str
    key: str
    clients: tuple[str, ...]
    max_bytes: int


def load(path: Path) -> ServerSettings:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return ServerSettings(
            Path(raw["folder"]), int(raw["port"]), raw["ca"], raw["certificate"], raw["key"], tuple(raw["clients"]),
            int(raw["max_bytes"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{path} cannot be used: {error!r}.", "Deploy this host again.") from error


class Shelf:
    """The copies of one client's outbox of one store; one connection, for one thread."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        new = not path.exists()
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        if new:
            sync_folder(path.parent)

    def close(self) -> None:
        self._db.close()

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked for is done. Raises KeyError, TypeError, ValueError, sqlite3.Error, AgentError."""
        deeds: Mapping[str, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
            "keep": self._keep, "forget": self._forget, "count": self._count, "left": self._left, "mine": self._mine,
        }  # fmt: skip
        return deeds[asked["do"]](str(asked["mark"]), asked)

    def _keep(self, mark: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        body = zlib.compress(json.dumps(asked["body"], ensure_ascii=False).encode(), 1)
        if self._bytes() + len(body) > self._max_bytes:
            raise AgentError("its room for copies is full")
        number = self._db.execute(
            "INSERT INTO copies (mark, kept_at, size, body) VALUES (?, ?, ?, ?)", (mark, time.time(), len(body), body)
        ).lastrowid
        return {"no": number}

    def _bytes(self) -> int:
        pages, free, size = (int(self._one(f"PRAGMA {name}")) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _forget(self, mark: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        now = time.time()
        gone = self._db.execute(
            # A stamp ahead of now is of a clock that was wrong.
            "DELETE FROM copies WHERE mark = ? AND no < ? AND (kept_at < ? OR kept_at > ?)",
            (mark, int(asked["below"]), now - YOUNG_S, now + YOUNG_S),
        ).rowcount
        return {"gone": gone}

    def _count(self, mark: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"others": self._one("SELECT count(*) FROM copies WHERE mark <> ?", mark)}

    def _left(self, mark: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        size = 0
        rows = self._db.execute(
            "SELECT no, body FROM copies WHERE mark <> ? AND no > ? ORDER BY no LIMIT ?",
            (mark, int(asked["after"]), min(int(asked["most"]), 100)),
        )
        with closing(rows):
            for no, packed in rows:
                body = zlib.decompress(packed)
                size += len(body)
                if found and size > ANSWER_BYTES:
                    break
                found.append({"no": no, "body": json.loads(body)})
        return {"copies": found}

    def _mine(self, mark: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._db.execute("BEGIN IMMEDIATE")
        for number in asked["numbers"]:
            self._db.execute("UPDATE copies SET mark = ? WHERE no = ?", (mark, int(number)))
        self._db.execute("COMMIT")
        return {}

    def _one(self, query: str, *values: object) -> Any:
        return self._db.execute(query, values).fetchone()[0]


class _Client(socketserver.BaseRequestHandler):
    """One connection, until it ends."""

    server: Server

    def handle(self) -> None:
        settings = self.server.settings
        try:
            connection = _context(settings).wrap_socket(self.request, server_side=True)
        except OSError as error:
            return _log(f"{self.client_address[0]}: {error}")
        with closing(connection):
            connection.settimeout(IDLE_S)
            name = _name_of(connection)
            if name not in settings.clients:
                return _log(f"{self.client_address[0]}: {name} is no client of ours")
            shelves: dict[str, Shelf] = {}
            try:
                while (asked := receive(connection)) is not None:
                    send(connection, self._answer(name, asked, shelves))
            except (OSError, ValueError, zlib.error) as error:
                _log(f"{name}: {error}")
            finally:
                for shelf in shelves.values():
                    shelf.close()
        return None

    def _answer(self, name: str, asked: Mapping[str, Any], shelves: dict[str, Shelf]) -> dict[str, Any]:
        store = str(asked.get("store", ""))
        if not _STORE.fullmatch(store):
            return {"error": "it was asked for a store that is none"}
        try:
            if store not in shelves:
                settings = self.server.settings
                shelves[store] = Shelf(settings.folder / f"{name}-{store}.db", settings.max_bytes)
            return shelves[store].answer(asked)
        except (AgentError, KeyError, TypeError, ValueError, sqlite3.Error) as error:
            _log(f"{name}: {error!r}")
            return {"error": str(error) if isinstance(error, AgentError) else repr(error)}


class Server(socketserver.ThreadingTCPServer):
    """Listens on every address; who may talk is a matter of certificates."""

    allow_reuse_address = True
    daemon_threads = True
    address_family = socket.AF_INET6

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        _context(settings)  # what cannot be read is told at the start
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        super().__init__(("::", settings.port), _Client)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().server_bind()


def _context(settings: ServerSettings) -> ssl.SSLContext:
    """Read anew for each connection: a certificate that was renewed is shown from then on."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(settings.certificate, settings.key)
    return context


def _name_of(connection: ssl.SSLSocket) -> str:
    subject: Any = (connection.getpeercert() or {}).get("subject", ())
    return next((str(value) for part in subject for key, value in part if key == "commonName"), "nobody")


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.copy_server", description="Keep copies of outbox records.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    options = parser.parse_args(arguments)
    with Server(load(options.config)) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
