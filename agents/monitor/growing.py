"""Read what was added to a file since the last time, also where the file was cut or rotated meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = 200  # bytes that tell a file from the one that takes its place
CHUNK = 16 << 20


def since(path: Path, known: Any) -> Iterator[tuple[Path, int, bytes]]:
    """(file, where it begins, whole lines) of what `mark` does not cover yet: the end of a rotated one comes first.

    At most CHUNK bytes at once; what is left of the file itself is for the next time. One that cannot be read has
    nothing.
    """
    at, head = (int(known["at"]), str(known["head"])) if isinstance(known, dict) else (0, "")
    if head and _head(path, at) != head:
        old = path.with_name(f"{path.name}.1")
        if _head(old, at) == head:
            yield from _all(old, at)  # nobody comes back to that one
        at = 0
    yield from _lines(path, at)


def mark(path: Path, at: int) -> dict[str, Any]:
    """To be kept once everything before byte `at` is somewhere else."""
    return {"at": at, "head": _head(path, at)}


def _head(path: Path, at: int) -> str:
    """Of the first bytes that were read; nothing where there are not so many any more."""
    size = min(_HEAD, at)
    try:
        with path.open("rb") as source:
            first = source.read(size)
            source.seek(0, 2)
            return hashlib.sha256(first).hexdigest()[:16] if size and source.tell() >= at else ""
    except OSError:
        return ""


def _all(path: Path, at: int) -> Iterator[tuple[Path, int, bytes]]:
    while part := list(_lines(path, at)):
        yield from part
        at += len(part[0][2])


def _lines(path: Path, at: int) -> Iterator[tuple[Path, int, bytes]]:
    try:
        with path.open("rb") as source:
            source.seek(at)
            found = source.read(CHUNK)
    except OSError:
        return
    # Of a line that is longer than a chunk each chunk is one, so that it stops nothing that comes after it.
    whole = found[: found.rfind(b"\n") + 1] or (found if len(found) == CHUNK else b"")
    if whole:
        yield path, at, whole
