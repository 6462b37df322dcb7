"""Put records into the store, and tell apart what goes wrong: the store, the row, bad luck, or the table.

The store is away: what it raises is raised, and the record waits. Bad luck (a deadlock): the same again. Refused: halve
until the row stands alone, in pieces that are kept, so that no session has to begin anew. Whether a refused row is at
fault is decided by its like: where others of its table go through it is a dead letter with the store's words, whatever
their code; where none does the table is missing or was changed, and its rows wait while everything else goes on. A
refusal that names no value is heard once more after others went in: the table may have been made in between.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

from agents.base.config import Config, Table
from agents.base.failures import Kind, Refusal
from agents.writing.backend import AnyStore, Backend, Failure, kind_of, refusal
from agents.writing.batch import Part
from agents.writing.outbox import NEWER, Outbox
from agents.writing.records import Record
from agents.writing.rival import RivalWatch
from agents.writing.stalls import Stalls

PIECES = 4  # into which a record is split that ends every session
CHUNK, SEPARATE_S = 1000, 30.0  # rows of a record that are separated in one transaction, and the time for it
FEW = 20  # rows; so many that name a value of theirs may all be at fault, more are more likely the table's
JUST_NOW_S = 5.0
UNDECIDED_S = 600.0  # a part of a store that crashed reads its log again
UNLUCKY_TRIES, UNLUCKY_S = 5, 0.05
# A transaction that hangs (no synchronous standby, frozen host) is given up ever more slowly: each one given up may
# stay behind on the server, holding a connection and its rows. And it is given the time that its rows need.
DEADLINE_S, SLOWEST_ROWS_PER_S, LONGEST = 3.0, 2000.0, 16.0


@dataclass
class Done:
    """What this process has applied so far."""

    rows: int = 0
    records: int = 0
    dead: int = 0
    host: str | None = None
    timeline: int | None = None


class Applying:
    """One session after another; `trying` are the records of the write that is under way, or failed."""

    def __init__(
        self, config: Config, tables: dict[str, Table], outbox: Outbox, backend: Backend, stop: threading.Event,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.done = Done()
        # What another version wrote may be what this one understands.
        while outbox.release(NEWER):
            pass
        self.stalls = Stalls(outbox.held())
        self.trying: Sequence[Record] = ()
        self.patience = 1.0  # times the deadline
        self._config, self._tables, self._outbox, self._backend = config, tables, outbox, backend
        self._stop, self._say = stop, say
        self._went_at: dict[str, float] = {}
        self._undecided: dict[int, float] = {}  # records that ended sessions, and since when

    def apply(self, store: AnyStore, records: Sequence[Record]) -> None:
        """All that the store takes of them. Raises Failure when it is away: what was not marked waits as before."""
        records = self._free(records)
        if not records:
            return
        why = self._written(store, records, [part for record in records for part in record.parts])
        if why is None:
            self._outbox.mark_applied(records, store.primary.host, store.primary.timeline)
            went = {table for record in records for table in record.tables}
            self._went_at.update(dict.fromkeys(went, time.monotonic()))
            self._count(store, sum(record.n for record in records), len(records))
        elif len(records) > 1:
            middle = len(records) // 2
            self.apply(store, records[:middle])
            self.apply(store, records[middle:])
        else:
            self.separate(store, records[0])

    def separate(self, store: AnyStore, record: Record) -> None:
        """What the store takes of one record goes in; what it refuses dies or waits. Raises Failure."""
        if record.n > CHUNK:
            self._outbox.split(record, [[piece] for part in record.parts for piece in part.chunks(CHUNK)])
            return
        self.trying = (record,)
        with self._watched(store):
            sound, refused = store.write_sound_rows(record.parts, SEPARATE_S * self.patience)
        self.trying = ()
        through = {part.table for part in sound}
        dead: list[tuple[Part, Refusal]] = []
        held: list[tuple[Part, str]] = []
        untried: list[list[Part]] = []
        for table in {part.table for part, _ in refused}:
            mine = [(part, why) for part, why in refused if part.table == table]
            if table in through or self._is_at_fault(store, table, mine, record.tries > 0):
                through.add(table)
                late, lost = self._heard_again(store, record, [(part, why) for part, why in mine if part.n == 1])
                sound += late
                dead += lost
                untried += [[part] for part, _ in mine if part.n > 1]
            else:
                held += [(part, str(why)) for part, why in mine]
                self._stalled(table, str(mine[-1][1]))
        for table in through:
            self.stalls.lift(table)
            self._went_at[table] = time.monotonic()
        if not sound and not dead and not untried and len(record.tables) == 1:
            self._outbox.hold([record], held[0][0].table, held[0][1])
            return
        place = store.primary
        self._outbox.mark_separated(
            record, sound, [(part, str(why)) for part, why in dead], place.host, place.timeline, held, untried
        )
        self._count(store, sum(part.n for part in sound), 1 if sound else 0)
        self.done.dead += len(dead)
        for part, why in dead:
            self._say(f"Dead letter: event {part.first} of {part.table}: {why}")

    def _heard_again(
        self, store: AnyStore, record: Record, refused: Sequence[tuple[Part, Refusal]]
    ) -> tuple[list[Part], list[tuple[Part, Refusal]]]:
        """What of these rows goes in now that others of their table did, and what does not. Raises Failure."""
        sure = [(part, why) for part, why in refused if why.of_row]
        doubtful = [part for part, why in refused if not why.of_row]
        if not doubtful:
            return [], sure
        self.trying = (record,)
        with self._watched(store):
            late, lost = store.write_sound_rows(doubtful, SEPARATE_S * self.patience)
        self.trying = ()
        return late, [*sure, *lost]

    def try_held(self, store: AnyStore, table: str) -> None:
        """See whether the table takes rows again: the newest that waits for it, then the oldest. Raises Failure."""
        if table not in self._tables:
            self.stalls.stall(table, self.stalls.why(table))
            if not self._outbox.is_held([table]):
                self.stalls.lift(table)
            return
        candidates = {
            record.id: record
            for newest in (True, False)
            for record in self._outbox.pending_for(table, 1, newest)[:1]
        }
        if not candidates:
            self.stalls.lift(table)
        for record in candidates.values():
            if table in self.stalls:
                try:
                    self.separate(store, record)
                except Failure as error:
                    self.stalls.stall(table, str(error).strip())
                    raise
        if table not in self.stalls:
            self._say(f"{table} takes rows again.")

    def set_apart(self, store: AnyStore, record: Record) -> bool:
        """Deal with a record whose write hangs or ends every session; False where it may be the store.

        Rows of other tables go in, and of its own: it is at fault and is split. A single row is tried once more, for
        the store may have been away and be back; it becomes a dead letter where one that goes to the same place went
        in just before. Only rows of others: its table is at fault (somebody holds a lock on it), and its rows wait.
        Raises Failure.
        """
        if len(record.tables) > 1:
            self._outbox.split(record, [[part] for part in record.parts])
            return True
        (table,) = record.tables
        samples = self._samples(record)
        others = [row for name, row in samples.items() if name != table]
        neighbour = self._neighbour(record) if record.n == 1 else None
        if not samples:
            return False
        if others:
            self._tried(store, others[0])  # raises where it is the store
        try:
            at_fault = table in samples and self._tried(store, neighbour or samples[table])
        except Failure as error:
            if others:
                self._stalled(table, str(error).strip())
                self._outbox.hold([record], table, self.stalls.why(table))
            raise
        if not at_fault:
            return False
        if record.n > 1:
            rows = max(1, record.n // PIECES)
            self._outbox.split(record, [[piece] for part in record.parts for piece in part.chunks(rows)])
        elif neighbour is None and not self._long_undecided(record):
            return False
        else:
            self._last_try(store, record)
        return True

    def _last_try(self, store: AnyStore, record: Record) -> None:
        """A single row that may be at fault goes in now or becomes a dead letter. Raises Failure."""
        try:
            self.apply(store, [record])
        except Failure:
            self.trying = ()
            self._outbox.bury(record, "each try ended the session with the store; others of its table went in")
            self.done.dead += 1
            (part,) = record.parts
            self._say(f"Dead letter: event {part.first} of {part.table}: it ends every session")
            raise

    def _neighbour(self, record: Record) -> Part | None:
        """A row of what went in before, or else of what waits, that goes to the same place as this single one."""
        (mine,) = record.parts
        table = self._tables[mine.table]
        place = self._backend.place(mine, table)
        waiting = (part for other in self._outbox.pending(CHUNK, but=frozenset([record.id])) for part in other.parts)
        parts = (part for part in chain(self._outbox.applied_parts(), waiting) if part.table == table.name)
        rows = (row for part in parts for row in part.chunks(1))
        return next((row for row in rows if self._backend.place(row, table) == place), None)

    def _long_undecided(self, record: Record) -> bool:
        """Of a row without a neighbour only time tells that it is the row, and not its part of the store."""
        now = time.monotonic()
        return now - self._undecided.setdefault(record.id, now) >= UNDECIDED_S

    def _samples(self, but: Record) -> dict[str, Part]:
        """A row of each table, of what went in before or else of what waits: writing one early changes nothing."""
        waiting = [part for record in self._outbox.pending(CHUNK, but=frozenset([but.id])) for part in record.parts]
        return {**{part.table: part.rows(0, 1) for part in reversed(waiting)}, **self._outbox.applied_samples()}

    def _tried(self, store: AnyStore, row: Part) -> bool:
        """Whether this row goes in. Raises Failure when the store is away."""
        self.trying = ()
        try:
            with self._watched(store):
                store.write([row], self._deadline_s(1))
        except Failure as error:
            if kind_of(error) is not Kind.REFUSED or store.closed:
                raise
            return False
        return True

    def _free(self, records: Sequence[Record]) -> list[Record]:
        """Those whose tables all take rows, as far as is known; the others are held, in part where a part can go."""
        free: list[Record] = []
        for record in records:
            blocked = {table for table in record.tables if table in self.stalls or table not in self._tables}
            if not blocked:
                free.append(record)
                continue
            for table in blocked:
                self._stalled(table, "") if table not in self.stalls else self.stalls.soon(table)
            if blocked == record.tables:
                table = min(blocked)
                self._outbox.hold([record], table, self._why(table))
            else:
                held = [(part, self._why(part.table)) for part in record.parts if part.table in blocked]
                rest = [part for part in record.parts if part.table not in blocked]
                self._outbox.mark_separated(record, (), (), "", 0, held, [rest])
        return free

    def _why(self, table: str) -> str:
        return self.stalls.why(table) if table in self._tables else f"the catalogue has no table {table}"

    def _stalled(self, table: str, why: str) -> None:
        if table not in self.stalls:
            self._say(f"{table} takes nothing, its rows wait: {why or self._why_unknown(table)}")
        self.stalls.stall(table, why or self._why_unknown(table))

    def _why_unknown(self, table: str) -> str:
        return f"the catalogue has no table {table}"

    def _written(self, store: AnyStore, records: Sequence[Record], parts: Sequence[Part]) -> Refusal | None:
        """None when it was acknowledged, else why not. Raises Failure when the store is away."""
        self.trying = records
        for nth in range(1, UNLUCKY_TRIES + 1):
            try:
                with self._watched(store):
                    store.write(parts, self._deadline_s(sum(part.n for part in parts)))
                self.trying = ()
                return None
            except Failure as error:
                kind = kind_of(error)
                if kind is Kind.AWAY or store.closed:
                    self._outbox.note_failure(records[0].id, str(error).strip())
                    raise
                if kind is Kind.REFUSED or nth == UNLUCKY_TRIES:
                    self.trying = ()
                    return refusal(error)
                self._stop.wait(UNLUCKY_S * 2**nth * random.random())  # noqa: S311 - so that two do not meet again
        return None

    def _is_at_fault(
        self, store: AnyStore, table: str, refused: Sequence[tuple[Part, Refusal]], again: bool
    ) -> bool:
        """Whether these rows are, and not their table, of which nothing went in with them.

        Where no row can be tried again one that went in just now will do, if these were refused before it did.
        """
        takes = self._takes_a_row(store, table)
        if takes is not None:
            return takes
        if again and time.monotonic() - self._went_at.get(table, float("-inf")) < JUST_NOW_S:
            return True
        few = len(refused) < FEW and all(part.n == 1 for part, _ in refused)
        return few and all(why.of_row for _, why in refused)

    def _takes_a_row(self, store: AnyStore, table: str) -> bool | None:
        """Whether a row goes in that went in before, which changes nothing; None where there is none to try."""
        known = self._tables.get(table)
        if known is None or not (self._backend.compares or known.on_conflict == "ignore"):
            return None
        row = self._outbox.applied_samples().get(table)
        return None if row is None else self._tried(store, row)

    def _watched(self, store: AnyStore) -> RivalWatch | nullcontext[None]:
        if not self._backend.has_rivals:
            return nullcontext()
        return RivalWatch(self._config, store.primary, store.abandon)

    def _deadline_s(self, rows: int) -> float:
        return (DEADLINE_S + rows / SLOWEST_ROWS_PER_S) * self.patience

    def _count(self, store: AnyStore, rows: int, records: int) -> None:
        self.done.rows += rows
        self.done.records += records
        self.done.host, self.done.timeline = store.primary.host, store.primary.timeline
