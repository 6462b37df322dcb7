"""Sessions through taosAdapter, against its documented protocol; no such server is among the packages of the tests."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from agents.tdengine.rest import Connection, RestError, nanoseconds

PASSWORD = "geheim-genug"


class Adapter(BaseHTTPRequestHandler):
    """Answers as the manual says; `asked` keeps (path, statement)."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).asked.append((self.path, sql))
        known = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {known}":
            return self.say(401, {"code": 855, "desc": "Authentication failure"})
        if "server_version" in sql:
            return self.say(200, {"code": 0, "column_meta": [["v", "VARCHAR", 8]], "data": [["3.3.7.5"]], "rows": 1})
        if sql.startswith("INSERT"):
            meta = [["affected_rows", "INT", 4]]
            return self.say(200, {"code": 0, "column_meta": meta, "data": [[2]], "rows": 1})
        if sql.startswith("SELECT"):
            meta = [["ts", "TIMESTAMP", 8], ["symbol", "VARCHAR", 20]]
            data = [["2023-11-14T22:13:20.000000001Z", "贵州'茅台"], [None, None]]
            return self.say(200, {"code": 0, "column_meta": meta, "data": data, "rows": 2})
        return self.say(200, {"code": 9728, "desc": "syntax error near 'x'"})

    def say(self, status: int, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Adapter)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_rows_come_with_instants_as_nanoseconds_and_texts_as_they_are(port: int) -> None:
    session = Connection("127.0.0.1", "root", PASSWORD, "market_data", port)
    assert session.server_info == "3.3.7.5"
    result = session.query("SELECT ts, symbol FROM tick_data")
    assert [field["name"] for field in result.fields] == ["ts", "symbol"]
    assert result.fetch_all() == [(1_700_000_000_000_000_001, "贵州'茅台"), (None, None)]
    assert Adapter.asked[-1][0] == "/rest/sql/market_data"


def test_affected_rows_are_counted(port: int) -> None:
    session = Connection("127.0.0.1", "root", PASSWORD, port=port)
    assert session.execute("INSERT INTO t VALUES (1, 2) (3, 4)") == 2
    assert session.query("INSERT INTO t VALUES (1, 2)").field_count == 0


def test_refusals_carry_the_servers_code(port: int) -> None:
    with pytest.raises(RestError, match="Authentication failure") as wrong:
        Connection("127.0.0.1", "root", "another", port=port)
    assert wrong.value.errno == 0x0357
    session = Connection("127.0.0.1", "root", PASSWORD, port=port)
    with pytest.raises(RestError, match="syntax error") as bad:
        session.query("x")
    assert bad.value.errno == 0x2600


def test_nobody_there_is_an_error_of_its_own() -> None:
    with pytest.raises(RestError, match="does not answer"):
        Connection("127.0.0.1", "root", PASSWORD, port=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0), ("1970-01-01T08:00:00.5+08:00", 500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1), ("1970-01-01 00:00:01.000", 1_000_000_000),
    ],
)  # fmt: skip
def test_instants_are_read_to_the_nanosecond_in_any_zone(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected
