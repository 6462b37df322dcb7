"""A made-up session written by the tracker's batch writer, every acknowledgement told on standard output.

    python3 -m agents.tracker.feed --config FILE [--rate 300] [--seconds N] [--seed N] [--every 1.0]

The lines are those of agents.feed.feeder, which a drill reads. Stops when standard input is closed, on SIGTERM, or
after --seconds.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from agents.base.config import load_config
from agents.base.errors import OutboxFull, run
from agents.feed.feeder import Follower, Ledger, Pace, new_run
from agents.tracker.batches import DEFAULT, EVERY_S, BatchWriter
from agents.tracker.ending import when_told
from agents.tracker.market import Row, Session
from agents.tracker.rows import FED
from agents.writing.batch import RUN_SHIFT, Batch
from agents.writing.clock import CLOCK
from agents.writing.outbox import Outbox
from agents.writing.writer import Ack

TURN_S = 0.02  # rows come in turns of so long
RETRY_S = 0.2


class Numbers:
    """Ids of a run, each table's without holes, so that a ledger can say them as ranges."""

    def __init__(self, run_number: int) -> None:
        self._run = run_number
        self._next = {table: itertools.count(1) for table in FED}

    def __call__(self, table: str) -> int:
        return self._run << RUN_SHIFT | next(self._next[table])


def _give(writer: BatchWriter, row: Row, ledger: Ledger, stop: threading.Event) -> None:
    """Until it is taken: what has no room anywhere is waited for."""
    while not stop.is_set():
        try:
            writer.enqueue(*row)
            return
        except OutboxFull as error:
            ledger.down(str(error))
            stop.wait(RETRY_S)


def _feed(options: argparse.Namespace, stop: threading.Event) -> None:
    config = load_config(options.config)
    run_number = new_run(config.outbox.path.with_name(CLOCK))
    outbox, ledger = Outbox.of(config), Ledger(run_number)
    follower = Follower(config, ledger, run_number, outbox.last_applied_no())

    def heard(batch: Batch, ack: Ack, ms: float) -> None:
        ledger.ack(batch, ack, ms)

    writer = BatchWriter(config, every_s=options.every, heard=heard, ids=Numbers(run_number), origin=run_number)
    ledger.say("start", run=run_number, rate=options.rate, tables=list(FED))
    follower.start()
    writer.start()
    session = Session(options.seed).rows()
    pace, turn = Pace(options.rate, 0, options.seconds), max(1, int(options.rate * TURN_S))
    try:
        while not stop.is_set():
            for row in itertools.islice(session, turn):
                _give(writer, row, ledger, stop)
            pace.wait(turn, stop)
    finally:
        try:
            writer.stop()
        finally:
            follower.finish()
            ledger.say("stop", acked=ledger.acked, outbox_pending=outbox.waiting_of(run_number))
            outbox.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tracker.feed", description="Write a session of the stock tracker.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--rate", type=float, default=300.0, help="rows a second")
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between two batches")
    # Its batches are a second of rows, however many.
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rate <= 0 or options.every <= 0:
        parser.error("--rate and --every must be positive")
    _feed(options, when_told())
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
