"""A file of rows: blocks in frames, compressed by zstd, locked by openssl (AES-256-CTR, the key from a file).

A frame is the subtable's number in the manifest (4 bytes, big endian), the length (4) and a raw block; the last one has
the number END and, as JSON, what went before: {"blocks": n, "windows": {subtable: {hour: [rows, hash]}}}. The hash of
the whole file stands in the manifest, whose seal only the key's owner can make: what was edited is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from agents.base.errors import AgentError

END = 2**32 - 1
_FRAME = struct.Struct(">II")
_CHUNK = 1 << 20
ENC = ("openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-iter", "100000", "-md", "sha256")


class Broken(AgentError):  # noqa: N818
    """A file that is cut off, was edited, or was locked with another key."""


class Writer:
    """Writes one file; it is whole only after `close` returned. Leave it by an error and the file is removed."""

    def __init__(self, path: Path, key: Path, level: int) -> None:
        self.path, self.rows = path, 0
        self.sha256 = ""
        self.bytes = 0
        self._blocks = 0
        self._zstd = subprocess.Popen(["zstd", "-q", f"-{level}", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = subprocess.Popen(
            [*ENC, "-pass", f"file:{key}"], stdin=self._zstd.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._zstd.stdin is not None and self._zstd.stdout is not None
        self._zstd.stdout.close()  # openssl's now
        self._in = self._zstd.stdin
        self._failed: OSError | None = None
        self._sink = threading.Thread(target=self._drain, daemon=True)
        self._sink.start()

    def add(self, subtable: int, raw: bytes, rows: int) -> None:
        """One block."""
        self._frame(subtable, raw)
        self._blocks += 1
        self.rows += rows

    def close(self, windows: dict[str, dict[int, tuple[int, str]]]) -> None:
        """Write the end, and see it on the disk. Raises AgentError, when the disk is full for one."""
        self._frame(END, json.dumps({"blocks": self._blocks, "windows": windows}).encode())
        with suppress(BrokenPipeError):
            self._in.close()
        self._sink.join()
        codes = (self._zstd.wait(), self._lock.wait())
        if self._failed or any(codes):
            assert self._lock.stderr is not None
            said = self._failed or self._lock.stderr.read().decode(errors="replace").strip() or f"codes {codes}"
            raise AgentError(f"{self.path.name} was not written: {said}.", "Make room on the disk of the backups.")

    def abandon(self) -> None:
        """End the programs and remove what was written."""
        for child in (self._zstd, self._lock):
            child.kill()
            child.wait()
        self._sink.join()
        self.path.unlink(missing_ok=True)

    def _frame(self, number: int, data: bytes) -> None:
        try:
            self._in.write(_FRAME.pack(number, len(data)) + data)
        except BrokenPipeError:
            self._sink.join()
            said = self._failed or "zstd ended"
            raise AgentError(
                f"{self.path.name} was not written: {said}.", "Make room on the disk of the backups."
            ) from None

    def _drain(self) -> None:
        """From openssl to the disk, with the hash of it."""
        assert self._lock.stdout is not None
        digest = hashlib.sha256()
        try:
            with self.path.open("xb") as out:
                while chunk := self._lock.stdout.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
                    self.bytes += len(chunk)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            self._failed = error
            self._lock.kill()
        self.sha256 = digest.hexdigest()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if kind is not None:
            self.abandon()


def read(path: Path, key: Path, expected: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
    """(subtable, block) of each frame; the last is (END, JSON). `expected` is the manifest's {"bytes", "sha256"}.

    The whole file is held against its hash before the first frame is given out: no row of a damaged one reaches a
    server. Raises Broken.
    """
    _check(path, expected)
    with path.open("rb") as source:
        unlock = subprocess.Popen(
            [*ENC, "-d", "-pass", f"file:{key}"], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    unzip = subprocess.Popen(
        ["zstd", "-q", "-d", "-c"], stdin=unlock.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert unlock.stdout is not None and unzip.stdout is not None
    unlock.stdout.close()
    try:
        ended = False
        while head := unzip.stdout.read(_FRAME.size):
            if len(head) < _FRAME.size or ended:
                raise ValueError("a frame is cut off")
            number, length = _FRAME.unpack(head)
            data = unzip.stdout.read(length)
            if len(data) < length:
                raise ValueError("a frame is cut off")
            ended = number == END
            yield number, data
        if not ended:
            raise ValueError("it has no end, or was locked with another key")
    except ValueError as error:
        raise Broken(f"{path.name} of backup {path.parent.name} is damaged: {error}.", _OTHER) from error
    finally:
        for child in (unlock, unzip):
            child.kill()
            child.wait()
        unzip.stdout.close()


def _check(path: Path, expected: dict[str, Any]) -> None:
    """Raises Broken unless the file is what was written, byte for byte."""
    where = f"{path.name} of backup {path.parent.name}"
    try:
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise Broken(f"{where} has {size} bytes instead of {expected['bytes']}.", _OTHER)
        with path.open("rb") as source:
            digest = hashlib.sha256()
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise Broken(f"{where} is missing or cannot be read: {error.strerror}.", _OTHER) from error
    if digest.hexdigest() != expected["sha256"]:
        raise Broken(f"{where} is damaged: its content is not what was written.", _OTHER)


_OTHER = "Restore an older backup (./dr backup.list), or fetch this one from the off-site copy."
