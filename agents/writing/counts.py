"""What is in an outbox, and what became of all that was ever put into it: enqueued = applied + dead + pending."""

from __future__ import annotations

import time
from dataclasses import dataclass

from agents.writing.outbox_file import PAGE, OutboxFile

COPIES = "copies"  # the fact on second copies: {error, orphans}
RATE = "rate"  # the fact that the replayer notes: [rows a second, unix time]
PACE = "pace"  # the fact that an operator told: {rows_per_s, gentle}, or null


@dataclass(frozen=True)
class Status:
    """Counts of rows and records; `oldest_age_s` is None when nothing waits.

    Of the pending ones `held_records` wait for a table, whose name and the store's words are in `held`. `fill` is how
    much of its room what waits takes, 0 to 1. `applied_rows` counts all that ever left for the store;
    `rows_per_s` is what leaves now, `last_rows_per_s` what left when something did.
    `told_rows_per_s`: the pace that somebody told the replayer to keep until nothing waits, 0 for no limit.
    `copy_error`: why no second copy is kept, where one should be; `orphans`: copies of a lost file, to be adopted.
    """

    pending_records: int
    pending_rows: int
    dead_rows: int
    applied_records: int
    applied_rows: int
    oldest_age_s: float | None
    last_error: str | None
    size_bytes: int
    max_bytes: int
    held_records: int = 0
    held: dict[str, str] | None = None
    fill: float = 0.0
    rows_per_s: float | None = None
    last_rows_per_s: float | None = None
    lanes: dict[str, int] | None = None
    copy_error: str = ""
    orphans: int = 0
    told_rows_per_s: float | None = None


@dataclass(frozen=True)
class Account:
    """Rows of one table in one lane, over the file's life. `pending` and `dead` are counted anew, the rest is kept.

    Rows that are queued again are pending once more: `applied` says how many are in the store as far as it said so.
    """

    table: str
    lane: int
    enqueued: int
    applied: int
    dead: int
    pending: int
    discarded: int

    @property
    def missing(self) -> int:
        return self.enqueued - self.applied - self.dead - self.pending - self.discarded


class Counting(OutboxFile):
    """Counts that cost the same however many records there are, and one that looks at all of them."""

    def waiting_bytes(self) -> int:
        """What the store has not taken yet, dead letters included."""
        return int(self._one("SELECT coalesce(sum(bytes), 0) FROM outbox_sizes WHERE status <> 'applied'")[0])

    def fill(self) -> float:
        """How much of the room for waiting rows is taken, 0 to 1: a client slows down before it is told no."""
        return min(1.0, self.waiting_bytes() / self.max_bytes)

    def status(self) -> Status:
        records = {row[0]: int(row[1]) for row in self._all("SELECT status, records FROM outbox_sizes")}
        rows = self._one(
            "SELECT coalesce(sum(pending), 0), coalesce(sum(dead), 0), coalesce(sum(applied), 0) FROM outbox_totals"
        )
        oldest = self._one(
            "SELECT created_at, last_error FROM outbox_queue WHERE id ="
            " (SELECT min(id) FROM outbox_queue WHERE status = 'pending')"
        )
        held = self.held()
        rate = self.noted(RATE)
        copies, told = self.noted(COPIES) or {}, self.noted(PACE)
        used = self._pragma("page_count") - self._pragma("freelist_count")
        return Status(
            pending_records=records.get("pending", 0),
            pending_rows=int(rows[0]),
            dead_rows=int(rows[1]),
            applied_records=records.get("applied", 0),
            applied_rows=int(rows[2]),
            oldest_age_s=None if oldest is None else max(0.0, time.time() - oldest[0]),
            last_error=self._said(held) or (oldest[1] if oldest else None),
            size_bytes=used * PAGE,
            max_bytes=self.max_bytes,
            held_records=sum(self._held_records(table) for table in held),
            held={table: self._why(table) for table in held},
            fill=round(self.fill(), 4),
            rows_per_s=float(rate[0]) if rate and 0 <= time.time() - rate[1] < 60 else None,
            copy_error=str(copies.get("error", "")),
            orphans=int(copies.get("orphans", 0)),
            told_rows_per_s=float(told["rows_per_s"]) if told else None,
            last_rows_per_s=float(rate[0]) if rate else None,
            lanes={
                str(lane): int(pending)
                for lane, pending in self._all(
                    "SELECT lane, sum(pending) FROM outbox_totals GROUP BY lane HAVING sum(pending) > 0 ORDER BY lane"
                )
            },
        )

    def held(self) -> list[str]:
        """The tables for which records wait, each found by one look into the index."""
        found: list[str] = []
        query = "SELECT min(held) FROM outbox_queue WHERE status = 'pending' AND held IS NOT NULL AND held > ?"
        while (row := self._one(query, found[-1] if found else ""))[0] is not None:
            found.append(str(row[0]))
        return found

    def accounts(self) -> list[Account]:
        """By table and lane, with what waits and what is dead counted record by record; all of one moment."""
        with self._snapshot():
            there = {
                (tbl, lane): (int(dead), int(pending))
                for tbl, lane, dead, pending in self._all(
                    "SELECT e.key, q.lane, sum(json_extract(e.value, '$[2]') * (q.status = 'dead')),"
                    " sum(json_extract(e.value, '$[2]') * (q.status = 'pending'))"
                    " FROM outbox_queue AS q, json_each(iif(json_valid(q.tables), q.tables, '{}')) AS e"
                    " WHERE q.status IN ('pending', 'dead') GROUP BY 1, 2"
                )
            }
            kept = {
                (tbl, lane): rest
                for tbl, lane, *rest in self._all("SELECT tbl, lane, enqueued, applied, discarded FROM outbox_totals")
            }
        return [
            Account(*place, enqueued, applied, *there.get(place, (0, 0)), discarded)
            for place, (enqueued, applied, discarded) in (
                (place, kept.get(place, (0, 0, 0))) for place in sorted({*kept, *there})
            )
        ]

    def _held_records(self, table: str) -> int:
        return int(self._one("SELECT count(*) FROM outbox_queue WHERE status = 'pending' AND held = ?", table)[0])

    def _why(self, table: str) -> str:
        row = self._one(
            "SELECT last_error FROM outbox_queue WHERE id = (SELECT min(id) FROM outbox_queue"
            " WHERE status = 'pending' AND held = ?)", table,
        )  # fmt: skip
        return str(row[0]) if row and row[0] else ""

    def _said(self, held: list[str]) -> str | None:
        return self._why(held[0]) or None if held else None
