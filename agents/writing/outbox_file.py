"""The outbox's file, opened so that what is committed is on the disk: WAL mode with synchronous=FULL."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.base.errors import OutboxGone
from agents.base.files import give_to_owner_of_folder, is_named, sync_folder
from agents.base.locks import FileLock
from agents.writing.schema import prepare
from agents.writing.sqlite_errors import told

PAGE = 4096
BUSY_S = 5.0
CHECKED_BYTES = 256 << 20  # a larger file is not read through each time somebody opens it


class OutboxFile:
    """One connection to the file, for one thread at a time. Raises OutboxDamaged on a file that cannot be trusted."""

    def __init__(self, path: Path, max_bytes: int = 1 << 30) -> None:
        self.path = path
        self.max_bytes = max_bytes
        with told(path):
            created = self._created()
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                self._is = path.stat()
            except BaseException:
                self._db.close()
                raise
        if created:
            sync_folder(path.parent)

    def _created(self) -> bool:
        """Whether it is new: then it is made here, for its owner also where root was the first to look."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError:
            return False  # it is there, or SQLite says why it cannot be
        try:
            give_to_owner_of_folder(handle, self.path)
        finally:
            os.close(handle)
        return True

    def close(self) -> None:
        self._db.close()

    def turn(self) -> FileLock:
        """The lock of whoever reads or rewrites what was applied: purging, queueing again, replaying the shadow.

        They exclude one another, however long one takes; the kernel ends it with its holder.
        """
        return FileLock(self.path.with_name(self.path.name + ".turn"), 0o660)

    def mark(self) -> str:
        """What tells this file from every other one, also from one in its place later."""
        with told(self.path):
            self._db.execute(
                "INSERT OR IGNORE INTO outbox_facts VALUES ('mark', ?)", (json.dumps(secrets.token_hex(16)),)
            )
        return str(self.noted("mark"))

    def note(self, name: str, value: object) -> None:
        """A fact for whoever looks: JSON under a name."""
        with told(self.path):
            self._db.execute("INSERT OR REPLACE INTO outbox_facts VALUES (?, ?)", (name, json.dumps(value)))

    def noted(self, name: str) -> Any:
        row = self._one("SELECT value FROM outbox_facts WHERE name = ?", name)
        return json.loads(row[0]) if row else None

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA page_size = {PAGE}")
        self._write_ahead()
        self._db.execute("PRAGMA synchronous = FULL")
        # Of gigabytes only the pages that are read are looked at: each record has its own checksum.
        if self._pragma("page_count") * PAGE <= CHECKED_BYTES:
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        prepare(self._db)

    def _write_ahead(self) -> None:
        """Two processes may make the file at once, and SQLite does not wait for the lock of this one change."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)
        if mode != "wal":
            raise sqlite3.DatabaseError(f"its file system allows no write-ahead log (it stays {mode})")

    def _one(self, query: str, *parameters: object) -> Any:
        with told(self.path):
            return self._db.execute(query, parameters).fetchone()

    def _all(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with told(self.path):
            return self._db.execute(query, parameters).fetchall()

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment, whatever others write meanwhile."""
        with told(self.path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._must_be_there()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _must_be_there(self) -> None:
        """A file that was removed or replaced goes on taking what is written, and nobody would ever read it."""
        if not is_named(self._is, self.path):
            raise OutboxGone(
                f"The outbox {self.path} was removed or replaced while it was open.",
                "Put the file that was there back, with its -wal and -shm, before it is missed: it may hold rows.",
            )
