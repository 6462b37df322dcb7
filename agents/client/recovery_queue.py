"""The trading system's own recovery queue: the same constructor, methods, table and columns, so that either code reads
the other's file.

What its own cannot hold (a DataFrame, a time, a Decimal) is held here, and what was put in is on the disk when the call
returns.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from agents.base.config import DEFAULT, load_tables
from agents.base.errors import AgentError, BadConfig, BadRow
from agents.client.kinds import is_missing
from agents.client.prepare import name_of, table_named

DB_PATH = "/tmp/mystocks_recovery_queue.db"  # noqa: S108 - the trading system's own default; name another one
COLUMNS = ("id", "classification", "target_database", "data_json", "created_at", "retry_count", "status")
SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    classification TEXT NOT NULL,
    target_database TEXT NOT NULL,
    data_json TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    retry_count INTEGER DEFAULT 0,
    status TEXT DEFAULT 'pending'
)
"""
EVENT_IDS = "mystocks_dr_event_ids"  # among the kwargs: of each row, where it may be in the store already
BUSY_S = 10.0
_SHARED = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs")
_UNROUTED = "unrouted"


class QueueUnusable(AgentError):  # noqa: N818 - named after what is wrong
    """The file cannot be used as a queue. Nothing in it was changed."""


class FailureRecoveryQueue:
    """Each call opens the file for itself, so that threads, forks and processes may share it."""

    def __init__(self, db_path: str = DB_PATH) -> None:
        self.db_path = str(db_path)
        path = Path(self.db_path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise QueueUnusable(f"{path.parent} cannot be made: {error.strerror}.", "Name another path.") from error
        with opened(path, create=True) as queue:
            queue.execute(SCHEMA)

    def enqueue(self, classification: object, target_database: object, data: object) -> int:
        """Put data into the queue; its number. Raises BadRow for what JSON cannot say, QueueUnusable."""
        text = json_of(data)
        # Made again where it is gone: /tmp is tidied, and what fails from now on has to go somewhere.
        with opened(Path(self.db_path), create=True) as queue:
            queue.execute(SCHEMA)
            cursor = queue.execute(
                "INSERT INTO outbox_queue (classification, target_database, data_json) VALUES (?, ?, ?)",
                (name_of(classification), name_of(target_database), text),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def add_failed_operation(
        self,
        operation_type: str,
        classification: object,
        data: object,
        table_name: str,
        kwargs: Mapping[str, object] | None = None,
        error: object = "",
    ) -> int:
        """Put an operation that failed into the queue, a DataFrame included."""
        name = name_of(classification)
        payload = {
            "operation_type": operation_type, "table_name": table_name, "data": data, "kwargs": dict(kwargs or {}),
            "error": str(error),
        }  # fmt: skip
        return self.enqueue(name, _database_of(name), payload)

    def get_pending_items(self, limit: int = 100) -> list[tuple[int, str, str, str]]:
        """(id, classification, target_database, data_json), oldest first."""
        with opened(Path(self.db_path)) as queue:
            queue.text_factory = readable  # one that is damaged must not hide the others
            return queue.execute(
                "SELECT id, classification, target_database, data_json FROM outbox_queue WHERE status = 'pending'"
                " ORDER BY created_at, id LIMIT ?",
                (limit,),
            ).fetchall()

    def mark_completed(self, item_id: int) -> bool:
        """It has reached its database. False when there is no such item."""
        return self._mark("completed", item_id, 0)

    def mark_failed(self, item_id: int) -> bool:
        """It could not be saved: it stays in the file, and is pending no longer. False when there is no such item."""
        return self._mark("failed", item_id, 1)

    def retry_failed(self) -> int:
        """Make every failed item pending again; how many."""
        with opened(Path(self.db_path)) as queue:
            return queue.execute("UPDATE outbox_queue SET status = 'pending' WHERE status = 'failed'").rowcount

    def _mark(self, status: str, item_id: int, tries: int) -> bool:
        with opened(Path(self.db_path)) as queue:
            change = "UPDATE outbox_queue SET status = ?, retry_count = retry_count + ? WHERE id = ?"
            return queue.execute(change, (status, tries, item_id)).rowcount > 0


def readable(raw: bytes) -> str:
    """A text, also where it is none: what is no UTF-8 is seen in it, and no catalogue takes it."""
    return raw.decode(errors="surrogateescape")


@contextmanager
def opened(path: Path, create: bool = False) -> Iterator[sqlite3.Connection]:
    """The queue's file, for one transaction at a time. Raises QueueUnusable with what is the matter."""
    connection: sqlite3.Connection | None = None
    try:
        if kind := shared_kind(path):
            raise QueueUnusable(f"{path} lies on {kind}, where locks do not hold.", "Put it on a disk of this host.")
        address = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        connection = sqlite3.connect(address, timeout=BUSY_S, isolation_level=None, uri=True)
        connection.execute("PRAGMA synchronous = EXTRA")  # a rollback journal is gone with its folder's entry, too
        _look(connection, path)
        yield connection
    except (sqlite3.DataError, OverflowError) as error:
        raise QueueUnusable(f"{path} takes no such value: {error}.", "Split it into several.") from error
    except sqlite3.Error as error:
        raise QueueUnusable(f"{path} cannot be used: {error}.", _hint(str(error))) from error
    finally:
        if connection is not None:
            connection.close()


def _look(connection: sqlite3.Connection, path: Path) -> None:
    columns = [row[1] for row in connection.execute("PRAGMA table_info(outbox_queue)")]
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    if not columns and not tables:
        return
    if not columns:
        raise QueueUnusable(f"{path} is a database of another application: it has no outbox_queue.", "Name the queue.")
    if "checksum" in columns and "data_json" not in columns:
        raise QueueUnusable(f"{path} is the outbox of a host, no recovery queue.", "Its replayer drains it by itself.")
    if missing := [name for name in COLUMNS if name not in columns]:
        sentence = f"The outbox_queue of {path} has no {missing[0]}: it is of another application."
        raise QueueUnusable(sentence, "Name the queue.")


def _hint(said: str) -> str:
    if "readonly" in said or "unable to open" in said:
        return "See who may write the file and its folder, and whether the disk is mounted read-only."
    if "malformed" in said or "not a database" in said:
        return "Nothing was changed. Copy it with its -journal, -wal and -shm, then try sqlite3's .recover there."
    return "See df -h, and who else has it open."


def shared_kind(path: Path) -> str:
    """The kind of file system that other hosts may share, or nothing. Where nobody knows it counts as a disk."""
    here = os.path.realpath(path.parent)
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, place, found, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        if (here == place or here.startswith(place.rstrip("/") + "/")) and len(place) >= len(best):
            best, kind = place, found
    return kind if kind in _SHARED else ""


def json_of(data: object) -> str:
    """As JSON that every program reads. Times become ISO texts, Decimals texts, gaps null. Raises BadRow."""
    try:
        return json.dumps(_plain(data, 0), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow(f"The data cannot be kept: {error}.", "Give rows of plain values or a DataFrame.") from error


def _plain(value: Any, depth: int) -> Any:
    if depth > 100:
        raise ValueError("it is nested too deeply")
    if is_missing(value):
        return None
    if isinstance(value, Enum):
        return _plain(value.value, depth + 1)
    if isinstance(value, bool) or type(value) in (int, str):
        return value
    if isinstance(value, float):
        number = float(value)
        if number != number:
            return None
        return number if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return None if value.is_nan() else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(_plain(key, depth + 1)): _plain(one, depth + 1) for key, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name), depth + 1) for one in dataclasses.fields(value)}
    if hasattr(value, "_fields"):
        return _plain(value._asdict(), depth + 1)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one, depth + 1) for one in value]
    return _plain(_of_library(value), depth + 1)


def _of_library(value: Any) -> Any:
    """Records of a frame, a list of an array, a scalar of numpy."""
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and hasattr(value, "to_dict") and hasattr(value, "columns"):
        return _of_pandas(value)
    if library == "polars" and hasattr(value, "to_dicts"):
        return value.to_dicts()
    if library == "pyarrow" and hasattr(value, "to_pylist"):
        return value.to_pylist()
    if library == "numpy" and type(value).__name__ == "datetime64":
        return str(value)
    if library in ("numpy", "pandas", "polars") and (hasattr(value, "tolist") or hasattr(value, "to_list")):
        return value.tolist() if hasattr(value, "tolist") else value.to_list()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON can say")


def _of_pandas(frame: Any) -> Any:
    """Records; columns and rows where two columns have one name. Its index too, unless it only counts."""
    columns, index = list(frame.columns), frame.index
    rows = list(frame.itertuples(index=False, name=None))
    named = [name for name in index.names if name is not None]
    counts = not named and index.nlevels == 1 and index.dtype.kind in "iu"
    if not counts and not (len(named) == index.nlevels and all(name in columns for name in named)):
        columns = [name if name is not None else f"index{level}" for level, name in enumerate(index.names)] + columns
        rows = [(*(at if index.nlevels > 1 else (at,)), *row) for at, row in zip(index.tolist(), rows, strict=True)]
    if len({str(name) for name in columns}) < len(columns):
        return {"columns": [str(name) for name in columns], "data": rows}
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _database_of(classification: str) -> str:
    """Where the catalogue of this host sends it; a queue also works on a host that has none."""
    for name, store in (("tables.json", "postgresql"), ("tables-tdengine.json", "tdengine")):
        try:
            table_named(classification, load_tables(DEFAULT.with_name(name)))
        except (BadConfig, BadRow):
            continue
        return store
    return _UNROUTED
