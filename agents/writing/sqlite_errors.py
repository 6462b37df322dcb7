"""SQLite's errors as ours, with the file's name in them: full, busy, not ours to write, or damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.base.errors import BadRow, OutboxBusy, OutboxDamaged, OutboxFull

# A full disk is also an index of the write-ahead log that cannot grow.
_FULL = {sqlite3.SQLITE_FULL, 4874}  # SQLITE_IOERR_SHMSIZE
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_RIGHTS = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


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
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _FULL:
        return OutboxFull(f"The outbox {path} takes no more ({error}).", "Free space on its disk.")
    if code & 0xFF in _BUSY:
        return OutboxBusy(f"Another process held the outbox {path} too long ({error}).", "Write the batch again.")
    if code & 0xFF in _RIGHTS:
        names = ", ".join(_foreign(path)) or str(path.parent)
        return OutboxDamaged(f"The outbox {path} may not be used: {error}.", f"Check who owns {names}.")
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return OutboxDamaged(f"The disk of the outbox {path} fails: {error}.", "Look at the kernel's log.")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or type(error) is sqlite3.DatabaseError:
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
