"""A desk of alarms with real channels: a mail server and a webhook of this machine, both of which can be out."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from inventories.catalog.alarms import Alarms
from inventories.catalog.channels import Routes, routes
from inventories.catalog.load import load_alarms
from runbooks.alarms import moving
from runbooks.alarms.evaluating import Seen, evaluate
from runbooks.alarms.moving import Desk
from runbooks.alarms.sending import Sender
from runbooks.alarms.spool import Spool
from runbooks.figures.kinds import Reading, Sample, together
from runbooks.figures.names import FIGURES

NOON = 1_789_964_000.0  # 2026-09-21 04:13 UTC, past noon in Shanghai
PEOPLE = {"operators": ["mail", "hook"], "lead": ["pager"]}
FAST = {"try_s": 1.0, "first_s": 0.05, "most_s": 0.2}


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Mailbox:
    """A mail server. `refuses`: the answer to every mail, empty where it takes them."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, free_port(host)
        self.refuses, self.mails = "", list[tuple[str, str]]()
        self._controller: Controller | None = None

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        if self.refuses:
            return self.refuses
        mail = message_from_bytes(envelope.content)
        part = next(one for one in mail.walk() if one.get_content_maintype() == "text")
        body = part.get_payload(decode=True).decode()
        self.mails.append((str(make_header(decode_header(mail["Subject"]))), body))
        return "250 taken"

    def start(self) -> None:
        self._controller = Controller(self, hostname=self.host, port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller:
            self._controller.stop()
            self._controller = None

    @property
    def url(self) -> str:
        return f"mailto://{self.host}:{self.port}?from=dr@example.org&to=ops@example.org&mode=insecure"


@dataclass
class Hook:
    """A webhook. `status` is what it answers, after `hangs_s`."""

    host: str = "127.0.0.1"
    port: int = 0
    status: int = 200
    hangs_s: float = 0.0
    got: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    _server: ThreadingHTTPServer | None = None

    def __post_init__(self) -> None:
        self.port = self.port or free_port(self.host)

    def start(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.asked += 1
                time.sleep(hook.hangs_s)
                if hook.hangs_s:
                    return  # whoever waited so long is gone
                if hook.status == 200:
                    hook.got.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing of it on standard error."""

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"json://{self.host}:{self.port}/dr"

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.got]


@dataclass
class Ground:
    """What a test has: a desk, and what its channels lead to."""

    folder: Path
    desk: Desk
    mailbox: Mailbox
    hook: Hook
    said: list[str] = field(default_factory=list)

    @property
    def spool(self) -> Spool:
        return self.desk.spool

    @property
    def paged(self) -> str:
        file = self.folder / "paged"
        return file.read_text() if file.exists() else ""

    def see(self, *samples: Sample, at: float = NOON, blind: Sequence[tuple[str, Mapping[str, str]]] = ()) -> Seen:
        """One look, in which every figure was asked for."""
        seen = evaluate(self.desk.alarms, Reading(at, samples, frozenset(FIGURES), tuple(blind)))
        moving.take(self.desk, seen)
        return seen

    def read(self, *readings: Reading, at: float = NOON) -> Seen:
        seen = evaluate(self.desk.alarms, together(at, readings))
        moving.take(self.desk, seen)
        return seen

    def send(self, at: float = NOON) -> None:
        """Try everything that is due at `at` once on every channel, and wait for it."""
        sender = Sender(self.spool.path, self.desk.alarms.sending, self.desk.routes, self.said.append, lambda: at)
        sender.start()
        assert sender.wait(30), "a channel hangs"

    def rows(self, what: str = "alarm") -> list[dict[str, Any]]:
        return [dict(row) for row in self.spool.rows(f"select * from {what} order by rowid")]

    @property
    def waiting(self) -> int:
        return int(self.spool.value("select count(*) from message where sent_at is null"))


def ways(folder: Path, mailbox: Mailbox, hook: Hook) -> Routes:
    pager = ["sh", "-c", f"cat >> {folder}/paged"]
    data = {"alarm_channels": {"mail": mailbox.url, "hook": hook.url, "pager": pager}, "alarm_people": PEOPLE}
    return routes(data, load_alarms().recipients)


@contextmanager
def ground(folder: Path, **changes: Any) -> Iterator[Ground]:
    """With the catalogue's rules, and channels that are tried again at once; `changes` to alarms.yaml."""
    mailbox, hook = Mailbox(), Hook()
    mailbox.start()
    hook.start()
    try:
        desk = Desk("lab-lab", Spool(folder / "alarms.db"), rules(**changes), ways(folder, mailbox, hook))
        yield Ground(folder, desk, mailbox, hook)
    finally:
        mailbox.stop()
        hook.stop()


def rules(**changes: Any) -> Alarms:
    known = load_alarms().model_dump(mode="json", by_alias=True, exclude_none=True)
    return Alarms.model_validate({**known, "sending": FAST, **changes})


def finding(part: str = "writes", objective: str = "hosts that take writes", says: str = "") -> Sample:
    told = says or f"{objective}: none, promised one"
    return Sample("finding", 1, {"part": part, "objective": objective}, told, "./dr failover")
