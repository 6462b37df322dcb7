"""Write so that the caller never waits long and never loses an acknowledged row.

Store up: the store acknowledges. Anything else (error, timeout, no primary, an ambiguous commit): the batch
goes to the outbox and that acknowledges. While rows that are as urgent are ready there, new batches queue behind them,
since the store may be away; so do those of a table for which records wait. When the replayer has emptied it, the writer
goes back to the store by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agents.base.config import UNKNOWN_LANE, Config, Table
from agents.base.errors import NoPrimary
from agents.base.failures import Kind
from agents.writing.backend import AnyStore, Failure, backend, kind_of
from agents.writing.batch import Batch
from agents.writing.outbox import ALL_LANES, Outbox
from agents.writing.shadow import Shadow

# A batch that meets an almost empty outbox waits this long for the replayer to finish, because a steady
# stream of small batches would otherwise keep the outbox from ever being empty. Well below the longest
# silence we allow (1 s).
HANDOVER_S = 0.15
HANDOVER_RECORDS = 3
HANDOVER_POLL_S = 0.004
REFUSED_S = 2.0  # for so long after a refusal what waits does not mean that the store is away
SLOW_FROM, SLOWEST_S = 0.5, 1.0  # share of the outbox's room, and the rest after a batch when it is full
# A batch may be of any size: beyond an ordinary one a store this slow has time for it.
ORDINARY_ROWS, SLOWEST_ROWS_PER_S = 2000, 3000.0


class By(str, Enum):
    """Who acknowledged."""

    STORE = "store"
    OUTBOX = "outbox"


@dataclass(frozen=True)
class Ack:
    """`host` and `timeline` when the store acknowledged.

    `record` (the outbox id), `why` and `fill` when the outbox did: how much of its room is taken, 0 to 1. Whoever
    writes on at full speed beyond a half (see `slow_down_s`) is told no at 1.
    """

    by: By
    host: str | None = None
    timeline: int | None = None
    record: int | None = None
    why: str | None = None
    fill: float = 0.0


    @property
    def slow_down_s(self) -> float:
        """How long to rest before the next batch, so that nobody is told no: nothing while half the room is free."""
        return max(0.0, self.fill - SLOW_FROM) / (1 - SLOW_FROM) * SLOWEST_S


class Writer:
    """One stream of batches, for one thread at a time. `origin` marks its records in the outbox."""

    def __init__(
        self,
        config: Config,
        tables: dict[str, Table],
        outbox: Outbox,
        origin: int,
        connect: Callable[[float], Any] | None = None,
        open_store: Callable[[Any, dict[str, Table]], AnyStore] | None = None,
    ) -> None:
        reached = backend(config, "mystocks-writer")
        self._shadow = Shadow(config.shadow, origin) if config.shadow else None
        self._deadline_s = config.deadline_s
        self._tables = tables
        self._outbox = outbox
        self._origin = origin
        self._connect = connect or (lambda timeout_s: reached.connect(timeout_s, None))
        self._open_store = open_store or reached.open
        self._compares = reached.compares
        self._store: AnyStore | None = None
        self._tick = threading.Event()
        self._refused_at = float("-inf")

    def write(self, batch: Batch, late: bool = False) -> Ack:
        """Acknowledge the batch, by the store or by the outbox, within about the deadline, which grows with it.

        `late` rows may be older than what is there. A store that keeps whatever is written last gets them from the
        replayer, which looks first.

        Raises OutboxFull or OutboxDamaged: then the batch is not acknowledged (it may be in the store) and
        may be written again as it is.
        """
        if late and not self._compares and any(self._is_newest(part.table) for part in batch.parts):
            return self._queue(batch, "the store may hold newer rows")
        if self._must_queue(batch):
            return self._queue(batch, "the outbox is being drained")
        end = time.monotonic() + self._deadline_s + max(0, batch.n - ORDINARY_ROWS) / SLOWEST_ROWS_PER_S
        try:
            store = self._ready_store(end)
            store.write(batch.parts, end - time.monotonic())
        except (NoPrimary, *Failure) as error:
            if isinstance(error, NoPrimary) or kind_of(error) is Kind.AWAY:
                self._leave_store()
            else:
                self._refused_at = time.monotonic()
            return self._queue(batch, str(error).strip() or type(error).__name__)
        if self._shadow is not None:
            self._shadow.keep(batch)
        return Ack(By.STORE, store.primary.host, store.primary.timeline)

    def close(self) -> None:
        self._leave_store()
        if self._shadow is not None:
            self._shadow.close()

    def _is_newest(self, table: str) -> bool:
        return table in self._tables and self._tables[table].on_conflict == "newest"

    def _leave_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _queue(self, batch: Batch, why: str) -> Ack:
        record = self._outbox.enqueue(batch, self._tables, self._origin)
        return Ack(By.OUTBOX, record=record, why=why, fill=self._outbox.fill())

    def _ready_store(self, end: float) -> AnyStore:
        if self._store is None or self._store.closed:
            self._store = self._open_store(self._connect(end - time.monotonic()), self._tables)
        return self._store

    def _must_queue(self, batch: Batch) -> bool:
        names = {part.table for part in batch.parts}
        # What is less urgent may be overtaken where the store itself sees which row of a key is the newer one.
        lanes = [self._tables[name].lane for name in names if name in self._tables]
        lane = min(lanes, default=UNKNOWN_LANE) if self._compares else ALL_LANES
        if self._outbox.is_held(names):
            return True
        end = time.monotonic() + HANDOVER_S
        while waiting := self._outbox.waiting(HANDOVER_RECORDS + 1, lane):
            draining = 0.0 <= time.time() - self._outbox.last_applied_at() < 1.0
            if waiting > HANDOVER_RECORDS or not draining or time.monotonic() > end:
                # The old session belongs to a primary that may be gone, unless the store has just answered.
                if time.monotonic() - self._refused_at > REFUSED_S:
                    self._leave_store()
                return True
            self._tick.wait(HANDOVER_POLL_S)
        return False
