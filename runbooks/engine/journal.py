"""The journal: JSON lines in a plain file, on disk before and after each step, when no database works too."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from inventories.errors import BadInput, TargetFailed
from runbooks.engine.masking import Mask

FILE_NAME = "journal.jsonl"


class Event(StrEnum):
    """What a record tells."""

    OPENED = "opened"
    RESUMED = "resumed"
    GUARD_HELD = "guard_held"  # what a step had proved is so still
    GUARD_FAILED = "guard_failed"
    GATE_STARTED = "gate_started"
    GATE_PASSED = "gate_passed"
    GATE_FAILED = "gate_failed"
    STEP_STARTED = "step_started"
    NOTED = "noted"  # within a step: what it did beside its own action
    STEP_SKIPPED = "step_skipped"
    STEP_DONE = "step_done"
    STEP_FAILED = "step_failed"
    STEP_INTERRUPTED = "step_interrupted"
    UNDO_STARTED = "undo_started"
    UNDO_DONE = "undo_done"
    UNDO_FAILED = "undo_failed"
    FINISHED = "finished"
    ABANDONED = "abandoned"  # ended for good by another run


@dataclass(frozen=True)
class Record:
    """One line. `at` is UTC in ISO 8601, `mono` seconds on this machine's monotonic clock."""

    seq: int
    at: str
    mono: float
    event: str
    step: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """A journal read back: whole records, the bytes they take, and the torn last line (mostly empty)."""

    records: tuple[Record, ...]
    whole: int
    torn: str


class Journal:
    """Appends records; each is on disk (fsync) when `write` returns."""

    def __init__(self, run_dir: Path, mask: Mask | None = None) -> None:
        """Open or create run_dir's journal; a torn last line is cut off: nothing may be appended to it."""
        self.path = run_dir / FILE_NAME
        self._mask = mask or Mask()
        contents = read(run_dir) if self.path.exists() else Contents((), 0, "")
        self._seq = contents.records[-1].seq if contents.records else 0
        self._whole = contents.whole
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._fd, self._whole)
            _sync_folder(run_dir)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def write(self, event: Event, step: str | None = None, **data: Any) -> None:
        """Append one record, secrets masked. Raises TargetFailed when it cannot be made durable."""
        self._seq += 1
        record = {
            "seq": self._seq,
            "at": datetime.now(UTC).isoformat(),
            "mono": time.monotonic(),
            "event": event.value,
            "step": step,
        }
        line = (
            json.dumps({**record, "data": self._mask.data(data)}, ensure_ascii=False, default=str).encode()
            + b"\n"
        )
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError("the line was written in part")
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, self._whole)
            raise _unwritable(self.path, error) from error
        self._whole += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()


def read(run_dir: Path) -> Contents:
    """Read run_dir's journal; a torn last line is tolerated, damage anywhere else is BadInput."""
    path = run_dir / FILE_NAME
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read the journal {path}: {error.strerror}") from error
    whole = raw.rfind(b"\n") + 1
    records = tuple(_record(path, nr, line) for nr, line in enumerate(raw[:whole].split(b"\n")[:-1], 1))
    return Contents(records, whole, raw[whole:].decode(errors="replace"))


def _record(path: Path, nr: int, line: bytes) -> Record:
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"the journal {path} is damaged at line {nr}: {error}",
            "start the procedure afresh, without --resume",
        ) from error


def _unwritable(path: Path, error: OSError) -> TargetFailed:
    return TargetFailed(
        f"the journal {path} cannot be written: {error.strerror or error}",
        "no step runs unrecorded: free space or fix the rights there, then repeat with --resume",
    )


def _sync_folder(folder: Path) -> None:
    """Make the file's name durable too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
