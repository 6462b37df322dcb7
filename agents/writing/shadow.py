"""What the store acknowledged lately, kept on this host until an archive or a backup elsewhere holds it too.

Two hosts with the newest rows may be lost together, before the archive has them. These files are not: `requeue` puts
what they hold back into the outbox, and writing a row again is harmless. They are bounded by age and size and are
never waited for: a disk that takes no more costs this second chance, not the row.

A segment is a file of frames: magic, unix time, rows, bytes, CRC-32, then the batch as the outbox would store it,
compressed. It is not synced at each write: the page cache outlives this process, and a power cut here as well would
have to meet the loss of both database hosts.
"""

from __future__ import annotations

import math
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agents.base import clock
from agents.base.config import ShadowSettings, Table
from agents.base.errors import AgentError, OutboxFull
from agents.writing.batch import Batch, Part
from agents.writing.outbox import Outbox
from agents.writing.records import Newer, checksum_of, data_of, parts_of
from agents.writing.room import free_bytes

FRAME = struct.Struct(">4sdIII")
MAGIC = b"DRS1"
SEGMENT_BYTES = 8 << 20
SEGMENT_S = 30.0
SUFFIX = ".shadow"
CLOCK = "clock"  # beside the segments
REQUEUE_ROWS = 2000  # a record of the outbox: large enough to be replayed fast, small enough for one transaction
REQUEUED = 0  # the origin of requeued records, which no feed has
FULL_WAIT_S, FULL_TRIES = 0.5, 240
FREE_BYTES = 256 << 20  # the shadow leaves so much of its disk to the outbox
TURN_S = 30.0


class TurnTaken(AgentError):  # noqa: N818
    """Another process reads or rewrites what the outbox applied."""

    exit_code = 3


class Shadow:
    """Appends acknowledged batches, for one thread. Never raises: what it cannot keep is said once."""

    def __init__(self, settings: ShadowSettings, origin: int) -> None:
        self._settings = settings
        self._origin = origin
        self._file: BinaryIO | None = None
        self._since = 0.0
        self._failed = ""

    def keep(self, batch: Batch) -> None:
        """Remember a batch that the store has just acknowledged."""
        try:
            data = zlib.compress(data_of(batch.parts).encode(), 1)
            file = self._segment(len(data))
            file.write(FRAME.pack(MAGIC, time.time(), batch.n, len(data), zlib.crc32(data)) + data)
            file.flush()
            self._failed = ""
        # ValueError: a file that a full disk left closed. Whatever it is, the store has the row.
        except (OSError, ValueError) as error:
            self.close()
            if str(error) != self._failed:
                self._failed = str(error)
                print(f"The shadow {self._settings.path} takes no more: {error}.", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Also of a file whose last bytes find no room: they are tried again at closing, and fail again."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError, ValueError):
                file.close()

    def _segment(self, size: int) -> BinaryIO:
        since_s = time.monotonic() - self._since
        if self._file and (self._file.tell() + size > SEGMENT_BYTES or since_s > SEGMENT_S):
            os.fdatasync(self._file.fileno())
            self.close()
            trim(self._settings, time.time())
        if self._file is None:
            self._settings.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            leave_room(self._settings.path)
            jumped(self._settings)  # noted before there is anything that a jump would age
            self._file = self._new(int(time.time() * 1000))
            self._since = time.monotonic()
        return self._file

    def _new(self, ms: int) -> BinaryIO:
        """A file of its own: what is written behind a frame that a full disk cut off could not be read."""
        while True:
            try:
                return (self._settings.path / f"{ms:015d}-{self._origin}-{os.getpid()}{SUFFIX}").open("xb")
            except FileExistsError:
                ms += 1


def trim(settings: ShadowSettings, now: float) -> None:
    """Delete segments that are too old, then the oldest until the rest is small enough; the newest stays."""
    # Every writer of the host lets go of old ones: what another one was quicker with is gone.
    files = [(file, found) for file in segments(settings.path) if (found := _there(file)) is not None]
    # After a jump of the clock nothing is as old as it seems.
    oldest = -math.inf if jumped(settings) else now - settings.keep_s
    size = sum(found.st_size for _, found in files)
    for file, found in files[:-1]:
        if found.st_mtime >= oldest and size <= settings.max_bytes:
            break
        file.unlink(missing_ok=True)
        size -= found.st_size


def jumped(settings: ShadowSettings) -> bool:
    """Whether stamps say nothing of how old what is kept is, because this host's clock jumped meanwhile."""
    return clock.jumped(settings.path / CLOCK, settings.keep_s)


def reaching(settings: ShadowSettings, outbox: Outbox, since: float) -> float:
    """From which stamp on is taken what was acknowledged at `since`: all that is kept, where the clock jumped."""
    known = (jumped(settings), outbox.clock_jumped(settings.keep_s))
    return -math.inf if any(known) else since


def _there(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def leave_room(folder: Path) -> None:
    """Let go of the oldest segments while the disk has less free than the outbox needs: that one is the first chance.

    Raises OSError where there is none left to let go of.
    """
    files = segments(folder)
    while free_bytes(folder) < FREE_BYTES:
        if not files:
            raise OSError(f"less than {FREE_BYTES >> 20} MiB are free, which are the outbox's")
        files.pop(0).unlink(missing_ok=True)


def trim_covered(settings: ShadowSettings, until: float) -> int:
    """Delete segments whose every batch was acknowledged before `until` (unix seconds); returns how many.

    A segment was last written when its last batch was acknowledged. One that may still be open is younger.
    """
    gone = 0
    if jumped(settings):
        return 0
    for file in segments(settings.path)[:-1]:
        found = _there(file)
        if found is not None and found.st_mtime >= until:
            break
        file.unlink(missing_ok=True)
        gone += 1
    return gone


def segments(folder: Path) -> list[Path]:
    """Every segment, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


@dataclass(frozen=True)
class Kept:
    """What the shadow holds. `since` is the unix time of the oldest batch, None when there is none."""

    segments: int
    size_bytes: int
    since: float | None


def look(settings: ShadowSettings) -> Kept:
    files = [(file, found) for file in segments(settings.path) if (found := _there(file)) is not None]
    return Kept(len(files), sum(found.st_size for _, found in files), _oldest([file for file, _ in files]))


def _oldest(files: Sequence[Path]) -> float | None:
    for file in files:
        with suppress(FileNotFoundError):
            for at, _ in frames(file):
                return at
    return None


def frames(file: Path, damaged: Callable[[], None] = lambda: None) -> Iterator[tuple[float, tuple[Part, ...]]]:
    """Time and parts of each batch. Ends at the first frame that is cut off or damaged, after calling `damaged`."""
    with file.open("rb") as source:
        while header := source.read(FRAME.size):
            if len(header) < FRAME.size:
                return damaged()
            magic, at, _, size, crc = FRAME.unpack(header)
            data = source.read(size) if magic == MAGIC else b""
            if len(data) < size or zlib.crc32(data) != crc or not data:
                return damaged()
            text = zlib.decompress(data)
            try:
                parts = parts_of(text, checksum_of(text.decode()))
            except Newer:
                damaged()  # nobody here can read it; what follows may be older
                continue
            assert parts is not None, "the checksum was taken from this very text"
            yield at, parts
    return None


@dataclass
class Requeued:
    """Rows and records put into the outbox, and segments whose end could not be read."""

    rows: int = 0
    records: int = 0
    damaged_segments: int = 0


def requeue(
    settings: ShadowSettings, outbox: Outbox, tables: dict[str, Table], since: float, only: Sequence[str] = ()
) -> Requeued:
    """Put what was acknowledged at `since` (unix seconds) or later back into the outbox. May be repeated.

    What the outbox had applied since then becomes pending where it is; what went past it is read from the shadow.
    Nobody purges meanwhile. `only` names tables, none means all. After a jump of the clock everything that is kept goes
    back: stamps of a clock that was behind would leave out rows that nobody else has.
    """
    done, since = Requeued(), reaching(settings, outbox, since)

    def damaged() -> None:
        done.damaged_segments += 1

    def batches() -> Iterator[tuple[Part, ...]]:
        for file in segments(settings.path):
            with suppress(FileNotFoundError):  # too old, or covered by a backup meanwhile
                if file.stat().st_mtime >= since:
                    yield from (parts for at, parts in frames(file, damaged) if at >= since)

    turn = outbox.turn()
    if not turn.take(TURN_S):
        raise TurnTaken("What was applied is being read or queued again by another process.", "Wait for it, repeat.")
    try:
        done.records, done.rows = outbox.queue_applied_again(since, only, REQUEUED)
        _queue_again(outbox, tables, batches(), only, done)
    finally:
        turn.release()
    return done


def _queue_again(
    outbox: Outbox, tables: dict[str, Table], batches: Iterator[tuple[Part, ...]], only: Sequence[str], done: Requeued
) -> None:
    waiting: list[Part] = []
    for parts in batches:
        waiting += [part for part in parts if not only or part.table in only]
        if sum(part.n for part in waiting) >= REQUEUE_ROWS:
            _enqueue(outbox, tables, waiting, done)
            waiting = []
    if waiting:
        _enqueue(outbox, tables, waiting, done)


def _enqueue(outbox: Outbox, tables: dict[str, Table], parts: Sequence[Part], done: Requeued) -> None:
    batch = Batch(tuple(parts))
    for left in range(FULL_TRIES, -1, -1):
        try:
            outbox.enqueue(batch, tables, REQUEUED)
            break
        except OutboxFull:
            if not left:
                raise
            time.sleep(FULL_WAIT_S)  # the replayer makes room
    done.rows += batch.n
    done.records += 1
