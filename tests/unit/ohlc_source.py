"""A REST source of daily bars on loopback, as SSI's is described, which can be told to be busy, away, or to lie."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Page = dict[str, Any]


def bar(symbol: str, day: date) -> Page:
    n = day.toordinal() % 100
    return {
        "Symbol": symbol, "Market": "HOSE", "TradingDate": f"{day:%d/%m/%Y}", "Time": None, "Open": f"{50 + n}",
        "High": f"{52 + n}.5", "Low": f"{49 + n}", "Close": f"{51 + n}.25", "Volume": f"{1000 * n}", "Value": "0",
    }  # fmt: skip


@dataclass
class Says:
    """`lies` may change each page before it is sent; `answers` are statuses that come first; `asked` every query."""

    lies: Callable[[Page, dict[str, Any]], Any] = lambda page, _: page
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    url: str = ""
    cut: int = 0  # so many connections are closed without a word
    raw: bytes | None = None  # what is sent in place of JSON

    def page(self, query: dict[str, Any]) -> Page:
        days = [
            query["first"] + timedelta(n) for n in range((query["last"] - query["first"]).days + 1)
            if (query["first"] + timedelta(n)).weekday() < 5
        ]  # fmt: skip
        at = (query["page"] - 1) * query["size"]
        rows = [bar(query["symbol"], day) for day in days[at : at + query["size"]]]
        return {"message": "Success", "status": "Success", "totalRecord": len(days), "data": rows}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        says: Says = self.server.says  # type: ignore[attr-defined]
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        read = {
            "symbol": query["symbol"], "first": _day(query["fromDate"]), "last": _day(query["toDate"]),
            "page": int(query["pageIndex"]), "size": int(query["pageSize"]),
        }  # fmt: skip
        says.asked.append(read)
        if says.cut:
            says.cut -= 1
            self.close_connection = True
            return
        if says.token and self.headers.get("Authorization") != f"Bearer {says.token}":
            self._send(401, {}, b"{}")
        elif says.answers:
            status, headers = says.answers.pop(0)
            self._send(status, headers, b"{}")
        else:
            page = says.lies(says.page(read), read)
            self._send(200, {}, says.raw if says.raw is not None else json.dumps(page).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Tests have output enough."""


def _day(text: str) -> date:
    return datetime.strptime(text, "%d/%m/%Y").date()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has heard enough hangs up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def source() -> Iterator[Says]:
    server = _Server(("127.0.0.1", 0), _Handler)
    says = Says()
    server.says = says  # type: ignore[attr-defined]
    says.url = f"http://127.0.0.1:{server.server_address[1]}/api/v2/Market/DailyOhlc"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield says
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
