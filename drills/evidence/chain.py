"""The history: a line for each result, bound to the line before it and signed. Lines are added, never changed."""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drills.evidence.files import Files
from drills.evidence.keys import Public, Signer, signer
from drills.judging.result import write_whole

NOTHING = "0" * 64  # what the first record is bound to
_FIELDS = {"seq": int, "at": str, "before": str, "key": str, "told": dict, "signature": str}


@dataclass(frozen=True)
class Record:
    """One line. `at`: UTC, ISO 8601; `before`: SHA-256 of the line before; `key`: the name of the key that signed."""

    seq: int
    at: str
    before: str
    key: str
    told: Mapping[str, Any]
    signature: str

    @property
    def line(self) -> bytes:
        """Its only spelling, without the end of the line."""
        return canonical(self._content() | {"signature": self.signature})

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.line).hexdigest()

    @property
    def content(self) -> bytes:
        """What is signed."""
        return canonical(self._content())

    def signed_by(self, key: Public) -> bool:
        try:
            return key.signed(base64.b64decode(self.signature, validate=True), self.content)
        except binascii.Error:
            return False

    def _content(self) -> dict[str, Any]:
        return {"seq": self.seq, "at": self.at, "before": self.before, "key": self.key, "told": dict(self.told)}


@dataclass(frozen=True)
class Head:
    """The last record that was written here."""

    seq: int = 0
    hash: str = NOTHING


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def append(files: Files, told: Mapping[str, Any], at: datetime | None = None) -> Record:
    """Add one record and have it on disk. It follows the last that this machine wrote, even where that is gone since,
    so that a hole stays one. Raises BadInput for a key that cannot sign, OSError where it cannot be written.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    with _held(files.history) as fd:
        key = signer(files.key)
        _publish(files, key.public)
        last = _last(files, fd, key.public)
        record = _sign(key, last, told, at or datetime.now(UTC))
        _write(fd, record.line + b"\n")
        _remember(files, Head(record.seq, record.hash))
    return record


def snapshot(files: Files) -> tuple[tuple[bytes, ...], Head | None]:
    """Every line, and how far this machine had come, as both are between two records. The last line may be torn."""
    try:
        with files.history.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return tuple(file.read().splitlines(keepends=True)), head(files)
    except FileNotFoundError:
        return (), head(files)


def parse(line: bytes) -> Record | None:
    """None for what is no record, or is one in another spelling than its only one."""
    try:
        said = json.loads(line)
        if set(said) != set(_FIELDS) or not all(type(said[name]) is kind for name, kind in _FIELDS.items()):
            return None
        record = Record(**said)
        return record if record.line + b"\n" == line else None
    except (ValueError, TypeError, AttributeError):
        return None


def head(files: Files) -> Head | None:
    """How far this machine had come with this history; None where it has written none, or does not know."""
    try:
        said = json.loads(files.head.read_text())
        return Head(int(said["seq"]), str(said["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sign(key: Signer, last: Head, told: Mapping[str, Any], at: datetime) -> Record:
    draft = Record(last.seq + 1, at.isoformat(), last.hash, key.public.name, json.loads(canonical(told)), "")
    signature = base64.b64encode(key.sign(draft.content)).decode()
    return Record(draft.seq, draft.at, draft.before, draft.key, draft.told, signature)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """The history, open at its end, for this process alone."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _last(files: Files, fd: int, key: Public) -> Head:
    """What to go on from: what was written here last. Only the line of a process that was killed before it could
    remember it comes after that. A line that was written in part is cut off.
    """
    content = files.history.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.ftruncate(fd, whole)
    tail = content[content.rfind(b"\n", 0, max(whole - 1, 0)) + 1 : whole]
    newest = parse(tail) if tail else None
    known = head(files)
    if newest is None:
        return known or Head()
    found = Head(newest.seq, newest.hash)
    follows = known is None or (newest.seq == known.seq + 1 and newest.before == known.hash)
    return found if follows and (known is None or newest.signed_by(key)) else known or found


def _write(fd: int, line: bytes) -> None:
    size = os.fstat(fd).st_size
    try:
        if os.write(fd, line) != len(line):
            raise OSError("the line was written in part")
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


def _remember(files: Files, now: Head) -> None:
    files.head.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(files.head, json.dumps({"seq": now.seq, "hash": now.hash, "history": str(files.history.resolve())}))


def _publish(files: Files, key: Public) -> None:
    """Put the public key beside the history, once."""
    there = files.public.read_text() if files.public.exists() else ""
    if key.pem not in there:
        write_whole(files.public, there + key.pem)
