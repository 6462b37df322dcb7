"""The page over HTTP, on loopback alone: / is the page, /events what changes (server-sent events)."""

from __future__ import annotations

import errno
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from drills.live.hub import LOOKS_EVERY_S, Hub
from inventories.errors import BadInput

LOOPBACK = "127.0.0.1"
PORT = 8850
# Of whoever forwards the port, too. Under another name a foreign page may have led the browser here.
_NAMES = ("127.0.0.1", "localhost")
_ALIVE_EVERY_S = 15.0
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
_HEADERS = {
    "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
}  # fmt: skip


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    hub: Hub

    def __init__(self, port: int) -> None:
        """Raises BadInput for a port that cannot be had."""
        self.over = threading.Event()
        if not 0 <= port <= 65535:
            raise BadInput(f"{port} is no port", f"--port {PORT} is the default")
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise BadInput(f"port {port} cannot be had: {error.strerror}", "--port 0 takes a free one") from error

    def serve(self, hub: Hub) -> None:
        """Until it is interrupted."""
        self.hub = hub
        try:
            self.serve_forever()
        finally:
            self.over.set()
            self.server_close()

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle is no error."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "mystocks-dr", ""
    timeout = 30

    def do_GET(self) -> None:
        if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "Only loopback is served")
        elif self.path == "/":
            self._page()
        elif self.path == "/events":
            with suppress(OSError):  # whoever looked has gone
                self._events()
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "There is the page, and nothing else")

    def _page(self) -> None:
        body = self.server.hub.page.html.encode()
        self._begin("text/html; charset=utf-8", length=len(body))
        self.wfile.write(body)

    def _events(self) -> None:
        self._begin("text/event-stream")
        last: dict[str, str] = {}
        said = time.monotonic()
        while not self.server.over.is_set():
            for event, data in (("drill", self.server.hub.drill()), ("page", self.server.hub.page.at)):
                if last.get(event) != data:
                    last[event], said = data, time.monotonic()
                    self.wfile.write(f"event: {event}\ndata: {data}\n\n".encode())
            if time.monotonic() - said >= _ALIVE_EVERY_S:
                said = time.monotonic()
                self.wfile.write(b":\n\n")
            self.server.over.wait(LOOKS_EVERY_S)

    def _begin(self, kind: str, length: int | None = None) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads a line for each look."""
