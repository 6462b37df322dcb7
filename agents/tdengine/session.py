"""TDengine through taospy: one session, errors as one sentence, timestamps as nanoseconds.

Settings in /etc/mystocks-dr/tdengine.json:

    {"nodes": [{"name": "tsdb1", "port": 6030}, ...], "database": "market_data", "user": "writer",
     "passfile": "/etc/mystocks-dr/tdengine.pass", "rest": false}

The native client (port 6030) is used wherever the package's library fits the host; with "rest", which a deploy writes
where it does not, the server's taosAdapter (6041) is asked.

    python3 -m agents.tdengine.session --config FILE [--database NAME]  statements on standard input, one a line; prints
                                                                    one JSON list of rows for each
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, BadConfig, run
from agents.tdengine import rest as tdengine_rest

CONNECTOR = Path("/opt/mystocks-dr/connector")
CLIENT_CONFIG = Path("/etc/mystocks-dr/taos")  # a client too writes a log, and refuses to start without one
DEFAULT = Path("/etc/mystocks-dr/tdengine.json")
_KNOCK_S = 1.0
OWN_DATABASE = "mystocks_dr"  # what the tool notes for itself; no row of anybody else's is in it
GONE = (0x2603, 0x0362, 0x0388, 0x2662)  # table, supertable or database does not exist
# The statement is none of this version and edition, or not for these types: it will not be after another try either.
ODD_STATEMENT = frozenset((0x0100, 0x0231, 0x0374, *range(0x2600, 0x2700), *range(0x2800, 0x2900))) - {0x2603, 0x2662}


class TdengineError(AgentError):
    """What the server, or the way to it, refused; `code` is TDengine's own, without its sign bit."""

    def __init__(self, sentence: str, hint: str, code: int = 0) -> None:
        super().__init__(sentence, hint)
        self.code = code


@dataclass(frozen=True)
class Settings:
    """Where the server is and who we are there. `nodes` are (name, port), tried in order."""

    nodes: tuple[tuple[str, int], ...]
    user: str
    passfile: Path
    database: str
    rest: bool = False


def load_settings(path: Path) -> Settings:
    """Read the settings. Raises BadConfig."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Settings(
            tuple((node["name"], int(node.get("port", 6030))) for node in raw["nodes"]),
            str(raw["user"]), Path(raw["passfile"]), str(raw["database"]), bool(raw.get("rest", False)),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{path} cannot be used: {error!r}.", "Deploy this host again.") from error


class Session:
    """One connection. `password` replaces the one of the settings' file."""

    def __init__(self, settings: Settings, database: str | None = None, password: str | None = None) -> None:
        secret = settings.passfile.read_text(encoding="utf-8").strip() if password is None else password
        self._connection = _connect(settings, secret, database)

    def query(self, sql: str) -> Any:
        """The connector's result of a statement, to be closed. Raises TdengineError."""
        try:
            return self._connection.query(sql)
        except Exception as error:
            raise _told(error, sql) from error

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; timestamps of nanosecond databases come as integers. Raises TdengineError."""
        try:
            result = self._connection.query(sql)
            try:
                return [] if result.field_count == 0 else [tuple(row) for row in result.fetch_all()]
            finally:
                result.close()
        except Exception as error:
            raise _told(error, sql) from error

    def names_and_rows(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names beside the rows."""
        try:
            result = self._connection.query(sql)
            try:
                names = [field["name"] for field in result.fields] if result.field_count else []
                return names, ([tuple(row) for row in result.fetch_all()] if names else [])
            finally:
                result.close()
        except Exception as error:
            raise _told(error, sql) from error

    def execute(self, sql: str) -> int:
        """Run one statement; the rows it affected. Raises TdengineError."""
        try:
            return int(self._connection.execute(sql))
        except Exception as error:
            raise _told(error, sql) from error

    @property
    def server(self) -> str:
        """The server's version, such as 3.3.7.5."""
        return str(self.rows("SELECT server_version()")[0][0])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(settings: Settings, password: str, database: str | None) -> Any:
    if str(CONNECTOR) not in sys.path:
        sys.path.insert(0, str(CONNECTOR))
    module = None if settings.rest else __import__("taos")
    last: Exception | None = None
    for name, port in _listening_first(settings):
        try:
            if module is None:
                return tdengine_rest.Connection(name, settings.user, password, database or "")
            return _natively(
                module, host=name, port=port, user=settings.user, password=password, database=database or "",
                config=str(CLIENT_CONFIG),
            )
        except Exception as error:
            last = error
    names = ", ".join(name for name, _ in settings.nodes)
    assert last is not None, "settings name at least one node"
    told = _told(last, "connect")
    raise TdengineError(f"TDengine at {names} lets {settings.user} not in: {told}", told.hint, told.code) from last


def _listening_first(settings: Settings) -> list[tuple[str, int]]:
    """The client library tries a host that is gone for minutes: of several nodes, those that listen are asked first."""
    if len(settings.nodes) < 2 or settings.rest:
        return list(settings.nodes)
    return sorted(settings.nodes, key=lambda node: not _listens(node))


def _listens(node: tuple[str, int]) -> bool:
    try:
        socket.create_connection(node, _KNOCK_S).close()
    except OSError:
        return False
    return True


def _natively(module: Any, **words: Any) -> Any:
    """The client library sets this process's umask to 0, and all that it writes later would be open to everybody."""
    before = os.umask(0o077)
    try:
        return module.connect(**words)
    finally:
        os.umask(before)


def _told(error: Exception, sql: str) -> TdengineError:
    if isinstance(error, TdengineError):
        return error
    code = int(getattr(error, "errno", 0) or 0) & 0xFFFF
    said = str(getattr(error, "msg", "") or error).strip()
    short = " ".join(sql.split())[:90]
    return TdengineError(f"{said} (0x{code:04x}) at `{short}`", "Look at the server's log in /var/log/taos.", code)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.session", description="Run statements on TDengine.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--database")
    options = parser.parse_args(arguments)
    with Session(load_settings(options.config), options.database) as session:
        for line in filter(None, map(str.strip, sys.stdin)):
            names, rows = session.names_and_rows(line)
            print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
