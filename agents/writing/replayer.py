"""Drain the outbox into the store, in order, as soon as the store takes writes again.

    python3 -m agents.writing.replayer --config FILE            run as a service; SIGTERM finishes the transaction in
    hand python3 -m agents.writing.replayer --config FILE --once     drain now and print what was done as one JSON
    object

`--once` beside a running service does not compete with it: it watches the service drain. Exit code 1 when
rows still wait.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from agents.base.config import DEFAULT, Config, Table, load_config, load_tables
from agents.base.errors import NoPrimary, run
from agents.writing.backend import AnyStore, Failure, backend, is_at_fault
from agents.writing.lease import Lease
from agents.writing.outbox import Outbox
from agents.writing.records import Record
from agents.writing.rival import RivalWatch

BUSY_POLL_S, IDLE_POLL_S = 0.02, 0.2
LIVELY_S = 5.0  # for so long after work the outbox is looked at every BUSY_POLL_S
SEARCH_S = 10.0
PING_AFTER_S, PING_S = 0.3, 0.3
# The first transaction of a session is small: after a failover it ends the silence of the store.
FIRST_ROWS = 500
# A transaction that hangs (no synchronous standby, frozen host) is given up ever more slowly: each one given
# up may stay behind on the server, holding a connection and its rows.
DEADLINE_S, DEADLINE_MAX_S = 3.0, 30.0
RETRY_S = 0.1
PURGE_EVERY_S = 10.0


@dataclass
class Done:
    """What this process has applied so far."""

    rows: int = 0
    records: int = 0
    dead: int = 0
    host: str | None = None
    timeline: int | None = None


class Replayer:
    """Needs the lease. `step` does one transaction."""

    def __init__(
        self, config: Config, tables: dict[str, Table], outbox: Outbox, stop: threading.Event
    ) -> None:
        self.done = Done()
        self._config = config
        self._tables = tables
        self._outbox = outbox
        self._stop = stop
        self._backend = backend(config, "mystocks-replayer")
        self._store: AnyStore | None = None
        self._fresh = True
        self._used_at = 0.0
        self._deadline_s = DEADLINE_S
        self._said = ""

    def step(self, search_s: float = SEARCH_S) -> bool:
        """Apply the oldest records in one transaction. False when nothing could be applied now."""
        try:
            store = self._ready_store(search_s)
            limit = min(FIRST_ROWS, self._config.replay_rows) if self._fresh else self._config.replay_rows
            records = self._outbox.pending(limit)
            if not records:
                return False
            started = time.monotonic()
            self._apply(store, records)
        except NoPrimary as error:
            self._say(str(error))
            return False
        except Failure as error:
            self.close()
            self._deadline_s = min(self._deadline_s * 2, DEADLINE_MAX_S)
            self._say(f"The store failed: {str(error).strip()}")
            return False
        self._fresh = False
        self._deadline_s = DEADLINE_S
        self._used_at = time.monotonic()
        self._slow_down(sum(record.n for record in records), self._used_at - started)
        return True

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _ready_store(self, search_s: float) -> AnyStore:
        store = self._store
        if store is not None and not store.closed and time.monotonic() - self._used_at > PING_AFTER_S:
            try:
                store.ping(PING_S)
            except Failure:
                self.close()
        if self._store is None or self._store.closed:
            primary = self._backend.connect(search_s, self._stop)
            self._store = self._backend.open(primary, self._tables)
            self._fresh = True
            self._say(f"The store is {primary.name} ({primary.host}) on timeline {primary.timeline}.")
        return self._store

    def _apply(self, store: AnyStore, records: Sequence[Record]) -> None:
        try:
            with RivalWatch(self._config, store.primary, store.abandon) if self._backend.has_rivals else nullcontext():
                store.write([part for record in records for part in record.parts], self._deadline_s)
        except Failure as error:
            if not is_at_fault(error):
                self._outbox.note_failure(records[0].id, str(error).strip())
                raise
            if len(records) == 1:
                self._separate(store, records[0])
                return
            middle = len(records) // 2
            self._apply(store, records[:middle])
            self._apply(store, records[middle:])
            return
        primary = store.primary
        self._outbox.mark_applied(records, primary.host, primary.timeline)
        self._count(store, sum(record.n for record in records), len(records))

    def _separate(self, store: AnyStore, record: Record) -> None:
        sound, poison = store.write_sound_rows(record.parts, DEADLINE_MAX_S)
        self._outbox.mark_separated(record, sound, poison, store.primary.host, store.primary.timeline)
        self._count(store, sum(part.n for part in sound), 1)
        self.done.dead += len(poison)
        for part, why in poison:
            _log(f"Dead letter: event {part.first} of {part.table}: {why}")

    def _count(self, store: AnyStore, rows: int, records: int) -> None:
        self.done.rows += rows
        self.done.records += records
        self.done.host, self.done.timeline = store.primary.host, store.primary.timeline

    def _slow_down(self, rows: int, took_s: float) -> None:
        if self._config.replay_rows_per_s:
            self._stop.wait(max(0.0, rows / self._config.replay_rows_per_s - took_s))

    def _say(self, sentence: str) -> None:
        """Log a change of state once, not at every try."""
        if sentence != self._said:
            _log(sentence)
            self._said = sentence


def serve(config: Config, outbox: Outbox, replayer: Replayer, stop: threading.Event) -> None:
    """Drain until told to stop."""
    worked_at = purged_at = 0.0
    while not stop.is_set():
        now = time.monotonic()
        if outbox.waiting():
            worked_at = now
            if replayer.step():
                continue
            stop.wait(RETRY_S)
        else:
            if now - purged_at > PURGE_EVERY_S:
                purged_at = now
                outbox.purge(config.outbox.keep_applied_s)
            stop.wait(BUSY_POLL_S if now - worked_at < LIVELY_S else IDLE_POLL_S)


def drain_once(outbox: Outbox, replayer: Replayer, timeout_s: float, stop: threading.Event) -> None:
    """Drain until the outbox is empty or the time is over."""
    end = time.monotonic() + timeout_s
    while outbox.waiting() and not stop.is_set() and (left := end - time.monotonic()) > 0:
        if not replayer.step(left):
            stop.wait(RETRY_S)


def watch(outbox: Outbox, timeout_s: float, stop: threading.Event) -> None:
    """Wait until the service has emptied the outbox or the time is over."""
    end = time.monotonic() + timeout_s
    while outbox.waiting() and not stop.is_set() and time.monotonic() < end:
        stop.wait(BUSY_POLL_S)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.replayer", description="Drain the outbox into the store.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument(
        "--once", action="store_true", help="drain now, print JSON, exit 1 when rows still wait"
    )
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for --once")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    lease = Lease(config.outbox.path)
    replayer = Replayer(config, load_tables(config.tables), outbox, stop)
    mine = lease.take()
    try:
        if options.once:
            return _once(outbox, replayer, mine, options.timeout, stop)
        while not mine and not stop.wait(1.0):
            mine = lease.take()
        serve(config, outbox, replayer, stop)
    finally:
        replayer.close()
        lease.release()
        outbox.close()
    return 0


def _once(outbox: Outbox, replayer: Replayer, mine: bool, timeout_s: float, stop: threading.Event) -> int:
    started, before = time.monotonic(), outbox.status()
    if mine:
        drain_once(outbox, replayer, timeout_s, stop)
    else:
        watch(outbox, timeout_s, stop)
    after, done = outbox.status(), replayer.done
    report = {
        "by": "once" if mine else "service",
        "applied_rows": done.rows if mine else after.applied_rows - before.applied_rows,
        "applied_records": done.records if mine else after.applied_records - before.applied_records,
        "dead_rows": after.dead_rows,
        "pending_rows": after.pending_rows,
        "host": done.host,
        "timeline": done.timeline,
        "last_error": after.last_error,
        "seconds": round(time.monotonic() - started, 3),
    }
    print(json.dumps(report), flush=True)
    return 1 if after.pending_rows else 0


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run(main))
