"""A connection to a SQLite file, opened so that a commit is on the disk, and its errors as sentences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.base.errors import AgentError
from agents.sqlite import ground
from agents.sqlite.ground import InUse, NoDatabase
from agents.writing.sqlite_errors import code_of

BUSY_S = 5.0
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
_NO_ROOM = (_FULL, 4874)  # SQLITE_IOERR_SHMSIZE: a full disk is also an index of the WAL that cannot grow


class Damaged(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """SQLite found a page, an index or a reference that is not what it should be; nothing was changed."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Around what asks SQLite. Raises NoDatabase, InUse, Damaged or AgentError in place of its errors.

    What a statement of the caller's own did (a constraint, a missing table) stays what it is.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.NotSupportedError):
        raise
    except sqlite3.DatabaseError as error:
        found = _ours(path, error)
        if found is None:
            raise
        raise found from error


def _ours(path: Path, error: sqlite3.DatabaseError) -> AgentError | None:
    code = code_of(error)
    if code in _NO_ROOM:
        return AgentError(f"The disk of {path} is full: nothing was committed.", "Make room there.")
    plain = code & 0xFF
    if plain == _NOTADB:
        return ground.what_it_is(path)
    if plain == _CORRUPT:
        return Damaged(f"{path} is damaged: {error}.", "Nothing was changed. sqlite-restore --latest brings it back.")
    if plain in (_BUSY, _LOCKED):
        return InUse(f"{path} is in use: {'; '.join(ground.users(path)) or error}.", "Stop it, or try again.")
    if plain in (_READONLY, _CANTOPEN):
        return NoDatabase(f"{path} may not be used: {error}.", "Check path and rights, also of -wal and -shm.")
    if plain == _IOERR:
        return AgentError(f"The disk of {path} fails: {error}.", "Look at the kernel's log.")
    return None


def connect(path: Path, busy_s: float = BUSY_S, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection to a database that is there; transactions are the caller's to begin. Raises NoDatabase and others.

    What every session needs and SQLite forgets: foreign keys, triggers also of a REPLACE, a sync at each commit.
    """
    ground.check_disk(path)
    ground.check_file(path)
    if not readonly:
        ground.check_head(path)
    with told(path):
        uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rw'}"
        connection = sqlite3.connect(uri, busy_s, isolation_level=None, check_same_thread=False, uri=True)
        try:
            for pragma in ("foreign_keys = ON", "recursive_triggers = ON", "synchronous = FULL"):
                connection.execute(f"PRAGMA {pragma}")
            look(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    """Put the file into WAL mode. Raises NoDatabase where its file system has none."""
    with told(path):
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise NoDatabase(f"{path} stays in {mode} mode: its disk allows no write-ahead log.", "Put it on another disk.")


def begin_to_read(connection: sqlite3.Connection) -> None:
    """See one moment from now on: a transaction that only began reads nothing yet."""
    connection.execute("BEGIN")
    look(connection)


def look(connection: sqlite3.Connection) -> None:
    """Have SQLite read the file's head, and that of its log."""
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """All of it or nothing of it."""
    with told(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
