"""The outbox: batches that were acknowledged while the store was away, until they are applied.

One record is one batch, even of several tables: what was acknowledged together is replayed in one transaction, so an
execution never appears without its order, unless the store refuses a row of it. `classification` and `target_database`
therefore name every class and database in the batch, comma separated.

A pending record is ready, or held: it waits for a table that takes nothing for now. Ready ones go by lane (orders
before ticks) and age. Which value a key ends with depends on none of this: the greater event id wins in the store.

Durability: WAL mode with synchronous=FULL syncs at each commit; a batch is acknowledged after that. The checksum of
each record is verified when it is read back. What waits may take `max_bytes`, and what was applied as much again: so
that a writer never deletes anything to make room, and is told no only for what the store has not taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agents.base import clock
from agents.base.config import UNKNOWN_LANE, Config, CopySettings, Table
from agents.base.errors import BadRow, OutboxFull
from agents.writing.batch import Batch, Part
from agents.writing.copies import Copies, NoSecondCopy
from agents.writing.counts import Counting
from agents.writing.records import Applied, Newer, Record, checksum_of, data_of, parts_of, ranges_in, ranges_of
from agents.writing.sqlite_errors import told

ALL_LANES = 1 << 30
PAGE_BYTES = 32 << 20  # of records that are read at once
# The last tenth of the room is for orders: ticks are told no before.
URGENT_LANE, OTHERS_SHARE = 0, 0.9
ALONE_S = 5.0  # before the other host is asked again, where its copy is not insisted on
STALLED_S = 20.0  # the other host lets go of copies that nobody has claimed for a minute
NEWER = "(a newer version)"
# What was given last is written down before a record with a number may go.
_LAST_NO = (
    "SELECT max(coalesce((SELECT max(applied_no) FROM outbox_queue WHERE applied_no IS NOT NULL), 0),"
    " coalesce((SELECT CAST(value AS INTEGER) FROM outbox_facts WHERE name = 'applied_no'), 0))"
)
_ABOUT = (
    "classification", "target_database", "data", "created_at", "tables", "n_rows", "origin", "checksum", "lane",
    "copy_no",
)  # fmt: skip
_INSERT = (
    "INSERT INTO outbox_queue (classification, target_database, data, created_at, tables, n_rows, origin, checksum,"
    " lane, copy_no) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COLUMNS = (
    "id, CAST(data AS BLOB), n_rows, origin, checksum, classification, target_database, created_at, lane, parent_id,"
    " retry_count, copy_no"
)


class Outbox(Counting):
    """What writers and the replayer need; one connection, for one thread.

    With `copy` each record is on another host's disk too before it is acknowledged.
    """

    def __init__(self, path: Path, max_bytes: int = 1 << 30, copy: CopySettings | None = None) -> None:
        super().__init__(path, max_bytes)
        self._copy = copy
        self._alone_until = float("-inf")
        self.copies = Copies(copy, self.mark()) if copy else None

    @classmethod
    def of(cls, config: Config) -> Outbox:
        """The outbox of a configuration."""
        return cls(config.outbox.path, config.outbox.max_bytes, config.outbox.copy)

    def close(self) -> None:
        if self.copies is not None:
            self.copies.close()
        super().close()

    # ---- writers ----

    def enqueue(self, batch: Batch, tables: Mapping[str, Table], origin: int) -> int:
        """Store the batch durably and return its id. Raises OutboxFull: then it is NOT stored."""
        data = data_of(batch.parts)
        of = [tables[part.table] for part in batch.parts if part.table in tables]
        about: dict[str, Any] = {
            "classification": ",".join(sorted({table.classification for table in of})),
            "target_database": ",".join(sorted({table.database for table in of})),
            "data": data, "created_at": time.time(), "tables": ranges_of(batch.parts), "n_rows": batch.n,
            "origin": origin, "checksum": checksum_of(data),
            "lane": min((table.lane for table in of), default=UNKNOWN_LANE),
        }  # fmt: skip
        size = len(data.encode())
        self._must_fit(size, about["lane"])
        began = time.monotonic()
        about["copy_no"] = self._copied(about)
        if about["copy_no"] is not None and time.monotonic() - began > STALLED_S:
            raise NoSecondCopy("The second copy came too late to be relied on.", "Write the batch again.")
        with self._transaction():
            self._must_fit(size, about["lane"])
            return self._insert(about)

    def adopt(self, no: int, body: Mapping[str, Any]) -> bool:
        """Take over a record that a lost file left on another host; False when it is here already."""
        about = {name: body[name] for name in _ABOUT if name != "copy_no"}
        with self._transaction():
            if self._one("SELECT 1 FROM outbox_queue WHERE copy_no = ?", no):
                return False
            self._insert({**about, "copy_no": no})
        return True

    def resolved_copies(self) -> int:
        """Copies with a smaller number are of records that the store has, or that somebody gave up."""
        oldest = self._one("SELECT min(copy_no) FROM outbox_queue WHERE copy_no IS NOT NULL AND status <> 'applied'")[0]
        return (1 << 62) if oldest is None else int(oldest)

    def _copied(self, about: Mapping[str, Any]) -> int | None:
        """The number of the second copy; None where none is kept, or none is insisted on. Raises NoSecondCopy."""
        if self.copies is None or self._copy is None:
            return None
        if time.monotonic() < self._alone_until:
            return None
        try:
            return self.copies.keep(about)
        except (NoSecondCopy, BadRow) as error:
            if not self._copy.alone:
                raise
            if isinstance(error, NoSecondCopy):
                self._alone_until = time.monotonic() + ALONE_S
            return None

    def _insert(self, about: Mapping[str, Any]) -> int:
        cursor = self._db.execute(_INSERT, [about[name] for name in _ABOUT])
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _must_fit(self, size: int, lane: int) -> None:
        room = self.max_bytes if lane <= URGENT_LANE else int(self.max_bytes * OTHERS_SHARE)
        if self.waiting_bytes() + size > room:
            raise OutboxFull(
                f"The outbox {self.path} takes no more: rows that wait take the {room >> 20} MiB that they may.",
                "The store must take rows first (./dr status), or raise outbox_max_mb.",
            )

    def waiting(self, at_most: int = 1, up_to_lane: int = ALL_LANES) -> int:
        """How many records are ready, counted up to `at_most` (cheap however many there are)."""
        query = (
            "SELECT count(*) FROM (SELECT 1 FROM outbox_queue INDEXED BY outbox_ready"
            " WHERE status = 'pending' AND held IS NULL AND lane <= ? LIMIT ?)"
        )
        return int(self._one(query, up_to_lane, at_most)[0])

    def is_held(self, tables: Iterable[str]) -> bool:
        """Whether a record waits for one of these tables."""
        query = "SELECT 1 FROM outbox_queue WHERE status = 'pending' AND held = ? LIMIT 1"
        return any(self._one(query, table) for table in tables)

    # ---- the replayer ----

    def pending(self, max_rows: int, backwards: bool = False, but: frozenset[int] = frozenset()) -> list[Record]:
        """The ready records of the most urgent lane first, oldest first, up to `max_rows` rows but at least one.

        `backwards` looks into the least urgent lane, so that none is forgotten; `but` are left out. A record whose
        checksum is wrong becomes a dead letter, one of a newer version is held: neither holds up the others.
        """
        if not backwards:
            return self._page("held IS NULL ORDER BY lane, id", (), max_rows, but)
        last = self._one("SELECT max(lane) FROM outbox_queue WHERE status = 'pending' AND held IS NULL")[0]
        return self._page("held IS NULL AND lane = ? ORDER BY id", (last,), max_rows, but)

    def pending_one(self, number: int) -> Record | None:
        """This record, where it is ready still."""
        return next(iter(self._page("held IS NULL AND id = ?", (number,), 1, frozenset())), None)

    def pending_for(self, table: str, max_rows: int, newest: bool = False) -> list[Record]:
        """Records that wait for this table, oldest first; or the one that came last."""
        order = "id DESC" if newest else "id"
        return self._page(f"held = ? ORDER BY {order}", (table,), 1 if newest else max_rows, frozenset())

    def _page(self, where: str, values: tuple[object, ...], max_rows: int, but: frozenset[int]) -> list[Record]:
        records: list[Record] = []
        aside: list[tuple[int, str, str | None, str]] = []
        rows = size = 0
        # Nothing of a caller is in `where`: it is one of the texts above.
        query = f"SELECT {_COLUMNS} FROM outbox_queue WHERE status = 'pending' AND {where}"  # noqa: S608
        with told(self.path), closing(self._db.execute(query, values)) as cursor:
            for number, data, n, origin, checksum, *rest in cursor:
                if number in but:
                    continue
                if records and (rows + n > max_rows or size + len(data) > PAGE_BYTES):
                    break
                try:
                    parts = parts_of(data, checksum)
                except Newer as error:
                    aside.append((number, "pending", NEWER, str(error)))
                    continue
                if parts is None:
                    aside.append((number, "dead", None, "the checksum of the record does not match its data"))
                    continue
                records.append(Record(number, parts, n, origin, *rest))
                rows, size = rows + n, size + len(data)
        if aside:
            with self._transaction():
                for one in aside:
                    self._set_aside(*one)
        return records

    def mark_applied(self, records: Sequence[Record], host: str, timeline: int) -> None:
        """The store has acknowledged these records."""
        with self._transaction():
            self._apply([record.id for record in records], host, timeline)

    def mark_separated(
        self,
        record: Record,
        sound: Sequence[Part],
        poison: Sequence[tuple[Part, str]],
        host: str,
        timeline: int,
        held: Sequence[tuple[Part, str]] = (),
        ready: Sequence[Sequence[Part]] = (),
    ) -> None:
        """The store has acknowledged the sound parts; each poison row becomes a dead letter, what is held waits.

        `ready` parts are records of their own from now on, so that what was learned outlives this session. Nothing
        happens where somebody else decided about the record meanwhile.
        """
        with self._transaction():
            gone = self._db.execute(
                "DELETE FROM outbox_queue WHERE id = ? AND status = 'pending'", (record.id,)
            ).rowcount
            if not gone:
                return
            self._apply([self._insert_piece(record, [part], "pending", None) for part in sound], host, timeline)
            for part, why in poison:
                self._insert_piece(record, [part], "dead", why)
            for part, why in held:
                self._insert_piece(record, [part], "pending", why, part.table)
            for parts in ready:
                self._insert_piece(record, parts, "pending", None)

    def split(self, record: Record, pieces: Sequence[Sequence[Part]]) -> None:
        """Put pieces in the place of a record; each is a record of its own."""
        self.mark_separated(record, (), (), "", 0, ready=pieces)

    def hold(self, records: Sequence[Record], table: str, why: str) -> None:
        """These wait for the table; `release` ends it."""
        with self._transaction():
            for record in records:
                self._set_aside(record.id, "pending", table, why)
                self._db.execute("UPDATE outbox_queue SET retry_count = retry_count + 1 WHERE id = ?", (record.id,))

    def release(self, table: str, at_most: int = 500) -> int:
        """So many records that waited for this table are ready again; returns how many there were."""
        with told(self.path):
            return self._db.execute(
                "UPDATE outbox_queue SET held = NULL WHERE id IN (SELECT id FROM outbox_queue"
                " WHERE status = 'pending' AND held = ? ORDER BY id LIMIT ?)",
                (table, at_most),
            ).rowcount

    def bury(self, record: Record, why: str) -> None:
        """This record becomes a dead letter as it is."""
        with told(self.path):
            self._set_aside(record.id, "dead", None, why)

    def note_failure(self, first_id: int, why: str) -> None:
        """The replayer could not apply this record for now."""
        with told(self.path):
            self._db.execute(
                "UPDATE outbox_queue SET retry_count = retry_count + 1, last_error = ? WHERE id = ?",
                (why, first_id),
            )

    def applied_parts(self) -> Iterator[Part]:
        """Of what the store took from here lately, the newest first."""
        with told(self.path):
            found = self._db.execute(
                "SELECT CAST(data AS BLOB), checksum FROM outbox_queue WHERE status = 'applied'"
                " AND applied_no > ? ORDER BY applied_no DESC LIMIT 50",
                (self.last_applied_no() - 200,),
            ).fetchall()
        for data, checksum in found:
            yield from parts_of(data, checksum) or ()

    def applied_samples(self) -> dict[str, Part]:
        """One row of each table of which the store took some from here lately, to try whether it takes one now."""
        samples: dict[str, Part] = {}
        for part in self.applied_parts():
            if part.table not in samples:
                samples[part.table] = part.rows(0, 1)
        return samples

    # ---- what was applied ----

    def applied_since(self, no: int, origin: int, up_to_id: int) -> list[Applied]:
        """What the store acknowledged after application number `no`, of one origin, in that order."""
        with told(self.path):
            rows = self._db.execute(
                "SELECT applied_no, coalesce(parent_id, id), tables, n_rows, applied_host, applied_timeline"
                " FROM outbox_queue"
                " WHERE applied_no > ? AND origin = ? AND coalesce(parent_id, id) <= ? ORDER BY applied_no",
                (no, origin, up_to_id),
            ).fetchall()
        return [Applied(r[0], r[1], ranges_in(r[2]), r[3], r[4], r[5]) for r in rows]

    def applied_timed(self, since: float) -> Iterator[tuple[float, tuple[Part, ...]]]:
        """What the store took from here at `since` (unix seconds) or later, in the order of application, with its time.

        Only whoever has the turn may ask: what is purged meanwhile would be missing without a word.
        """
        # Only what is there now: the replayer may be applying what the caller makes of this.
        no, last = 0, self.last_applied_no()
        while rows := self._applied_page(no, last, since):
            no = rows[-1][0]
            for _, at, data, checksum in rows:
                parts = parts_of(data, checksum)
                if parts is not None:
                    yield float(at), parts

    def applied_after(self, no: int) -> Iterator[tuple[Part, ...]]:
        """What was applied after this number and is still here, oldest first."""
        last = self.last_applied_no()
        while rows := self._applied_page(no, last, 0.0):
            no = rows[-1][0]
            yield from (parts for parts in (parts_of(row[2], row[3]) for row in rows) if parts is not None)

    def _applied_page(self, after: int, last: int, since: float) -> list[Any]:
        with told(self.path):
            return self._db.execute(
                "SELECT applied_no, applied_at, CAST(data AS BLOB), checksum FROM outbox_queue WHERE applied_no > ?"
                " AND applied_no <= ? AND status = 'applied' AND applied_at >= ? ORDER BY applied_no LIMIT 50",
                (after, last, since),
            ).fetchall()

    def queue_applied_again(self, since: float, only: Sequence[str], origin: int) -> tuple[int, int]:
        """What the store took from here at `since` or later is pending once more, as it is; (records, rows).

        `only` names tables, none means all. Only for whoever has the turn.
        """
        last, records, rows = self.last_applied_no(), 0, 0
        after = 0
        while True:
            with self._transaction():
                found = self._db.execute(
                    "SELECT applied_no, id, n_rows, tables FROM outbox_queue WHERE applied_no > ? AND applied_no <= ?"
                    " AND status = 'applied' AND applied_at >= ? ORDER BY applied_no LIMIT 500",
                    (after, last, since),
                ).fetchall()
                for _, number, n, tables in found:
                    if only and not set(only) & set(ranges_in(tables)):
                        continue
                    # Application numbers never start again, whatever becomes of the last one.
                    self._db.execute(
                        "UPDATE outbox_queue SET status = 'pending', held = NULL, origin = ?, applied_no = NULL,"
                        " applied_at = NULL, applied_host = NULL, applied_timeline = NULL WHERE id = ?",
                        (origin, number),
                    )
                    records, rows = records + 1, rows + n
                self._remember_no(last)
            if not found:
                return records, rows
            after = found[-1][0]

    def last_applied_at(self) -> float:
        """Unix time of the latest application, 0 if there was none."""
        row = self._one(
            "SELECT applied_at FROM outbox_queue WHERE applied_no IS NOT NULL"
            " ORDER BY applied_no DESC LIMIT 1"
        )
        return float(row[0]) if row else 0.0

    def last_applied_no(self) -> int:
        return int(self._one(_LAST_NO)[0])

    def newest_id(self) -> int:
        """The record that was stored last, 0 if there is none."""
        return int(self._one("SELECT coalesce(max(id), 0) FROM outbox_queue")[0])

    def waiting_of(self, origin: int) -> int:
        """Pending rows of one origin."""
        query = "SELECT coalesce(sum(n_rows), 0) FROM outbox_queue WHERE status = 'pending' AND origin = ?"
        return int(self._one(query, origin)[0])

    def purge(self, keep_s: float, at_most: int = 500) -> int:
        """Delete records applied longer ago than `keep_s`, and the oldest where they take more than their room.

        Returns how many. None while somebody has the turn, who may be reading them. The very last one stays.
        """
        lock = self.turn()
        if not lock.take():
            return 0
        try:
            return self._purge(keep_s, at_most)
        finally:
            lock.release()

    def _purge(self, keep_s: float, at_most: int) -> int:
        now = time.time()
        oldest, newest = now - keep_s, now + max(keep_s, 3600.0)
        if self.clock_jumped(keep_s):  # nothing is as old as it seems
            oldest, newest = -math.inf, math.inf
        with self._transaction():
            self._remember_no(self.last_applied_no())
            full = self._one("SELECT bytes FROM outbox_sizes WHERE status = 'applied'")[0] > self.max_bytes
            # What a clock that was wrong stamped ahead of now is not young for ever.
            return self._db.execute(
                "DELETE FROM outbox_queue WHERE id IN (SELECT id FROM outbox_queue WHERE status = 'applied'"
                " AND (? OR applied_at < ? OR applied_at > ?)"
                " AND applied_no < (SELECT max(applied_no) FROM outbox_queue WHERE applied_no IS NOT NULL)"
                " ORDER BY applied_at LIMIT ?)",
                (full, oldest, newest, at_most),
            ).rowcount

    def clock_jumped(self, keep_s: float) -> bool:
        """Whether this host's clock jumped while what is kept for `keep_s` was applied."""
        return clock.jumped(self.path.with_name(self.path.name + ".clock"), keep_s)

    # ---- inside ----

    def _insert_piece(
        self, record: Record, parts: Sequence[Part], status: str, why: str | None, held: str | None = None
    ) -> int:
        data = data_of(parts)
        cursor = self._db.execute(
            "INSERT INTO outbox_queue (classification, target_database, data, created_at, tables, n_rows, origin,"
            " checksum, status, last_error, parent_id, lane, held, copy_no)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.classification, record.target_database, data, record.created_at, ranges_of(parts),
                sum(part.n for part in parts), record.origin, checksum_of(data), status, why,
                record.parent or record.id, record.lane, held, record.copy_no,
            ),
        )  # fmt: skip
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _apply(self, numbers: Sequence[int], host: str, timeline: int) -> None:
        no, now = self.last_applied_no(), time.time()
        for number in numbers:
            no += self._db.execute(
                "UPDATE outbox_queue SET status = 'applied', held = NULL, last_error = NULL, applied_at = ?,"
                " applied_host = ?, applied_timeline = ?, applied_no = ? WHERE id = ? AND status = 'pending'",
                (now, host, timeline, no + 1, number),
            ).rowcount

    def _remember_no(self, no: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO outbox_facts VALUES ('applied_no', ?)", (str(no),))

    def _set_aside(self, number: int, status: str, held: str | None, why: str) -> None:
        self._db.execute(
            "UPDATE outbox_queue SET status = ?, held = ?, last_error = ? WHERE id = ? AND status = 'pending'",
            (status, held, why, number),
        )
