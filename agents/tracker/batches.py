"""The tracker's batch writer: rows are collected and go to the store once a second, all of a second in one commit.

    writer = BatchWriter.open("/etc/mystocks-dr/agent-tracker.json")
    writer.start()
    writer.enqueue_trade(trade)     # from any thread, or a callback of asyncio: it does not wait for the store
    writer.stop()

Nothing is dropped. What a queue has no room for goes to the outbox of this host, synced, and from there to the store;
so does a batch that the store does not take in time. Where the outbox has no room either `enqueue` raises OutboxFull,
and the row is the caller's still. A row is acknowledged when its batch is: until then, a second at most, it is in
memory.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.config import Config, load_config, load_tables
from agents.base.errors import AgentError, BadConfig, BadRow
from agents.tracker import rows
from agents.tracker.queue import ClockIds, Ids, Line, Queue, batches
from agents.writing.batch import Batch
from agents.writing.clock import CLOCK, Clock
from agents.writing.outbox import Outbox
from agents.writing.writer import Ack, By, Writer

EVERY_S = 1.0
LIMIT = 10_000  # rows of one table in memory, as the seed has it; as many again while a batch is under way
DEFAULT = Path("/etc/mystocks-dr/agent-tracker.json")
Heard = Callable[[Batch, Ack, float], None]  # a batch, who acknowledged it, within how many milliseconds


class Unwritten(AgentError):  # noqa: N818 - named after what the rows are
    """The writer was stopped while neither store nor outbox took its last rows."""


@dataclass
class Counts:
    """Rows since the start, by who acknowledged them; `spilled` of those of the outbox had no room in memory."""

    store: int = 0
    outbox: int = 0
    spilled: int = 0


class BatchWriter:
    """`heard` is told of every acknowledged batch, from the thread that wrote it. `ids` and `origin`: for a drill."""

    def __init__(
        self, config: Config, *, every_s: float = EVERY_S, limit: int = LIMIT, heard: Heard = lambda *_: None,
        ids: Ids | None = None, origin: int | None = None,
    ) -> None:  # fmt: skip
        if config.node is None:
            raise BadConfig("agent-tracker.json names no node.", "Deploy this host again.")
        self._tables = load_tables(config.tables)
        clock = Clock(config.outbox.path.with_name(CLOCK), config.node)
        self._mark = clock.reserve(1)[0] if origin is None else origin
        numbers = ids or ClockIds(clock)
        self._queues = {name: Queue(self._tables[name], numbers, limit) for name in rows.FED if name in self._tables}
        if not self._queues:
            raise BadConfig(f"{config.tables} has no table of the tracker.", "Deploy this host again.")
        self._every_s, self._heard = every_s, heard
        # The one that writes, and whoever finds a queue full, each with a connection of its own.
        self._outbox, self._spare = Outbox.of(config), Outbox.of(config)
        self._writer = Writer(config, self._tables, self._outbox, self._mark)
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.counts = Counts()

    @classmethod
    def open(cls, config: str | Path = DEFAULT, **options: Any) -> BatchWriter:
        """Nothing is connected yet. Raises BadConfig."""
        return cls(load_config(Path(config)), **options)

    def enqueue_trade(self, one: Any) -> None:
        """These four raise BadRow for a row that no store takes, OutboxFull where there is no room for it at all."""
        self.enqueue(rows.TRADES, rows.trade(one))

    def enqueue_foreign(self, one: Any) -> None:
        self.enqueue(rows.FOREIGN, rows.foreign(one))

    def enqueue_basis(self, one: Any) -> None:
        self.enqueue(rows.BASIS, rows.basis(one))

    def enqueue_alert(self, one: Any) -> None:
        self.enqueue(rows.ALERTS, rows.alert(one))

    def enqueue(self, table: str, row: Mapping[str, object]) -> None:
        """A row as a dict by column."""
        if table not in self._queues:
            raise BadRow(f"{table} is no table of the tracker's feed.", f"It has {', '.join(self._queues)}.")
        queue = self._queues[table]
        with self._lock:
            if queue.full:
                self._spill(queue)
            queue.put(queue.check(row))

    def _spill(self, queue: Queue) -> None:
        """All that the queue holds goes to the outbox. Raises OutboxFull: what is not there then is in the queue."""
        lines = queue.take()
        at = 0
        try:
            for batch, counts in batches(self._tables, {queue.table.name: lines}):
                started = time.monotonic()
                record = self._spare.enqueue(batch, self._tables, self._mark)
                at += counts[queue.table.name]
                self.counts.spilled += batch.n
                self._told(batch, Ack(By.OUTBOX, record=record, why="the queue is full"), started)
        finally:
            queue.put_back(lines[at:])

    def start(self) -> None:
        """Begin to write once a second."""
        self._thread = threading.Thread(target=self._run, name="tracker-batches", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic() + self._every_s
        said = ""
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._every_s, time.monotonic())
            try:
                self.flush()
                said = ""
            except AgentError as error:  # its rows wait in their queues, and are tried again
                if str(error) != said:
                    said = str(error)
                    print(f"{error} HINT: {error.hint}", file=sys.stderr, flush=True)

    def flush(self) -> int:
        """Write what there is now; the number of rows. Raises AgentError: what is not acknowledged waits on."""
        with self._writing:
            with self._lock:
                taken = {name: lines for name, queue in self._queues.items() if (lines := queue.take())}
            done = dict.fromkeys(taken, 0)
            try:
                for batch, counts in batches(self._tables, taken):
                    started = time.monotonic()
                    self._told(batch, self._writer.write(batch), started)
                    for name, n in counts.items():
                        done[name] += n
            finally:
                self._put_back({name: lines[done[name] :] for name, lines in taken.items()})
        return sum(done.values())

    def _put_back(self, left: Mapping[str, list[Line]]) -> None:
        with self._lock:
            for name, lines in left.items():
                self._queues[name].put_back(lines)

    def _told(self, batch: Batch, ack: Ack, started: float) -> None:
        ms = (time.monotonic() - started) * 1000
        if ack.by is By.STORE:
            self.counts.store += batch.n
        else:
            self.counts.outbox += batch.n
        self._heard(batch, ack, ms)

    @property
    def waiting(self) -> int:
        """Rows in memory that nobody has acknowledged yet, those of a batch that is under way not counted."""
        with self._lock:
            return sum(map(len, self._queues.values()))

    def stop(self) -> None:
        """Write the rest and end. Raises Unwritten naming how many rows neither store nor outbox took."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        except AgentError as error:
            sentence = f"{self.waiting:,} rows were not acknowledged: {error}"
            raise Unwritten(sentence, error.hint) from error
        finally:
            self._writer.close()
            self._outbox.close()
            self._spare.close()
