"""Send what is committed to the receiver, in order and without a gap, and know how far it has come."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from agents.base.errors import AgentError
from agents.sqlite import records, wal
from agents.sqlite.records import Header
from agents.sqlite.seal import Seal
from agents.sqlite.wal import Log
from agents.sqlite.wire import Line

RECORD_BYTES = 4 << 20  # of frames in one record, about


class Gap(AgentError):  # noqa: N818 - named after what happened, as in the rest of the repository
    """The log began anew before all of it was sent: a new stream is needed, on a new snapshot."""


@dataclass(frozen=True)
class Position:
    """How far a stream has come: all transactions up to number `tx`, the last of them read at `at` (unix seconds).

    `salts` are empty where nothing of an epoch was sent yet, so that any may follow.
    """

    stream: str
    no: int
    epoch: int
    salts: bytes
    frame: int
    tx: int
    at: float


class Stream:
    """Of one database. Any error leaves it without a position: `resume` finds it again."""

    def __init__(self, name: str, log: Log, line: Line, seal: Seal) -> None:
        self._name, self._log, self._line, self._seal = name, log, line, seal
        self.position: Position | None = None
        self._before: Position | None = None  # the last one, while it is not known whether it holds still
        self.based = False
        self.snapshot_at = 0.0

    def resume(self) -> Position:
        """Ask the receiver how far it has come; go on there, or begin a stream where that cannot be. Raises Away."""
        said = self.look()
        last = records.header(said["last"]) if said["last"] else None
        head = self._log.head()
        before = self._before
        if before and (before.stream, before.no) == (str(said["stream"]), last.no if last else 0):
            self.position = before  # the log was held all the time
        elif last is not None and self._goes_on(last, head):
            self.position = Position(str(said["stream"]), last.no, last.epoch, head.salts, last.last, last.tx, last.at)
        else:
            self.begin()
        assert self.position is not None
        return self.position

    def look(self) -> dict[str, Any]:
        """See which snapshots there are. Raises Away."""
        said, _ = self._line.ask("state")
        self.based, self.snapshot_at = bool(said["based"]), float(said["snapshot_at"])
        return said

    def _goes_on(self, last: Header, head: wal.Head) -> bool:
        """Whether the log has the last frame that was sent still in its place: what follows is what came next."""
        same = head.salts.hex() == last.salts and head.page == last.page and head.frames >= last.last
        return same and self._log.checksum(head, last.last).hex() == last.checksum

    def begin(self) -> None:
        """A new stream, from the start of the log as it is now."""
        said, _ = self._line.ask("begin")
        self.based = False
        self.position = self._before = Position(str(said["stream"]), 0, 1, b"", 0, int(said["tx"]), time.time())

    def send(self) -> Position:
        """All that is committed now is with the receiver when this returns. Raises Away, Refused, Gap, AgentError."""
        at = self.position or self.resume()
        try:
            head = self._log.head()
            now = time.time()  # after the look: no commit of it is younger than it is said to be
            at = self._in_epoch(at, head)
            while at.frame < head.frames:
                at = self._keep(at, head, max(now, at.at))
            self.position = self._before = at
        except BaseException:
            self.position = None
            raise
        return at

    def _in_epoch(self, at: Position, head: wal.Head) -> Position:
        if at.salts == head.salts or head.frames == 0:
            return at
        if not at.salts:
            return Position(at.stream, at.no, at.epoch, head.salts, 0, at.tx, at.at)
        if not wal.follows(at.salts, head.salts):
            raise Gap("The write-ahead log began anew while nobody looked.", "A new stream begins with a snapshot.")
        return Position(at.stream, at.no, at.epoch + 1, head.salts, 0, at.tx, at.at)

    def _keep(self, at: Position, head: wal.Head, now: float) -> Position:
        found = self._log.read(head, at.frame, RECORD_BYTES)
        one = Header(
            at.no + 1, at.epoch, head.salts.hex(), head.page, found.first, found.last, found.checksum.hex(), at.tx,
            at.tx + len(found.commits), now,
        )  # fmt: skip
        sealed = records.locked(self._seal, self._name, at.stream, one, found.data)
        self._line.ask("keep", sealed, stream=at.stream, header=one.__dict__)
        return Position(at.stream, one.no, one.epoch, head.salts, one.last, one.tx, one.at)

    def forget(self) -> None:
        """The log is held no longer: what it had may be gone."""
        self.position = self._before = None
