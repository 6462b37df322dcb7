"""The write-ahead log as SQLite lays it out (sqlite.org: fileformat2, walformat), read and never written.

A WAL is a header of 32 bytes and frames: 24 bytes (page number, pages of the database after a commit or 0, the WAL's
two salts, a checksum over all before) and the page. Its index, the -shm file, says up to which frame it is committed.
When all of it is in the database and nobody reads it any more the next writer begins at its start again, with other
salts: one such life of it is an epoch.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import AgentError
from agents.sqlite import ground

HEADER = 32
FRAME = 24
_INDEX = struct.Struct("=IIIBBHII8s8s8s")  # version, unused, change, made, big endian, page, frames, pages, sums, salts
_VERSION = 3007000
_FRAME = struct.Struct(">II8s8s")
_TRIES, _PAUSE_S = 2000, 0.002  # to read an index that somebody is writing at the moment
_LOOKS = 100  # after so many tries its writer is taken to be dead, and SQLite is had to mend it


@dataclass(frozen=True)
class Head:
    """What is committed: `frames` of an epoch, known by its `salts`; `checksum` is the last frame's."""

    frames: int
    page: int
    salts: bytes
    checksum: bytes


@dataclass(frozen=True)
class Frames:
    """Frames `first` to `last` of an epoch as they stand in the file, its header before them where first is 1.

    `commits`: numbers of those that end a transaction.
    """

    first: int
    last: int
    data: bytes
    commits: tuple[int, ...]
    checksum: bytes


class Log:
    """The WAL of a database that this process has open. Its handles stay open until the process ends: closing one of
    the -shm file would give back the locks that SQLite holds on it.
    """

    def __init__(self, path: Path, look: Callable[[], None] = lambda: None) -> None:
        """`look` has SQLite read the database, which mends an index whose writer was killed."""
        self.path, self._look = path, look
        self._index = os.open(ground.sidecar(path, "-shm"), os.O_RDONLY | os.O_CLOEXEC)
        self._log = os.open(ground.sidecar(path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)

    def head(self) -> Head:
        """Raises AgentError for an index of another layout."""
        for tried in range(1, _TRIES):
            both = os.pread(self._index, 2 * _INDEX.size, 0)
            if both[: _INDEX.size] == both[_INDEX.size :]:
                break
            if tried % _LOOKS == 0:
                self._look()
            time.sleep(_PAUSE_S)
        else:
            raise AgentError(f"The index of {self.path}-wal does not come to rest.", "Look at who writes there.")
        version, _, _, made, big, page, frames, _, sums, salts, _ = _INDEX.unpack(both[: _INDEX.size])
        if version != _VERSION or not made:
            raise AgentError(f"{self.path}-shm is of another SQLite: version {version}.", "Update these programs.")
        return Head(frames, 65536 if page == 1 else page, salts, _in_file(sums, bool(big)))

    def size(self) -> int:
        """Bytes that the file takes."""
        return os.fstat(self._log).st_size

    def read(self, head: Head, after: int, most: int) -> Frames:
        """Committed frames after number `after`, up to about `most` bytes, at the least one.

        Only what nobody can overwrite meanwhile may be asked for: see `Hold` of agents/sqlite/holding.py.
        """
        size = FRAME + head.page
        count = min(head.frames - after, max(1, most // size))
        start = 0 if after == 0 else HEADER + after * size
        length = count * size + (HEADER if after == 0 else 0)
        data = os.pread(self._log, length, start)
        while len(data) < length and (more := os.pread(self._log, length - len(data), start + len(data))):
            data += more
        if len(data) < length:
            raise AgentError(f"{self.path}-wal ends before what is committed.", "Is its disk well?")
        found = parse(data, after + 1, head.page, head.salts)
        if found.last == head.frames and found.checksum != head.checksum:
            raise AgentError(f"{self.path}-wal is not what its index says.", "Is its disk well?")
        return found

    def checksum(self, head: Head, frame: int) -> bytes:
        """Of one frame, as long as it is of the epoch of `head`."""
        raw = os.pread(self._log, FRAME, HEADER + (frame - 1) * (FRAME + head.page))
        return raw[16:24] if raw[8:16] == head.salts else b""


def parse(data: bytes, first: int, page: int, salts: bytes) -> Frames:
    """Frames as they stand in a file. Raises AgentError for one of another epoch."""
    at, number = (HEADER if first == 1 else 0), first
    commits = []
    sums = b""
    while at < len(data):
        _, pages, of, sums = _FRAME.unpack_from(data, at)
        if of != salts:
            raise AgentError(f"Frame {number} of a write-ahead log is of another epoch.", "Is its disk well?")
        if pages:
            commits.append(number)
        at += FRAME + page
        number += 1
    return Frames(first, number - 1, data, tuple(commits), sums)


def _in_file(sums: bytes, big: bool) -> bytes:
    """The index keeps checksums as numbers of this machine, the file in big endian."""
    return struct.pack(">II", *struct.unpack("=II", sums))


def follows(before: bytes, after: bytes) -> bool:
    """Whether salts are those of the very next epoch: each time the first of them is one more."""
    return int.from_bytes(after[:4], "big") == (int.from_bytes(before[:4], "big") + 1) & 0xFFFFFFFF
