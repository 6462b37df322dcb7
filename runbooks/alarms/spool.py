"""The spool: alarms, messages, channels and silences in one SQLite file of the host that alarms.

What is in it survives the loss of power: every change is one transaction, and is on the disk before anybody is told.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from inventories.errors import BadInput, TargetFailed
from runbooks.engine.lock import state_dir

_BUSY_S = 10.0
_VERSION = 1
_SCHEMA = """
create table alarm (
  id integer primary key autoincrement,
  rule text not null, subject text not null, figure text not null, labels text not null,
  severity integer not null, says text not null, hint text not null,
  first_at real not null, last_at real not null, count integer not null default 1,
  fired_at real, told_at real, gone_at real, resolved_at real,
  acked_at real, acked_by text not null default '', note text not null default '', escalated_at real
);
create unique index one_open on alarm (rule, subject) where resolved_at is null;
create table message (
  id integer primary key autoincrement,
  alarm integer not null references alarm (id) on delete cascade,
  what text not null, channel text not null, title text not null, body text not null,
  made_at real not null, due_at real not null,
  tries integer not null default 0, began_at real, sent_at real, error text not null default '',
  unique (alarm, what, channel)
);
create index waiting on message (due_at) where sent_at is null;
create table channel (
  name text primary key, known_at real not null,
  ok_at real, failing_since real, error text not null default '',
  proved_at real, code text not null default '', code_at real
);
create table silence (
  id integer primary key autoincrement,
  rule text not null, subject text not null, began_at real not null, until real not null,
  owner text not null, reason text not null, ended_at real
);
create table look (only integer primary key check (only = 1), at real not null, unread text not null);
"""

Row = sqlite3.Row


def path_of(estate: str) -> Path:
    return state_dir() / "alarms" / f"{quote(estate, safe='')}.db"


class Spool:
    """The file, opened. One that is not there is made; one that is damaged, or of a later version, stays as it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _usable(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._prepare()

    def _prepare(self) -> None:
        for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
            self._db.execute(f"pragma {pragma}")
        with self.change():
            version = int(self._db.execute("pragma user_version").fetchone()[0])
            if version > _VERSION:
                raise BadInput(f"{self.path} is of a later version ({version})", "use the ./dr that made it")
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"pragma user_version = {_VERSION}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """All of it or nothing. Raises TargetFailed where the disk takes nothing."""
        with _usable(self.path):
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def run(self, sql: str, *values: object) -> int:
        """Execute one statement; how many rows it changed."""
        with _usable(self.path):
            return self._db.execute(sql, values).rowcount

    def rows(self, sql: str, *values: object) -> list[Row]:
        with _usable(self.path):
            return self._db.execute(sql, values).fetchall()

    def value(self, sql: str, *values: object) -> Any:
        """The first value of the first row; None without one."""
        found = self.rows(sql, *values)
        return found[0][0] if found else None


def know(spool: Spool, channel: str, now: float) -> None:
    """The channel has a row from now on."""
    spool.run("insert or ignore into channel (name, known_at) values (?, ?)", channel, now)


def waiting(spool: Spool, by: Literal["alarm", "channel"]) -> dict[Any, int]:
    """How many messages wait, by the alarm that they are of or the channel that they are for; where none does, none."""
    return {row[0]: row[1] for row in spool.rows(
        f"select {by}, count(*) from message where sent_at is null group by {by}"
    )}  # fmt: skip


def open_or_aside(path: Path) -> tuple[Spool, str]:
    """For who must alarm in any case: a damaged file is moved aside and begun anew; the sentence that says so."""
    try:
        return Spool(path), ""
    except TargetFailed as damaged:
        if not isinstance(damaged.__cause__, sqlite3.DatabaseError) or isinstance(
            damaged.__cause__, sqlite3.OperationalError
        ):
            raise  # a full disk, a right that is missing: the file may be whole
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return Spool(path), f"the spool of the alarms was damaged ({damaged.__cause__}); it lies aside as {aside}"


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Raises TargetFailed for whatever SQLite says is wrong."""
    try:
        yield
    except sqlite3.Error as error:
        hint = "is the disk full (df -h), or the file another user's? A damaged one is moved aside by ./dr alarms.on"
        raise TargetFailed(f"the spool of the alarms, {path}, cannot be used: {error}", hint) from error
