"""Which event id each row of a taken over queue got: the same one again, however often its file or a copy of it comes.

A file of its own beside the outbox. A row is known by its item (number, time, classification), its values, and which of
its like it is in the item: items of one number in two files are two, and a row that somebody corrected is another one
while those beside it stay what they are. Ids of one second are given in the order in which the rows come.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError
from agents.base.files import sync_folder

NAME = "imported.db"
A_SECOND = 1 << 20  # rows of one second that a host may take over; its node stands above them, as in no other host's
BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, event INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seconds (second INTEGER PRIMARY KEY, used INTEGER NOT NULL);
"""


class ImportedUnusable(AgentError):  # noqa: N818 - named after what is wrong
    """Nobody knows which rows were taken over: nothing is."""


class SecondFull(Exception):  # noqa: N818 - named after what it is
    """More rows of one second than there are ids for."""


class Imported:
    """One connection, for one thread. Raises ImportedUnusable."""

    def __init__(self, folder: Path, node: int) -> None:
        self.path = folder / NAME
        self._node = node
        with self._told():
            self._db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            self._db.execute("PRAGMA synchronous = EXTRA")
            self._db.executescript(_SCHEMA)
        sync_folder(folder)

    def close(self) -> None:
        self._db.close()

    def event_ids(self, second: int, item: Sequence[object], rows: Sequence[Any]) -> list[int]:
        """One for each row, on the disk when they are told. Raises SecondFull."""
        keys = list(_keys((second, *item), rows))
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                ids = self._given(second, keys)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return ids

    def _given(self, second: int, keys: Sequence[bytes]) -> list[int]:
        one = self._db.execute("SELECT used FROM seconds WHERE second = ?", (second,)).fetchone()
        used = one[0] if one else 0
        ids: list[int] = []
        for key in keys:
            known = self._db.execute("SELECT event FROM rows WHERE key = ?", (key,)).fetchone()
            if known is None:
                if used == A_SECOND:
                    raise SecondFull
                known = (second << 32 | self._node << 20 | used,)
                self._db.execute("INSERT INTO rows VALUES (?, ?)", (key, known[0]))
                used += 1
            ids.append(known[0])
        self._db.execute("INSERT OR REPLACE INTO seconds VALUES (?, ?)", (second, used))
        return ids

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            sentence = f"{self.path}, which knows the rows that were taken over, cannot be used: {error}."
            hint = "See df -h and who may write there; without it rows would come twice."
            raise ImportedUnusable(sentence, hint) from error


def _keys(item: Sequence[object], rows: Sequence[Any]) -> Iterator[bytes]:
    like: Counter[str] = Counter()
    for row in rows:
        text = json.dumps([*item, row], sort_keys=True)
        like[text] += 1
        yield hashlib.blake2b(f"{like[text]} {text}".encode(), digest_size=16).digest()
