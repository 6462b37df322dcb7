"""SQLite's errors as ours, with the file's name in them: full, busy, not ours to write, or damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.base.errors import BadRow, OutboxBusy, OutboxDamaged, OutboxFull

# SQLite's own numbers: Python has names for them, and tells which it was, from 3.11 on.
_PERM, _BUSY, _LOCKED, _READONLY, _IOERR = 3, 5, 6, 8, 10
_CORRUPT, _FULL, _CANTOPEN, _AUTH, _NOTADB = 11, 13, 14, 23, 26
# A full disk is also an index of the write-ahead log that cannot grow.
_NO_ROOM = {_FULL, 4874}  # SQLITE_IOERR_SHMSIZE
_LATER = {_BUSY, _LOCKED}
_RIGHTS = {_READONLY, _CANTOPEN, _PERM, _AUTH}
# What it says where nobody tells the number.
_SAID = (
    ("database or disk is full", _FULL), ("database is locked", _BUSY), ("table is locked", _LOCKED),
    ("readonly", _READONLY), ("unable to open", _CANTOPEN), ("access permission", _PERM), ("disk I/O", _IOERR),
    ("malformed", _CORRUPT), ("not a database", _NOTADB),
)  # fmt: skip


def code_of(error: sqlite3.Error) -> int:
    """SQLite's extended number of an error, or the plain one that its words mean; 0 where nobody knows."""
    told_by_python = getattr(error, "sqlite_errorcode", None)
    if told_by_python is not None:
        return int(told_by_python)
    return next((code for words, code in _SAID if words in str(error)), 0)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Around what asks SQLite. Raises OutboxFull, OutboxBusy, OutboxDamaged; BadRow for a value beyond its limits."""
    try:
        yield
    except (sqlite3.DataError, OverflowError) as error:
        raise BadRow(f"A batch is too large for the outbox: {error}.", "Write it in smaller batches.") from error
    except sqlite3.Error as error:
        raise _ours(path, error) from error


def _ours(path: Path, error: sqlite3.Error) -> OutboxFull | OutboxDamaged:
    code = code_of(error)
    if code in _NO_ROOM:
        return OutboxFull(f"The outbox {path} takes no more ({error}).", "Free space on its disk.")
    if code & 0xFF in _LATER:
        return OutboxBusy(f"Another process held the outbox {path} too long ({error}).", "Write the batch again.")
    if code & 0xFF in _RIGHTS:
        names = ", ".join(_foreign(path)) or str(path.parent)
        return OutboxDamaged(f"The outbox {path} may not be used: {error}.", f"Check who owns {names}.")
    if code & 0xFF == _IOERR:
        return OutboxDamaged(f"The disk of the outbox {path} fails: {error}.", "Look at the kernel's log.")
    if code in (_CORRUPT, _NOTADB) or type(error) is sqlite3.DatabaseError:
        return OutboxDamaged(
            f"The outbox {path} is damaged: {error}.",
            "Nothing was changed. Copy it with its -wal and -shm, then try sqlite3's .recover there.",
        )
    return OutboxDamaged(f"The outbox {path} cannot be used: {error}.", "Check path and rights.")


def _foreign(path: Path) -> list[str]:
    """The file and its sidecars that belong to somebody else than the folder does."""
    try:
        owner = path.parent.stat().st_uid
        beside = (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"))
        return [str(file) for file in beside if file.exists() and file.stat().st_uid != owner]
    except OSError:
        return []
