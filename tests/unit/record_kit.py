"""An estate whose hosts are folders: the record's own program runs on them, only SSH is not there."""

from __future__ import annotations

import contextlib
import io
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.guard import record
from inventories.errors import Unreachable
from inventories.inventory import HostEntry
from runbooks.engine.lock import Owner, this_process
from runbooks.hosts import Estate, Host, Ran
from runbooks.record import arbiter
from runbooks.record.keep import COPYING, Keeper
from runbooks.record.read import pages
from runbooks.record.types import ABSENT, Answer, Mode, Record

SYSTEM = "7712820265723870263"
_ONE_AT_A_TIME = threading.Lock()  # standard output is the process's, not the thread's
NAMES = ("pg1", "pg2", "backup1")
ESTATE = Estate(
    "toy", "toy", tuple(Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere")) for name in NAMES),
    {"pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",)}, {"postgres_version": 17},
)  # fmt: skip


def a_record(**changes: Any) -> Record:
    return Record.model_validate({
        "revision": 1, "system_identifier": SYSTEM, "epoch": 1, "primary": "pg1", "timeline": 1,
        "mode": Mode.SYNCHRONOUS, "synchronous": ("pg2",), "since": "2026-01-01T00:00:00+00:00", "why": "deployed",
        **changes,
    })  # fmt: skip


@dataclass
class Desk:
    """Folders by host, which of them are away, what was said."""

    root: Path
    away: set[str] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def document(self, name: str) -> Path:
        return self.folder(name) / record.NAME

    def reachable(self, host: Host, *_: object) -> bool:
        return host.name not in self.away

    def run(self, host: Host, command: str, *args: object, stdin: str | None = None, **_: object) -> Ran:
        if host.name in self.away:
            raise Unreachable(f"{host.name} cannot be reached over SSH")
        if command == arbiter._READ:
            there = self.document(host.name)
            return Ran(0, there.read_text() if there.exists() else ABSENT, "", 0.0)
        if command != arbiter._CALL:
            return Ran(0, "", "", 0.0)
        self.calls.append((host.name, str(args[0])))
        out, err = io.StringIO(), io.StringIO()
        with _ONE_AT_A_TIME, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = record.main(shlex.split(str(args[0])), stdin or "", self.folder(host.name))
        return Ran(code, out.getvalue(), err.getvalue(), 0.0)

    def owner(self, run: str = "20260101T000000Z-failover", **changes: Any) -> Owner:
        return this_process("failover", Path("/runs") / run, resumes=False).model_copy(update=changes)

    def keeper(self, owner: Owner | None = None, **word: bool) -> Keeper:
        return Keeper(ESTATE, owner or self.owner(), self.heard.append, **word)

    @property
    def answer(self) -> Answer:
        return pages(ESTATE).answer

    def copied(self) -> None:
        """Wait for copies that a run in a hurry left on their way."""
        for thread in threading.enumerate():
            if thread.name == COPYING:
                thread.join()

    def write(self, name: str, kept: Record) -> None:
        """As if it had been written there before."""
        request: dict[str, Any] = {"record": kept.model_dump(mode="json")}
        record.copy(self.folder(name), request)

    def everywhere(self, kept: Record) -> None:
        for name in NAMES:
            self.write(name, kept)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path / "hosts")
    made.root.mkdir()
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(Host, "reachable", lambda host, *words: made.reachable(host, *words))
    monkeypatch.setattr(Host, "begin", lambda *_, **__: None)
    monkeypatch.setattr(Host, "run", lambda host, command, *args, **more: made.run(host, command, *args, **more))
    yield made
    made.copied()
