"""The outbox: batches that were acknowledged while the store was away, in order, until they are applied.

One record is one batch, even of several tables: what was acknowledged together is replayed in one
transaction, so an execution never appears without its order, and the order of acknowledgement is the order of
ids. `classification` and `target_database` therefore name every class and database in the batch, comma
separated.

Durability: WAL mode with synchronous=FULL syncs at each commit; a batch is acknowledged after that. The
checksum of each record is verified when it is read back. Nothing is ever deleted but records applied longer
ago than `keep_applied_s`.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.base.config import Table
from agents.base.errors import OutboxDamaged, OutboxFull
from agents.base.files import sync_folder
from agents.writing.batch import Batch, Part
from agents.writing.records import (
    SCHEMA,
    Applied,
    Record,
    Status,
    checksum_of,
    data_of,
    parts_of,
    ranges_of,
)

PAGE = 4096
BUSY_S = 5.0
CHECKED_BYTES = 256 << 20  # a larger file is not read through each time somebody opens it


class Outbox:
    """One connection to the file, for one thread at a time. Raises OutboxDamaged on a file that cannot be trusted."""

    def __init__(self, path: Path, max_bytes: int = 1 << 30) -> None:
        self.path = path
        self._max_bytes = max_bytes
        with self._sentences():
            created = not path.exists()
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._prepare()
        if created:
            sync_folder(path.parent)

    def close(self) -> None:
        self._db.close()

    def enqueue(self, batch: Batch, tables: dict[str, Table], origin: int) -> int:
        """Store the batch durably and return its id. Raises OutboxFull: then it is NOT stored.

        Applied records are kept to be read; where they take the room that a row needs, they go.
        """
        try:
            return self._insert(batch, tables, origin)
        except OutboxFull:
            if not self.purge(0, at_most=5000):
                raise
        return self._insert(batch, tables, origin)

    def _insert(self, batch: Batch, tables: dict[str, Table], origin: int) -> int:
        data = data_of(batch.parts)
        with self._sentences():
            # The cap is SQLite's own, for this statement only: the replayer must always be able to write.
            self._db.execute(f"PRAGMA max_page_count = {max(self._max_bytes // PAGE, 1)}")
            try:
                cursor = self._db.execute(
                    "INSERT INTO outbox_queue (classification, target_database, data, created_at, tables,"
                    " n_rows, origin, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        ",".join(sorted({tables[part.table].classification for part in batch.parts})),
                        ",".join(sorted({tables[part.table].database for part in batch.parts})),
                        data, time.time(), ranges_of(batch.parts), batch.n, origin, checksum_of(data),
                    ),
                )  # fmt: skip
            finally:
                self._db.execute("PRAGMA max_page_count = 4294967294")
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def waiting(self, at_most: int = 1) -> int:
        """How many records are pending, counted up to `at_most` (cheap however many there are)."""
        query = "SELECT count(*) FROM (SELECT 1 FROM outbox_queue WHERE status = 'pending' LIMIT ?)"
        return int(self._one(query, at_most)[0])

    def pending(self, max_rows: int) -> list[Record]:
        """The oldest pending records, in order, up to `max_rows` rows but at least one.

        A record whose checksum is wrong becomes a dead letter, so that it does not hold up the others.
        """
        records: list[Record] = []
        rows = 0
        with self._sentences():
            cursor = self._db.execute(
                "SELECT id, CAST(data AS BLOB), n_rows, origin, checksum, classification, target_database,"
                " created_at FROM outbox_queue WHERE status = 'pending' ORDER BY id"
            )
            for number, data, n, origin, checksum, classification, database, created_at in cursor:
                if records and rows + n > max_rows:
                    break
                parts = parts_of(data, checksum)
                if parts is None:
                    cursor.close()
                    self._bury(number, "the checksum of the record does not match its data")
                    return records or self.pending(max_rows)
                records.append(Record(number, parts, n, origin, classification, database, created_at))
                rows += n
            cursor.close()
        return records

    def mark_applied(self, records: Sequence[Record], host: str, timeline: int) -> None:
        """The store has acknowledged these records."""
        with self._transaction():
            for record in records:
                self._apply(record.id, host, timeline)

    def mark_separated(
        self,
        record: Record,
        sound: Sequence[Part],
        poison: Sequence[tuple[Part, str]],
        host: str,
        timeline: int,
    ) -> None:
        """The store has acknowledged the sound parts; each poison row becomes a dead letter of its own."""
        with self._transaction():
            for part in sound:
                number = self._insert_piece(record, part, "pending", None)
                self._apply(number, host, timeline)
            for part, why in poison:
                self._insert_piece(record, part, "dead", why)
            self._db.execute("DELETE FROM outbox_queue WHERE id = ?", (record.id,))

    def note_failure(self, first_id: int, why: str) -> None:
        """The replayer could not apply this record for now."""
        with self._sentences():
            self._db.execute(
                "UPDATE outbox_queue SET retry_count = retry_count + 1, last_error = ? WHERE id = ?",
                (why, first_id),
            )

    def applied_since(self, no: int, origin: int, up_to_id: int) -> list[Applied]:
        """What the store acknowledged after application number `no`, of one origin, in that order."""
        with self._sentences():
            rows = self._db.execute(
                "SELECT applied_no, coalesce(parent_id, id), tables, n_rows, applied_host, applied_timeline"
                " FROM outbox_queue"
                " WHERE applied_no > ? AND origin = ? AND coalesce(parent_id, id) <= ? ORDER BY applied_no",
                (no, origin, up_to_id),
            ).fetchall()
        return [Applied(r[0], r[1], json.loads(r[2]), r[3], r[4], r[5]) for r in rows]

    def applied_parts(self, since: float) -> Iterator[tuple[Part, ...]]:
        """What the store took from here at `since` (unix seconds) or later, in the order of application."""
        yield from (parts for _, parts in self.applied_timed(since))

    def applied_timed(self, since: float) -> Iterator[tuple[float, tuple[Part, ...]]]:
        """The same, with the unix time of each application."""
        # Only what is there now: the replayer may be applying what the caller makes of this.
        no, last = 0, self.last_applied_no()
        while True:
            rows = self._applied_page(no, last, since)
            if not rows:
                return
            no = rows[-1][0]
            for _, at, data, checksum in rows:
                parts = parts_of(data, checksum)
                if parts is not None:
                    yield float(at), parts

    def _applied_page(self, after: int, last: int, since: float) -> list[Any]:
        with self._sentences():
            return self._db.execute(
                "SELECT applied_no, applied_at, CAST(data AS BLOB), checksum FROM outbox_queue WHERE applied_no > ?"
                " AND applied_no <= ? AND status = 'applied' AND applied_at >= ? ORDER BY applied_no LIMIT 50",
                (after, last, since),
            ).fetchall()

    def last_applied_at(self) -> float:
        """Unix time of the latest application, 0 if there was none."""
        row = self._one(
            "SELECT applied_at FROM outbox_queue WHERE applied_no IS NOT NULL"
            " ORDER BY applied_no DESC LIMIT 1"
        )
        return float(row[0]) if row else 0.0

    def last_applied_no(self) -> int:
        return int(
            self._one("SELECT coalesce(max(applied_no), 0) FROM outbox_queue WHERE applied_no IS NOT NULL")[0]
        )

    def newest_id(self) -> int:
        """The record that was stored last, 0 if there is none."""
        return int(self._one("SELECT coalesce(max(id), 0) FROM outbox_queue")[0])

    def waiting_of(self, origin: int) -> int:
        """Pending rows of one origin."""
        query = "SELECT coalesce(sum(n_rows), 0) FROM outbox_queue WHERE status = 'pending' AND origin = ?"
        return int(self._one(query, origin)[0])

    def dead(self) -> list[dict[str, Any]]:
        """The dead letters, oldest first."""
        with self._sentences():
            rows = self._db.execute(
                "SELECT id, tables, n_rows, created_at, retry_count, last_error, data FROM outbox_queue"
                " WHERE status = 'dead' ORDER BY id"
            ).fetchall()
        names = ("id", "tables", "n_rows", "created_at", "retry_count", "last_error", "data")
        return [{**dict(zip(names, row, strict=True)), "tables": json.loads(row[1])} for row in rows]

    def retry_dead(self, ids: Sequence[int] = ()) -> int:
        """Put dead letters (all when no id is given) back into the queue; returns how many."""
        changed = 0
        with self._transaction():
            for number in ids or [letter["id"] for letter in self.dead()]:
                changed += self._db.execute(
                    "UPDATE outbox_queue SET status = 'pending' WHERE id = ? AND status = 'dead'", (number,)
                ).rowcount
        return changed

    def purge(self, keep_s: float, at_most: int = 500) -> int:
        """Delete records applied longer ago than `keep_s`, oldest first; returns how many.

        The very last one stays, so that application numbers never start again.
        """
        with self._sentences():
            return self._db.execute(
                "DELETE FROM outbox_queue WHERE id IN (SELECT id FROM outbox_queue WHERE applied_no < "
                "(SELECT max(applied_no) FROM outbox_queue WHERE applied_no IS NOT NULL) AND applied_at < ?"
                " ORDER BY applied_no LIMIT ?)",
                (time.time() - keep_s, at_most),
            ).rowcount

    def status(self) -> Status:
        with self._sentences():
            counts = {
                row[0]: row[1:]
                for row in self._db.execute(
                    "SELECT status, count(*), coalesce(sum(n_rows), 0), min(created_at) FROM outbox_queue"
                    " GROUP BY status"
                )
            }
            error = self._db.execute(
                "SELECT last_error FROM outbox_queue WHERE status = 'pending' ORDER BY id LIMIT 1"
            ).fetchone()
            used = self._pragma("page_count") - self._pragma("freelist_count")
        waiting, dead, applied = (counts.get(key, (0, 0, None)) for key in ("pending", "dead", "applied"))
        return Status(
            pending_records=waiting[0],
            pending_rows=waiting[1],
            dead_rows=dead[1],
            applied_records=applied[0],
            applied_rows=applied[1],
            oldest_age_s=None if waiting[2] is None else max(0.0, time.time() - waiting[2]),
            last_error=error[0] if error else None,
            size_bytes=used * PAGE,
            max_bytes=self._max_bytes,
        )

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA page_size = {PAGE}")
        self._write_ahead()
        self._db.execute("PRAGMA synchronous = FULL")
        # Of gigabytes only the pages that are read are looked at: each record has its own checksum.
        if self._pragma("page_count") * PAGE <= CHECKED_BYTES:
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        self._db.executescript(SCHEMA)

    def _write_ahead(self) -> None:
        """Two processes may make the file at once, and SQLite does not wait for the lock of this one change."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _insert_piece(self, record: Record, part: Part, status: str, why: str | None) -> int:
        data = data_of([part])
        cursor = self._db.execute(
            "INSERT INTO outbox_queue (classification, target_database, data, created_at, tables, n_rows,"
            " origin, checksum, status, last_error, parent_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.classification, record.target_database, data, record.created_at, ranges_of([part]),
                part.n, record.origin, checksum_of(data), status, why, record.id,
            ),
        )  # fmt: skip
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _apply(self, number: int, host: str, timeline: int) -> None:
        self._db.execute(
            "UPDATE outbox_queue SET status = 'applied', last_error = NULL, applied_at = ?, applied_host = ?,"
            " applied_timeline = ?, applied_no ="
            " (SELECT coalesce(max(applied_no), 0) + 1 FROM outbox_queue WHERE applied_no IS NOT NULL)"
            " WHERE id = ? AND status = 'pending'",
            (time.time(), host, timeline, number),
        )

    def _bury(self, number: int, why: str) -> None:
        self._db.execute(
            "UPDATE outbox_queue SET status = 'dead', last_error = ? WHERE id = ?", (why, number)
        )

    def _one(self, query: str, *parameters: object) -> Any:
        with self._sentences():
            return self._db.execute(query, parameters).fetchone()

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._sentences():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """SQLite's errors as ours, with the file's name in them."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise OutboxFull(
                    f"The outbox {self.path} takes no more ({error}).",
                    "Free space or raise outbox.max_bytes.",
                ) from error
            raise OutboxDamaged(
                f"The outbox {self.path} cannot be used: {error}.", "Check path and rights."
            ) from error
        except sqlite3.DatabaseError as error:
            raise OutboxDamaged(
                f"The outbox {self.path} is damaged: {error}.",
                "Nothing was changed. Copy it with its -wal and -shm, then try sqlite3's .recover there.",
            ) from error
