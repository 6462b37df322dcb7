"""TDengine over HTTP, through the server's taosAdapter (6041): for a host that the package's client library is not for.

The same few calls as taospy's connection. One statement is one request, and a session is no more than its password.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PORT = 6041
TIMEOUT_S = 30.0
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")


class RestError(Exception):
    """What the server, or the way to it, refused, in the shape of taospy's errors."""

    def __init__(self, msg: str, errno: int = 0) -> None:
        super().__init__(msg)
        self.msg = msg
        self.errno = errno


@dataclass(frozen=True)
class Result:
    """Rows with the names of their columns; `field_count` 0 for a statement that returns none."""

    fields: list[dict[str, str]]
    rows: list[tuple[Any, ...]]
    affected: int

    @property
    def field_count(self) -> int:
        return len(self.fields)

    def fetch_all(self) -> list[tuple[Any, ...]]:
        return self.rows

    def close(self) -> None:
        """Nothing is held."""


class Connection:
    """Statements on one server; opening it asks for the server's version, so that a wrong password is found at once."""

    def __init__(self, host: str, user: str, password: str, database: str = "", port: int = PORT) -> None:
        self._url = f"http://{host}:{port}/rest/sql{f'/{database}' if database else ''}"
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "text/plain; charset=utf-8"}
        self.server_info = str(self.query("SELECT server_version()").rows[0][0])

    def query(self, sql: str) -> Result:
        """Raises RestError."""
        request = urllib.request.Request(self._url, sql.encode(), self._headers)  # noqa: S310 - http:// stands above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise _refused(error.read(), error) from error
        except (OSError, ValueError) as error:
            raise RestError(f"taosAdapter at {self._url} does not answer: {error}", 0x000B) from error
        if said.get("code"):
            raise RestError(str(said.get("desc")), int(said["code"]))
        return _result(said)

    def execute(self, sql: str) -> int:
        return self.query(sql).affected

    def close(self) -> None:
        """Nothing is held."""


def _refused(body: bytes, error: Exception) -> RestError:
    try:
        said = json.loads(body)
        return RestError(str(said["desc"]), int(said["code"]))
    except (ValueError, KeyError, TypeError):
        return RestError(str(error))


def _result(said: dict[str, Any]) -> Result:
    meta, data = said.get("column_meta") or [], said.get("data") or []
    if [column[0] for column in meta] == ["affected_rows"]:
        return Result([], [], int(data[0][0]))
    instants = [at for at, column in enumerate(meta) if column[1] == "TIMESTAMP"]
    rows = []
    for row in data:
        values = list(row)
        for at in instants:
            values[at] = nanoseconds(values[at])
        rows.append(tuple(values))
    return Result([{"name": column[0], "type": column[1]} for column in meta], rows, int(said.get("rows") or 0))


def nanoseconds(text: str | None) -> int | None:
    """An instant as taosAdapter writes it, in whatever zone, as nanoseconds since 1970."""
    if text is None:
        return None
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise RestError(f"taosAdapter wrote an instant as {text!r}")
    zone = "+00:00" if found[4] in ("Z", None) else found[4]
    seconds = int(datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").timestamp())
    return seconds * 1_000_000_000 + int((found[3] or "").ljust(9, "0"))
