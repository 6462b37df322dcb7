"""The trading database, by the method names of the trading system.

    db = TradingDatabase()                               path and schema from /etc/mystocks-dr/sqlite.json
    with db._transaction() as connection:                all or nothing, on the disk when the block has ended
        connection.execute("INSERT INTO trades (...) VALUES (...)")
    db.protected()                                       and on another host when this returns
    db.get_database_stats()

One connection for one thread at a time. Raises what agents/sqlite/session.py names.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import AgentError
from agents.base.files import give_to_owner_of_folder, is_named
from agents.sqlite import beginning, checks, copying, ground, placing, session
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.protecting import Asking, Protected
from agents.sqlite.settings import Database, Settings

CHECKED_BYTES = 256 << 20  # a larger file is not read through each time somebody opens it; its snapshots are
_STATS = {"trades_count": "trades", "positions_count": "positions", "signals_count": "signals"}


class TradingDatabase:
    """Opens the database, and makes it where there never was one."""

    def __init__(self, name: str = "trading", settings: Settings | None = None) -> None:
        self._settings = settings or sqlite_settings.load()
        self._is: Database = self._settings.database(name)
        self.path = self._is.path
        self._asking: Asking | None = None
        self._open()

    def _open(self) -> None:
        if not self.path.exists():
            beginning.check(self._settings, self._is)
            _make(self._is)
        self._connection = session.connect(self.path)
        try:
            session.write_ahead(self._connection, self.path)
            if self._is.protect == "stream" and self._settings.receiver:
                # What is not protected yet stays in the write-ahead log: agents.sqlite.protector empties it.
                self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._check_integrity()
            _complete(self._connection, self._is)
            self._file = self.path.stat()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _get_connection(self) -> sqlite3.Connection:
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises AgentError where the file was restored or removed meanwhile: what is written would be nowhere."""
        with session.transaction(self._connection, self.path) as connection:
            yield connection
            if not is_named(self._file, self.path):
                raise AgentError(
                    f"{self.path} was restored or removed while it was open: nothing was committed.", "Open it again."
                )

    def _check_integrity(self) -> None:
        if self.path.stat().st_size <= CHECKED_BYTES:
            checks.sound(self._connection, self.path)

    def protected(self, deadline_s: float = 5.0) -> Protected:
        """All that was committed before is on another host's disk when this returns. Raises NotProtected."""
        if self._asking is None:
            self._asking = Asking(self._settings.socket(self._is.name))
        return self._asking.protected(deadline_s)

    def get_database_stats(self) -> dict[str, Any]:
        """Rows, bytes, pages, and whether it is whole; the keys of the trading system."""
        with session.told(self.path):
            rows = checks.counts(self._connection)
            pages = {
                name: int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "page_size")
            }
        log = ground.sidecar(self.path, "-wal")
        size, log_size = self.path.stat().st_size, log.stat().st_size if log.exists() else 0
        try:
            checks.sound(self._connection, self.path)
            whole = True
        except (session.Damaged, ground.NoDatabase):
            whole = False
        return {
            **{key: rows.get(table, 0) for key, table in _STATS.items()},
            "database_file_size_bytes": size, "wal_file_size_bytes": log_size, "total_size_bytes": size + log_size,
            **pages, "integrity_ok": whole,
        }  # fmt: skip

    def backup_database(self, backup_dir: str | Path = "backups") -> str:
        """A checked copy in a folder of this host: the path of it. What leaves the host is the protector's."""
        folder = Path(backup_dir)
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        now = datetime.now(timezone.utc)
        path = _unused(folder, f"{self.path.stem}_data_backup_{now:%Y%m%d_%H%M%S}")
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with closing(session.connect(self.path)) as source:
                rows = copying.copy(source, self.path, partial)
            copying.publish(partial, path)
        finally:
            copying.discard(partial)
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO backup_metadata (backup_path, backup_time, trades_count, positions_count, size_bytes, "
                "verified, created_at) VALUES (?, ?, ?, ?, ?, 1, ?)",
                (
                    str(path.absolute()), now.isoformat(), rows.get("trades", 0), rows.get("positions", 0),
                    path.stat().st_size, now.isoformat(),
                ),
            )  # fmt: skip
        return str(path.absolute())

    def restore_database(self, backup_path: str | Path) -> bool:
        """Put a copy in the place of the database, which is kept in pre_restore: True, else it raises.

        Refused while anybody else has it open, its protector too.
        """
        self.close()
        try:
            placing.from_file(self._is, Path(backup_path))
        finally:
            self._open()
        return True

    def get_backup_history(self, limit: int = 10) -> list[dict[str, Any]]:
        """The newest first: backup_id, backup_path, backup_time, trades_count, positions_count, size_bytes, ..."""
        with session.told(self.path):
            found = self._connection.execute("SELECT * FROM backup_metadata ORDER BY backup_id DESC LIMIT ?", (limit,))
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def cleanup_old_backups(self, days: int = 30) -> int:
        """Remove copies older than `days`, how many: none unless a newer one is there and was found whole just now."""
        known = self.get_backup_history(limit=-1)
        newest = next((one for one in known if one["verified"] and is_whole(Path(one["backup_path"]))), None)
        if newest is None:
            return 0
        border = datetime.fromtimestamp(time.time() - days * 86400, timezone.utc).isoformat()
        going = [one for one in known if one["backup_time"] < border and one["backup_id"] < newest["backup_id"]]
        for one in going:
            path = Path(one["backup_path"])
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                files.sync_folder(path.parent)
            with self._transaction() as connection:
                connection.execute("DELETE FROM backup_metadata WHERE backup_id = ?", (one["backup_id"],))
        return len(going)


def _make(one: Database) -> None:
    """A new file appears with its whole schema or not at all: one of 0 bytes would pass for a database that is new."""
    ground.check_disk(one.path)
    one.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    partial = one.path.with_name(f".{one.path.name}.{os.getpid()}.new")
    copying.discard(partial)
    try:
        with session.told(partial), closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            _complete(connection, one)
        handle = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        try:
            give_to_owner_of_folder(handle, one.path)
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(partial, one.path)
        except FileExistsError:
            return  # somebody else made it meanwhile
        files.sync_folder(one.path.parent)
    finally:
        copying.discard(partial)


def _complete(connection: sqlite3.Connection, one: Database) -> None:
    """Tables, indexes and triggers that are declared and not there yet."""
    with session.transaction(connection, one.path):
        for statement in one.schema:
            connection.execute(statement)


def _unused(folder: Path, stem: str) -> Path:
    """Two backups of one second have names of their own."""
    names = (stem, *(f"{stem}_{n}" for n in range(2, 1000)))
    return next(path for name in names if not (path := folder / f"{name}.db").exists())


def is_whole(path: Path) -> bool:
    """Whether it is a SQLite database without damage."""
    try:
        with closing(session.connect(path, readonly=True)) as connection:
            checks.sound(connection, path)
    except AgentError:
        return False
    return True
