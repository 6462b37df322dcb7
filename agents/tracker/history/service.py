"""The tracker's history over HTTP: GET on the seed's paths, JSON, nothing else.

    python3 -m agents.tracker.history.service [--config FILE] [--listen 127.0.0.1] [--port 8435]

    {"rows": [...], "more": false, "source": "pg1 (primary, timeline 3)"}     400, 404, 405, 503: {"error", "hint"}

`more`: there are more rows than the limit. Numbers are as exact as the database has them. It has no accounts: whoever
reaches the port may read.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2

from agents.base.config import load_config
from agents.base.errors import BadConfig, run
from agents.tracker.batches import DEFAULT
from agents.tracker.history.questions import Wrong, question
from agents.tracker.history.sessions import NobodyAnswers, Readers

PORT = 8435
IDLE_S = 30.0  # a client that says nothing for so long is let go


class Handler(BaseHTTPRequestHandler):
    """One connection; `server` is a Service."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mystocks-tracker", ""
    timeout = IDLE_S
    server: Service

    def do_GET(self) -> None:
        status, body = self._answer()
        text = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_HEAD = do_GET

    def _answer(self) -> tuple[int, str]:
        try:
            asked = question(self.path)
            found = self.server.readers.ask(asked.sql, asked.values, asked.limit)
        except Wrong as why:
            return why.status, _told(str(why), why.hint)
        except NobodyAnswers as why:
            return 503, _told(str(why), why.hint)
        except psycopg2.Error as error:
            first = (str(error).strip().splitlines() or ["it said nothing"])[0]
            return 503, _told(f"The server refused: {first}.", "./dr tracker-migrate shows its revision.")
        more, source = "true" if found.more else "false", json.dumps(found.source)
        return 200, f'{{"rows": {found.json}, "more": {more}, "source": {source}}}'

    def _refused(self) -> None:
        self.close_connection = True
        text = _told("History is read only.", "Ask with GET.").encode()
        self.send_response(405)
        self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT = do_PATCH = do_DELETE = _refused

    def log_message(self, *_: Any) -> None:
        """Nothing: who reads what is not written down."""


def _told(sentence: str, hint: str) -> str:
    return json.dumps({"error": sentence, "hint": hint}, ensure_ascii=False)


class Service(ThreadingHTTPServer):
    """Raises BadConfig where it cannot listen there."""

    daemon_threads = True

    def __init__(self, readers: Readers, listen: str = "127.0.0.1", port: int = PORT) -> None:
        self.readers = readers
        try:
            super().__init__((listen, port), Handler)
        except OSError as error:
            raise BadConfig(f"{listen}:{port} cannot be listened on: {error.strerror}.", "Choose another.") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no trouble of ours; anything else is."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tracker.history.service", description="Serve the tracker's history.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    service = Service(Readers(load_config(options.config)), options.listen, options.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # From another thread: shutdown waits for the loop that this signal interrupts.
        signal.signal(number, lambda *_: threading.Thread(target=service.shutdown).start())
    print(json.dumps({"listens": service.server_address[1]}), flush=True)
    try:
        service.serve_forever(poll_interval=0.2)
    finally:
        service.server_close()
        service.readers.close()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
