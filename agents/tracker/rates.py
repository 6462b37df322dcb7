"""Time the tracker's writer and its history on this host: prints one JSON object.

    python3 -m agents.tracker.rates --config FILE [--url http://127.0.0.1:8435] [--batches 120] [--rate 1000]
        [--every 1.0] [--reads 500] [--symbols VN30]

`batch_ms`: of each batch, a second of rows in one commit; `outbox`: batches that the store did not acknowledge.
`daily_ms`: of each question for a year of daily bars over HTTP; `bars`: the least rows that an answer had.
The rows stay in the database: this is for a lab.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from agents.base.config import Config, load_config
from agents.base.errors import AgentError, run
from agents.tracker.batches import DEFAULT, BatchWriter
from agents.tracker.history.questions import YEAR
from agents.tracker.history.service import PORT
from agents.tracker.market import VN30, Session
from agents.writing.batch import Batch
from agents.writing.writer import Ack, By

LEAST = 100  # of anything: fewer have no slowest of a hundred
TURN_S = 0.02
PATIENCE = 10  # times as long as the batches ought to take


@dataclass
class Heard:
    """Milliseconds of each batch that the store acknowledged, and how many the outbox did."""

    ms: list[float] = field(default_factory=list)
    outbox: int = 0
    rows: int = 0

    def __call__(self, batch: Batch, ack: Ack, ms: float) -> None:
        self.rows += batch.n
        if ack.by is By.STORE:
            self.ms.append(round(ms, 2))
        else:
            self.outbox += 1


def batches(config: Config, n: int, rate: float, every_s: float) -> Heard:
    """So many batches at this rate; an outbox of their own keeps what the store does not take."""
    heard, session = Heard(), Session(int(time.time())).rows()
    turn, wait = max(1, int(rate * TURN_S)), threading.Event()
    with tempfile.TemporaryDirectory(dir=config.outbox.path.parent) as folder:
        apart = replace(config, outbox=replace(config.outbox, path=Path(folder) / "outbox.db", copy=None))
        writer = BatchWriter(apart, every_s=every_s, heard=heard)
        writer.enqueue(*next(session))
        writer.flush()  # finds the store, which is paid once
        heard.ms.clear()
        writer.start()
        due = time.monotonic()
        ends = due + PATIENCE * n * every_s
        while len(heard.ms) + heard.outbox < n and time.monotonic() < ends:
            for row in itertools.islice(session, turn):
                writer.enqueue(*row)
            due += turn / rate
            wait.wait(max(0.0, due - time.monotonic()))
        writer.stop()
    return heard


def daily(url: str, n: int, symbols: Sequence[str], today: str) -> tuple[list[float], int]:
    """Milliseconds of each of `n` questions for a year, and the least bars in an answer. Raises AgentError."""
    parts, chance = urlsplit(url), random.Random(1)  # noqa: S311 - which symbol
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    found, bars = [], 10**9
    try:
        for _ in range(n):
            symbol = chance.choice(symbols)
            started = time.monotonic()
            connection.request("GET", f"/api/history/{symbol}/daily?to={today}")
            answer = connection.getresponse()
            text = answer.read()
            found.append(round((time.monotonic() - started) * 1000, 2))
            if answer.status != 200:
                raise AgentError(f"The history answers {answer.status}: {text.decode()[:200]}.", "./dr status")
            bars = min(bars, len(json.loads(text)["rows"]))
    finally:
        connection.close()
    return found, bars


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tracker.rates", description="How fast the tracker writes and reads.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--url", default=f"http://127.0.0.1:{PORT}")
    parser.add_argument("--batches", type=int, default=120)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--reads", type=int, default=500)
    parser.add_argument("--today", required=True, help="the last day of the year that is asked for")
    parser.add_argument("--symbols", default=",".join(VN30))
    options = parser.parse_args(arguments)
    if options.batches < LEAST or options.reads < LEAST:
        raise AgentError("So few would measure nothing.", f"--batches and --reads are at least {LEAST}.")
    heard = batches(load_config(options.config), options.batches, options.rate, options.every)
    asked, bars = daily(options.url, options.reads, options.symbols.split(","), options.today)
    said = {"batch_ms": heard.ms, "outbox": heard.outbox, "rows": heard.rows, "daily_ms": asked, "bars": bars}
    print(json.dumps({**said, "days": YEAR // timedelta(days=1)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
