"""Drain the outbox into the store as soon as the store takes writes again: what is urgent first, oldest first.

    python3 -m agents.writing.replayer --config FILE          run as a service; SIGTERM finishes what is in hand
    python3 -m agents.writing.replayer --config FILE --once   drain now and print what was done as one JSON object

`--once` beside a running service does not compete with it: it watches the service drain. Exit code 1 when rows still
wait. The service survives whatever the file or the disk does: it says so, waits, and goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.base.config import DEFAULT, Config, Table, load_config, load_tables
from agents.base.errors import AgentError, NoPrimary, OutboxBusy, OutboxFull, OutboxGone, run
from agents.writing.applying import LONGEST, Applying, Done
from agents.writing.backend import AnyStore, Failure, backend
from agents.writing.copies import Copies, NoSecondCopy
from agents.writing.counts import COPIES, RATE
from agents.writing.lease import Lease
from agents.writing.outbox import Outbox
from agents.writing.pace import Paced
from agents.writing.room import Reserve

BUSY_POLL_S, IDLE_POLL_S = 0.02, 0.2
LIVELY_S = 5.0  # for so long after work the outbox is looked at every BUSY_POLL_S
SEARCH_S = 10.0
PING_AFTER_S, PING_S = 0.3, 0.3
# The first transaction of a session is small: after a failover it ends the silence of the store.
FIRST_ROWS = 500
RETRY_S, RETRY_MAX_S = 0.1, 2.0
PURGE_EVERY_S, PURGE_S, PURGED, RATE_EVERY_S = 10.0, 2.0, 500, 2.0
TURNS = 5  # every so many transactions the least urgent lane has its turn
# A write that ends the session is tried again with half the rows. Where a record alone did so this often another one is
# sent instead: if that goes in, the record is set apart.
STRIKES = 2


class Replayer:
    """Needs the lease. `step` does one transaction."""

    def __init__(
        self, config: Config, tables: dict[str, Table], outbox: Outbox, stop: threading.Event
    ) -> None:
        self._config = config
        self._tables = tables
        self._outbox = outbox
        self._stop = stop
        self._backend = backend(config, "mystocks-replayer")
        self.applying = Applying(config, tables, outbox, self._backend, stop, _log)
        self._reserve = Reserve(config.outbox.path)
        self._pace = Paced(outbox, config.replay_rows_per_s)
        self._store: AnyStore | None = None
        self._fresh = True
        self._used_at = 0.0
        self._said = ""
        self._turn = 0
        self._failures = 0
        self._struck, self._strikes = 0, 0
        self._at_most = config.replay_rows
        self._rate_at, self._rate_rows = time.monotonic(), 0

    @property
    def done(self) -> Done:
        return self.applying.done

    @property
    def due(self) -> bool:
        """Whether a table is to be looked at again for which records wait."""
        return bool(self.applying.stalls.lifted) or self.applying.stalls.due() is not None

    def step(self, search_s: float = SEARCH_S) -> bool:
        """Do one transaction, or more where rows are refused. False when nothing could be done now."""
        self.applying.trying = ()
        try:
            worked = self._step(search_s)
        except NoPrimary as error:
            self._say(str(error))
            return False
        except Failure as error:
            self.close()
            self._failed(f"The store failed: {str(error).strip()}")
            self._strike()
            return False
        except OutboxBusy as error:
            self._say(str(error))
            return False
        except OutboxFull as error:
            # The store may have taken the rows: they are written again, which changes nothing.
            given = self._reserve.give()
            self._failed(f"{error}{' The reserve is given back.' if given else ''}")
            return given
        except OutboxGone:
            raise
        except AgentError as error:
            self._failed(str(error))
            return False
        self.applying.patience = 1.0
        self._failures = 0
        self._used_at = time.monotonic()
        return worked

    def pause_s(self) -> float:
        """How long to wait after a step that could do nothing: ever longer, and not all at the same moment."""
        longer: float = RETRY_S * 2.0 ** min(max(0, self._failures - 1), 10)
        return min(longer, RETRY_MAX_S) * (0.75 + random.random() / 2)  # noqa: S311

    def housekeep(self) -> None:
        """Let go of what was applied long ago, keep the reserve, and forget a pace that was for what waited."""
        # Little at a time, so that no writer waits for it; again while there is more and nobody needs this process.
        until = time.monotonic() + PURGE_S
        while self._outbox.purge(self._config.outbox.keep_applied_s, PURGED) == PURGED and time.monotonic() < until:
            if self._outbox.waiting():
                break
        if not self._outbox.waiting():
            self._pace.emptied()
        self._reserve.lay()
        if self._outbox.copies is not None:
            self._keep_copies(self._outbox.copies)

    def _keep_copies(self, copies: Copies) -> None:
        """Let go of second copies of what the store has; note whether the other host answers, and for whom it keeps."""
        said: dict[str, object] = {"error": "", "orphans": 0}
        try:
            copies.forget(self._outbox.resolved_copies())
            said["orphans"] = copies.orphans()
        except NoSecondCopy as error:
            said["error"] = str(error)
        self._outbox.note(COPIES, said)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _step(self, search_s: float) -> bool:
        store, before = self._ready_store(search_s), self.done.rows
        if self._strikes >= STRIKES and self._set_apart(store):
            return True
        for table in list(self.applying.stalls.lifted):
            if not self._outbox.release(table):
                self.applying.stalls.lifted.discard(table)
        held = self.applying.stalls.due()
        if held is not None:
            self.applying.try_held(store, held)
        started = time.monotonic()
        records = self._outbox.pending(self._limit(), backwards=self._turn % TURNS == TURNS - 1)
        if not records and held is None:
            return False
        self._turn += 1
        self.applying.apply(store, records)
        self._at_most = min(max(1, self._at_most * 2), self._config.replay_rows)
        self._fresh = False
        rows = self.done.rows - before
        self._note_rate(rows)
        self._stop.wait(self._pace.wait_s(rows, time.monotonic() - started))
        return bool(records) or rows > 0

    def _limit(self) -> int:
        return min(FIRST_ROWS, self._at_most) if self._fresh else self._at_most

    def _ready_store(self, search_s: float) -> AnyStore:
        store = self._store
        if store is not None and not store.closed and time.monotonic() - self._used_at > PING_AFTER_S:
            try:
                store.ping(PING_S)
            except Failure:
                self.close()
        if self._store is None or self._store.closed:
            primary = self._backend.connect(search_s, self._stop)
            self._store = self._backend.open_late(primary, self._tables)
            self._fresh = True
            self._say(f"The store is {primary.name} ({primary.host}) on timeline {primary.timeline}.")
        return self._store

    def _strike(self) -> None:
        """The session ended under these records: their fault, or the store's."""
        trying = self.applying.trying
        if not trying:
            self._be_patient()  # other rows fared no better
            return
        self._at_most = max(1, sum(record.n for record in trying) // 2)
        if len(trying) == 1:
            self._strikes = self._strikes + 1 if trying[0].id == self._struck else 1
            self._struck = trying[0].id

    def _set_apart(self, store: AnyStore) -> bool:
        record, self._strikes = self._outbox.pending_one(self._struck), 0
        if record is not None and self.applying.set_apart(store, record):
            return True
        self._be_patient()
        return False

    def _be_patient(self) -> None:
        self.applying.patience = min(self.applying.patience * 2, LONGEST)

    def _note_rate(self, rows: int) -> None:
        self._rate_rows += rows
        took = time.monotonic() - self._rate_at
        if took >= RATE_EVERY_S:
            if self._rate_rows:
                self._outbox.note(RATE, [round(self._rate_rows / took, 1), time.time()])
            self._rate_at, self._rate_rows = time.monotonic(), 0

    def _failed(self, sentence: str) -> None:
        self._failures += 1
        self._say(sentence)

    def _say(self, sentence: str) -> None:
        """Log a change of state once, not at every try."""
        if sentence != self._said:
            _log(sentence)
            self._said = sentence


def serve(outbox: Outbox, replayer: Replayer, stop: threading.Event) -> None:
    """Drain until told to stop, whatever the file or its disk does."""
    worked_at = kept_at = float("-inf")
    said = ""
    while not stop.is_set():
        try:
            now = time.monotonic()
            if outbox.waiting() or replayer.due:
                worked_at = now
                if not replayer.step():
                    stop.wait(replayer.pause_s())
            else:
                stop.wait(BUSY_POLL_S if now - worked_at < LIVELY_S else IDLE_POLL_S)
            if now - kept_at > PURGE_EVERY_S:
                kept_at = now
                replayer.housekeep()
        except OutboxGone:
            raise  # whoever starts this again opens the one that has the name now
        except AgentError as error:
            if str(error) != said:
                said = str(error)
                _log(f"{said}{' HINT: ' + error.hint if error.hint else ''}")
            stop.wait(RETRY_MAX_S)


def drain_once(outbox: Outbox, replayer: Replayer, timeout_s: float, stop: threading.Event) -> None:
    """Drain until nothing is ready or the time is over; what waits for a table is tried once."""
    end = time.monotonic() + timeout_s
    while (outbox.waiting() or replayer.due) and not stop.is_set() and (left := end - time.monotonic()) > 0:
        if not replayer.step(left):
            stop.wait(min(replayer.pause_s(), max(0.0, end - time.monotonic())))


def watch(outbox: Outbox, timeout_s: float, stop: threading.Event) -> None:
    """Wait until the service has emptied the outbox or the time is over."""
    end = time.monotonic() + timeout_s
    while outbox.waiting() and not stop.is_set() and time.monotonic() < end:
        stop.wait(BUSY_POLL_S)


def opened(config: Config, stop: threading.Event) -> Outbox | None:
    """The outbox, waited for while its file cannot be used; None when told to stop."""
    said = ""
    while not stop.is_set():
        try:
            return Outbox.of(config)
        except AgentError as error:
            if str(error) != said:
                said = str(error)
                _log(f"{said}{' HINT: ' + error.hint if error.hint else ''}")
            stop.wait(RETRY_MAX_S)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.replayer", description="Drain the outbox into the store.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument(
        "--once", action="store_true", help="drain now, print JSON, exit 1 when rows still wait"
    )
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for --once")
    parser.add_argument("--rate", type=float, help="rows a second at most; 0: no limit")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.rate is not None:
        config = replace(config, replay_rows_per_s=options.rate)
    tables = load_tables(config.tables)
    outbox = Outbox.of(config) if options.once else opened(config, stop)
    if outbox is None:
        return 0
    lease = Lease(config.outbox.path)
    replayer: Replayer | None = None
    try:
        mine = _taken(lease, stop, wait=not options.once)
        replayer = Replayer(config, tables, outbox, stop)
        if options.once:
            return _once(outbox, replayer, mine, options.timeout, stop)
        if mine:
            serve(outbox, replayer, stop)
    finally:
        if replayer is not None:
            replayer.close()
        lease.release()
        outbox.close()
    return 0


def _taken(lease: Lease, stop: threading.Event, wait: bool) -> bool:
    """The right to replay; a lock file that cannot be used (somebody else's) is said once and waited for."""
    said = ""
    while not stop.is_set():
        try:
            if lease.take():
                return True
        except AgentError as error:
            if not wait:
                raise
            if str(error) != said:
                said = str(error)
                _log(f"{said} HINT: {error.hint}")
        if not wait or stop.wait(1.0):
            return False
    return False


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
