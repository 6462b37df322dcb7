"""Protect one SQLite database of this host: every commit leaves it at once, snapshots follow by the hour.

    python3 -m agents.sqlite.protector --name trading

A service. Whoever writes asks it over a socket whether what was committed before is on the other host's disk; it says
so only when that is so (see agents/sqlite/protecting.py). While the receiver is away the log grows and is sent later;
beyond max_wal_bytes protection is given up, rather than the disk filled, until a new snapshot is there.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from agents.base.errors import AgentError, run
from agents.base.files import is_named
from agents.base.locks import held
from agents.sqlite import ground, session
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.database import TradingDatabase
from agents.sqlite.holding import Hold
from agents.sqlite.protecting import Protected
from agents.sqlite.seal import Seal
from agents.sqlite.settings import Database, Settings
from agents.sqlite.stream import Gap, Position, Stream
from agents.sqlite.wal import FRAME, Log
from agents.sqlite.wire import Away, Line, Refused

EVERY_S = 0.02  # so often it looks for commits that nobody asks about
RETRY_S = 0.5  # after the receiver was away, or a log could not begin anew
SNAPSHOT_RETRY_S = 10.0
_ANSWER_S = 1.0
_MOST_S = 15.0  # between two looks at a database that cannot be used


class Protector:
    """Of a database whose changes are streamed. One thread; `turn` again and again."""

    def __init__(self, settings: Settings, one: Database, config: Path) -> None:
        self._settings, self._one, self._config = settings, one, config
        with session.told(one.path):
            self._hold = Hold(one.path)
        self._file = one.path.stat()
        self._log = Log(one.path, self._hold.look)
        self._stream = Stream(one.name, self._log, Line(settings.there(), one.name), Seal(settings.secret()))
        self._selector = selectors.DefaultSelector()
        self._server = _listening(settings.socket(one.name))
        self._selector.register(self._server, selectors.EVENT_READ)
        self._asking: list[socket.socket] = []
        self._away = ""  # why nothing is protected now
        self._not_before = self._not_anew_before = self._no_snapshot_before = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    def turn(self) -> None:
        """Wait for a question or for a moment, send what is committed, answer. Raises AgentError where it must end."""
        self._listen(EVERY_S)
        if not is_named(self._file, self._one.path):
            raise AgentError(f"{self._one.path} was restored or removed.", "It is started anew.")
        position = self._sent()
        self._answer(position)
        if position is not None:
            self._snapshot()
        self._begin_anew(position)

    def _listen(self, seconds: float) -> None:
        """Take in who asks: what they committed before is in the log by now."""
        for key, _ in self._selector.select(seconds):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            if one is self._server:
                with suppress(OSError):
                    client, _ = self._server.accept()
                    client.settimeout(_ANSWER_S)
                    self._selector.register(client, selectors.EVENT_READ)
                continue
            try:
                asked = one.recv(64)
            except OSError:
                asked = b""
            if asked:
                self._asking.append(one)
            else:
                self._forget(one)

    def _forget(self, one: socket.socket) -> None:
        self._selector.unregister(one)
        one.close()
        if one in self._asking:
            self._asking.remove(one)

    def _sent(self) -> Position | None:
        """Where the receiver is, which has all that is committed; None while it has not."""
        if time.monotonic() < self._not_before and not self._asking:
            return None
        try:
            found = self._stream.send()
            self._away = ""
            return found
        except Gap as error:
            _log(str(error))
            with suppress(Away):
                self._stream.begin()
            self._away = str(error)
        except (Away, Refused) as error:
            if self._away != str(error):
                _log(str(error))
            self._away = str(error)
            self._not_before = time.monotonic() + RETRY_S
        return None

    def _answer(self, position: Position | None) -> None:
        if position is None:
            said: dict[str, object] = {"error": self._away or "the receiver is not reached"}
        else:
            where = position.epoch, position.salts.hex(), position.frame, position.tx
            said = asdict(Protected(position.stream, *where, position.at, self._stream.based))
        text = json.dumps(said).encode() + b"\n"
        for one in tuple(self._asking):
            try:
                one.sendall(text)
                self._asking.remove(one)
            except OSError:
                self._forget(one)

    def _snapshot(self) -> None:
        """Begin one when it is time, or when this stream has none yet; look whether the last one came to an end."""
        now = time.monotonic()
        if self._child is not None:
            if self._child.poll() is None:
                return
            if self._child.returncode:
                self._no_snapshot_before = now + SNAPSHOT_RETRY_S
            self._child = None
            try:
                self._stream.look()
            except Away:
                self._stream.position = None
        due = time.time() - self._stream.snapshot_at >= self._settings.snapshot_every_s
        if now >= self._no_snapshot_before and (due or not self._stream.based):
            self._child = begun(self._one.name, self._config)

    def _begin_anew(self, position: Position | None) -> None:
        """Keep the log from growing for ever."""
        head = self._log.head()
        size = head.frames * (FRAME + head.page)
        if size < self._settings.wal_bytes or time.monotonic() < self._not_anew_before:
            return
        self._not_anew_before = time.monotonic() + RETRY_S
        if position is not None:
            self._hold.copy_back()
            self._hold.begin_anew(self._all_sent)
        elif size > self._settings.max_wal_bytes:
            _log(f"{self._one.name} is not protected until a new snapshot: its log has {size >> 20} MiB.")
            self._hold.give_up()
            self._stream.forget()

    def _all_sent(self) -> bool:
        try:
            self._stream.send()
        except AgentError as error:
            _log(str(error))
            return False
        return True

    def close(self) -> None:
        if self._child is not None:
            self._child.terminate()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._settings.socket(self._one.name).unlink(missing_ok=True)
        self._hold.close()


def begun(name: str, config: Path) -> subprocess.Popen[bytes]:
    """A snapshot, by a process of its own: nobody waits for it."""
    command = [sys.executable, "-m", "agents.sqlite.snapshot", "--name", name, "--config", str(config)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o660)
    server.listen(64)
    return server


def snapshots_only(settings: Settings, one: Database, config: Path) -> None:
    """For a database whose changes are not streamed: one snapshot after the other, for ever."""
    line = Line(settings.there(), one.name)
    while True:
        wait = SNAPSHOT_RETRY_S
        with suppress(AgentError):
            ground.check_file(one.path)  # an outbox that nobody has used has none
            said, _ = line.ask("state")
            wait = float(said["snapshot_at"]) + settings.snapshot_every_s - time.time()
            if wait <= 0:
                wait = SNAPSHOT_RETRY_S if begun(one.name, config).wait() else 0.0
        line.close()
        time.sleep(max(wait, 0.1))


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.sqlite.protector", description="Protect a SQLite database.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--config", type=Path, default=sqlite_settings.PATH)
    options = parser.parse_args(arguments)
    settings = sqlite_settings.load(options.config)
    one = settings.database(options.name)
    ended: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        ended.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    os.umask(0o007)
    settings.run.mkdir(parents=True, exist_ok=True)
    busy = AgentError(f"{one.name} is protected by another process already.", "systemctl status mystocks-sqlite@*")
    with held(settings.run / f"sqlite-{one.name}.lock", busy, 5.0):
        if one.schema:
            _opened(settings, one, ended)
        if one.protect != "stream":
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            snapshots_only(settings, one, options.config)
        if not ended:
            _protect(Protector(settings, one, options.config), ended)
    return 0


def _opened(settings: Settings, one: Database, ended: Sequence[int]) -> None:
    """Made where there never was one, checked where there is; a lost or damaged one is waited for until somebody
    restored it, less and less often: a check reads all of it.
    """
    said, pause = "", RETRY_S
    while not ended:
        try:
            return TradingDatabase(one.name, settings).close()
        except AgentError as error:
            if said != str(error):
                _log(f"{error} {error.hint}".rstrip())
            said = str(error)
        ends = time.monotonic() + pause
        pause = min(2 * pause, _MOST_S)
        while not ended and time.monotonic() < ends:
            time.sleep(RETRY_S)
    return None


def _protect(protector: Protector, ended: Sequence[int]) -> None:
    try:
        while not ended:
            protector.turn()
    finally:
        protector.close()


if __name__ == "__main__":
    sys.exit(run(main))
