"""A market feed.

Writes rows at a steady rate and reports every acknowledgement on standard output, one JSON object a line.

    python3 -m agents.feed.feeder --config FILE [--rate 6000] [--batch 300] [--seconds N] [--seed N]
        [--run N --first SEQ]

Stops when standard input is closed, on SIGTERM, or after --seconds. Lines: start, ack, replayed (rows that
the outbox had acknowledged and the store now holds), store_down, store_up, stop.

With --run and --first it goes on with a run whose host died, at a number that was never given away, and reports what
was replayed of it since.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.base.config import DEFAULT, Config, Table, load_config, load_tables
from agents.base.errors import OutboxFull, run
from agents.feed.market import SHARES, Market, fitted
from agents.feed.ticks import SHARES as TICK_SHARES
from agents.feed.ticks import Ticks
from agents.writing.batch import RUN_SHIFT, SEQ_MASK, Batch, encode
from agents.writing.clock import CLOCK, FRACTION_BITS, Clock
from agents.writing.outbox import Outbox
from agents.writing.writer import Ack, By, Writer

POLL_S = 0.02
MAX_ARREARS_S = 1.0  # a feed that fell behind catches up at most this much at once
RETRY_S = 0.2
LINGER_S = 5.0  # at the end, for a replayer that is still at it


class Ledger:
    """The lines on standard output, from two threads. Knows whether the store answered last."""

    def __init__(self, run_number: int) -> None:
        self._lock = threading.Lock()
        self._run = run_number
        self._down = False
        self.acked = 0
        self.acked_record = 0

    def say(self, kind: str, **facts: object) -> None:
        with self._lock:
            self._write(kind, facts)

    def ack(self, batch: Batch, ack: Ack, ms: float) -> None:
        rows = {part.table: [part.first & SEQ_MASK, part.last & SEQ_MASK] for part in batch.parts}
        with self._lock:
            if ack.by is By.OUTBOX:
                self._down_because(ack.why or "")
            else:
                self._up(ack.host, ack.timeline)
            facts: dict[str, object] = {"by": ack.by.value, "rows": rows, "n": batch.n}
            self._write("ack", {**facts, "host": ack.host, "timeline": ack.timeline, "ms": round(ms, 1)})
            self.acked += batch.n
            # Only now: "replayed" must not overtake the acknowledgement.
            self.acked_record = ack.record or self.acked_record

    def replayed(self, tables: Mapping[str, Sequence[int]], n: int, host: str, timeline: int) -> None:
        rows = {table: [first & SEQ_MASK, last & SEQ_MASK] for table, (first, last, _) in tables.items()}
        with self._lock:
            self._up(host, timeline)
            self._write("replayed", {"rows": rows, "n": n, "host": host, "timeline": timeline})

    def down(self, why: str) -> None:
        with self._lock:
            self._down_because(why)

    def _down_because(self, why: str) -> None:
        if not self._down:
            self._down = True
            self._write("store_down", {"why": why})

    def _up(self, host: str | None, timeline: int | None) -> None:
        if self._down:
            self._down = False
            self._write("store_up", {"host": host, "timeline": timeline})

    def _write(self, kind: str, facts: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps({"kind": kind, **facts}, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class Follower(threading.Thread):
    """Reports what the replayer has applied of this run's outbox records.

    Has its own connection to the outbox.
    """

    def __init__(self, config: Config, ledger: Ledger, run_number: int, since: int) -> None:
        super().__init__(daemon=True, name="follower")
        self._config, self._ledger, self._run_number, self._seen = config, ledger, run_number, since
        self._finish = threading.Event()

    def run(self) -> None:
        outbox = Outbox.of(self._config)
        try:
            while not self._finish.wait(POLL_S):
                self._report(outbox)
            end = time.monotonic() + LINGER_S
            while outbox.waiting_of(self._run_number) and time.monotonic() < end:
                self._finish.clear()
                self._finish.wait(POLL_S)
                self._report(outbox)
            self._report(outbox)
        finally:
            outbox.close()

    def finish(self) -> None:
        """Report the rest, waiting a little for a replayer that is still at it."""
        self._finish.set()
        self.join(LINGER_S * 2)

    def _report(self, outbox: Outbox) -> None:
        up_to = self._ledger.acked_record
        if not up_to:
            return
        for applied in outbox.applied_since(self._seen, self._run_number, up_to):
            self._seen = applied.no
            self._ledger.replayed(applied.tables, applied.n, applied.host, applied.timeline)


def pour(
    market: Market | Ticks,
    tables: dict[str, Table],
    writer: Writer,
    ledger: Ledger,
    pace: Pace,
    stop: threading.Event,
) -> None:
    """Write batch after batch until told to stop."""
    while not stop.is_set():
        batch = encode(tables, fitted(tables, market.batch(pace.batch)))
        stop.wait(_write(batch, writer, ledger, stop))
        pace.wait(batch.n, stop)


class Pace:
    """`rate` rows a second in batches of about `batch`, for `seconds` (None: without end)."""

    def __init__(self, rate: float, batch: int, seconds: float | None) -> None:
        self.batch = batch
        self._rate = rate
        self._next = time.monotonic()
        self._end = None if seconds is None else self._next + seconds

    def wait(self, rows: int, stop: threading.Event) -> None:
        now = time.monotonic()
        self._next = max(self._next + rows / self._rate, now - MAX_ARREARS_S)
        if self._end is not None and now >= self._end:
            stop.set()
        elif self._next > now:
            stop.wait(self._next - now)


def _write(batch: Batch, writer: Writer, ledger: Ledger, stop: threading.Event) -> float:
    """Write one batch; an outbox that is full is waited for, since nothing else may take the rows.

    Returns how long to rest, for an outbox that fills up.
    """
    while True:
        started = time.monotonic()
        try:
            ack = writer.write(batch)
        except OutboxFull as error:
            ledger.down(str(error))
            if stop.wait(RETRY_S):
                return 0.0
            continue
        ledger.ack(batch, ack, (time.monotonic() - started) * 1000)
        return ack.slow_down_s


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.feed.feeder", description="Write a market feed and report acknowledgements."
    )
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--rate", type=float, default=6000.0, help="rows a second")
    parser.add_argument("--batch", type=int, default=300, help="rows a batch")
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=int, help="go on with this run")
    parser.add_argument("--first", type=int, default=0, help="the number that its rows begin behind")
    options = parser.parse_args(arguments)
    if options.rate <= 0 or options.batch < len(SHARES):
        parser.error(f"--rate must be positive and --batch at least {len(SHARES)}")
    config = load_config(options.config)
    if options.run is not None and config.tdengine:
        parser.error("--run goes on with a feed of PostgreSQL: bars of TDengine have minutes of their own in each run")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    _feed(config, options, stop)
    return 0


def new_run(clock: Path) -> int:
    """A second of event ids that nobody on this host has been given, or ever will be: its rows are newer than all.

    By the time alone a host whose clock was set back would begin a run that every table of the newest row disregards.
    """
    a_second = 1 << FRACTION_BITS
    given = Clock(clock, 0).reserve(2 * a_second)  # there is a whole second in two, wherever they begin
    return (given[0] >> RUN_SHIFT) + 1


def _feed(config: Config, options: argparse.Namespace, stop: threading.Event) -> None:
    goes_on = options.run is not None
    run_number = options.run if goes_on else new_run(config.outbox.path.with_name(CLOCK))
    tables = load_tables(config.tables)
    outbox = Outbox.of(config)
    ledger = Ledger(run_number)
    # What the outbox holds of a run that goes on was acknowledged by the process that died.
    ledger.acked_record = outbox.newest_id() if goes_on else 0
    follower = Follower(config, ledger, run_number, 0 if goes_on else outbox.last_applied_no())
    writer = Writer(config, tables, outbox, run_number)
    shares = TICK_SHARES if config.tdengine else SHARES
    # How rows are numbered, by which a drill tells that one took the place of another of the same key.
    numbered = {} if config.tdengine else {"first": options.first, "batch": Market.counts(options.batch)}
    ledger.say("start", run=run_number, rate=options.rate, tables=list(shares), **numbered)
    follower.start()
    try:
        pace = Pace(options.rate, options.batch, options.seconds)
        market = Ticks(run_number, options.seed) if config.tdengine else Market(run_number, options.seed, options.first)
        pour(market, tables, writer, ledger, pace, stop)
    finally:
        writer.close()
        follower.finish()
        ledger.say("stop", acked=ledger.acked, outbox_pending=outbox.waiting_of(run_number))
        outbox.close()


def _stop_at_end_of_input(stop: threading.Event) -> None:
    # Not sys.stdin: a thread that still waits inside its buffer makes the interpreter abort at exit.
    while os.read(0, 4096):
        continue
    stop.set()


if __name__ == "__main__":
    sys.exit(run(main))
