"""What the store had acknowledged by the time of a mark: shadow and outbox up to the positions that it bound.

Those are bytes and numbers of this host, so that no clock decides on which side of the mark a row is.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agents.base.config import Config
from agents.base.errors import BadConfig
from agents.writing import shadow
from agents.writing.batch import Part
from agents.writing.records import Newer, parts_of
from agents.writing.shadow_replay import Timed
from agents.writing.sqlite_errors import told

BUSY_S = 10.0
_APPLIED = (
    "SELECT applied_no, applied_at, CAST(data AS BLOB), checksum FROM outbox_queue WHERE applied_no > ? "
    "AND applied_no <= ? AND status = 'applied' ORDER BY applied_no LIMIT 50"
)


@dataclass(frozen=True)
class Bounds:
    """`applied_no`: the last application; `shadow`: bytes of each segment that was written to at the mark."""

    applied_no: int
    shadow: Mapping[str, int]


def read(text: str) -> Bounds:
    """Of {"applied_no": N, "shadow": {FILE: BYTES}}. Raises BadConfig."""
    try:
        said: Any = json.loads(text)
        return Bounds(int(said["applied_no"]), {str(name): int(size) for name, size in said["shadow"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadConfig(f"These are no positions of a mark: {error!r}.", "./dr mark NAME --json shows some.") from error


def acknowledged(config: Config, bounds: Bounds, since: float, damaged: Callable[[], None]) -> Iterator[Timed]:
    """Batches and their times (unix seconds): what went past the outbox, then what it applied.

    `damaged` is called for each segment of the shadow whose end cannot be read, or that has less than the mark bound of
    it, and for each of the outbox's records that cannot be read.
    """
    assert config.shadow is not None
    newest, files = max(bounds.shadow, default=""), shadow.segments(config.shadow.path)
    names = {file.name for file in files}
    for name in bounds.shadow:
        if names and name not in names and name > min(names):  # the oldest go first
            damaged()
    for file in files:
        if file.name <= newest:  # their names are in the order in which they were begun
            frames = _frames(file, bounds.shadow.get(file.name), damaged)
            yield from (timed for timed in frames if timed[0] >= since)
    if config.outbox.path.exists():
        yield from (timed for timed in _applied(config.outbox.path, bounds.applied_no, damaged) if timed[0] >= since)


def _frames(file: Path, size: int | None, damaged: Callable[[], None]) -> Iterator[Timed]:
    def cut() -> None:
        """The mark may have come in the middle of a frame, which is whole by now."""
        deque(shadow.frames(file, damaged), maxlen=0)

    with suppress(FileNotFoundError):  # too old, or covered by a backup meanwhile
        if size is None:
            yield from shadow.frames(file, damaged)
        elif file.stat().st_size < size:
            damaged()
            yield from shadow.frames(file)
        else:
            yield from shadow.frames(cast(Path, _Beginning(file, size)), cut)


@dataclass(frozen=True)
class _Beginning:
    """A segment as it was when it had so many bytes."""

    file: Path
    size: int

    def open(self, mode: str) -> io.BytesIO:
        with self.file.open("rb") as opened:
            return io.BytesIO(opened.read(self.size))


def _applied(path: Path, last: int, damaged: Callable[[], None]) -> Iterator[Timed]:
    with told(path), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)) as opened:
        no = 0
        while rows := opened.execute(_APPLIED, (no, last)).fetchall():
            no = int(rows[-1][0])
            for _, at, data, checksum in rows:
                if (parts := _parts(data, checksum)) is None:
                    damaged()
                else:
                    yield float(at), parts


def _parts(data: bytes, checksum: str) -> tuple[Part, ...] | None:
    try:
        return parts_of(data, checksum)
    except Newer:
        return None
