"""Keep a write-ahead log from beginning anew before all of it is on another host.

SQLite begins a WAL anew only when everything in it is in the database and nobody reads it. So a transaction that reads
is open at every moment, and only while nobody can commit (we have the write lock, for milliseconds) is it exchanged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from agents.sqlite import session

_LOCK_S = 0.02  # as long as a writer may have to wait for us, we wait for it


class Hold:
    """The connections of the protector to one database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._holder, self._next, self._writer, self._copier = (session.connect(path, _LOCK_S) for _ in range(4))
        for one in (self._holder, self._next, self._writer, self._copier):
            one.execute("PRAGMA wal_autocheckpoint = 0")
        session.write_ahead(self._writer, path)
        session.begin_to_read(self._holder)

    def close(self) -> None:
        for one in (self._holder, self._next, self._writer, self._copier):
            one.close()

    def look(self) -> None:
        """Have SQLite read the head of the log; it mends what a writer that was killed left half written."""
        session.look(self._copier)

    def copy_back(self) -> None:
        """Copy pages of what is committed into the database; writers go on, and the WAL goes on too."""
        session.begin_to_read(self._next)  # this one sees all that there is; from here on the older one may go
        self._holder.execute("ROLLBACK")
        self._holder, self._next = self._next, self._holder
        self._copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def begin_anew(self, protect: Callable[[], bool]) -> bool:
        """Let the next writer begin the WAL at its start, once `protect` has seen to the rest of it while nobody can
        write. False where a writer, a reader or `protect` stood in the way: nothing is lost, and it may be tried again.
        """
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        try:
            if not protect():
                return False
            self._holder.execute("ROLLBACK")
            try:
                busy, frames, copied = self._copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finally:
                session.begin_to_read(self._holder)
            return not busy and frames == copied
        finally:
            self._writer.execute("ROLLBACK")

    def give_up(self) -> None:
        """Let the WAL begin anew although nobody has it: what comes after needs a new snapshot."""
        self.begin_anew(lambda: True)
