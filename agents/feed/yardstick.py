"""Time our two ways of writing beside a bare COPY of as many rows of the same tables: prints one JSON object.

    python3 -m agents.feed.yardstick --config FILE [--rows 40000] [--rounds 3]

`store` is the feed's synchronous path, batch by batch; `copy` a COPY and a commit for each batch of the same size;
`replay` drains an outbox of its own; `bulk` is one COPY a table and one commit. Ways are interleaved, so that a
machine that is busy for a while slows all of them. The rows have run numbers that no feed has; `first` and `last`
bound their event ids, for who removes them afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2 import sql

from agents.base.config import DEFAULT, Config, Table, load_config, load_tables
from agents.base.errors import AgentError, run
from agents.feed.market import Market
from agents.postgresql.primary import find_primary
from agents.postgresql.store import merged
from agents.writing.batch import RUN_SHIFT, Batch, Part, encode
from agents.writing.outbox import Outbox
from agents.writing.replayer import Replayer, drain_once
from agents.writing.writer import By, Writer

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

TABLES = ("order_records", "transaction_records")  # no natural key of theirs ever repeats
BATCH = 430  # of the market, which makes 300 rows of these two
NO_FEED = 1_000_000_000  # a feed's run is the unix time at which it began, which is above this
PATIENCE_S = 60.0
WAYS = ("store", "copy", "replay", "bulk")
Rows = list[dict[str, list[tuple[object, ...]]]]


@dataclass(frozen=True)
class Bench:
    """What every way writes with. `folder` is on the outbox's own disk."""

    config: Config
    tables: dict[str, Table]
    connection: Connection
    folder: Path

    def seconds(self, way: str, number: int, rows: int) -> float:
        """Of writing so many rows of this run, which are made before. Raises AgentError unless all of them arrive."""
        market, batches = Market(number), max(1, rows // 300)
        made = [{name: batch[name] for name in TABLES} for batch in (market.batch(BATCH) for _ in range(batches + 1))]
        took = {"store": self._store, "copy": self._copy, "replay": self._replay, "bulk": self._bulk}[way](number, made)
        wanted, found = sum(len(rows) for batch in made for rows in batch.values()), self._count(number)
        if found != wanted:
            raise AgentError(f"Of {wanted} rows written by {way} {found} are there.", "Is the estate whole?")
        return took

    def _store(self, number: int, made: Rows) -> float:
        """As the feed does it: encode, write, be acknowledged by the store, keep a shadow."""
        config = self._apart("store")
        with self._outbox("store") as outbox, closing(Writer(config, self.tables, outbox, number)) as ours:
            return _timed(made, lambda rows: self._acknowledged(ours, encode(self.tables, rows)))

    def _acknowledged(self, writer: Writer, batch: Batch) -> None:
        ack = writer.write(batch)
        if ack.by is not By.STORE:
            raise AgentError(f"The store did not acknowledge: {ack.why}.", "./dr status")

    def _replay(self, number: int, made: Rows) -> float:
        """The rows wait in an outbox; what is timed is that they leave it."""
        first, *others = [encode(self.tables, rows) for rows in made]
        config, never = self._apart("replay"), threading.Event()
        with self._outbox("replay") as outbox, closing(Replayer(config, self.tables, outbox, never)) as ours:
            outbox.enqueue(first, self.tables, number)
            self._drain(outbox, ours)
            for batch in others:
                outbox.enqueue(batch, self.tables, number)
            began = time.monotonic()
            self._drain(outbox, ours)
            return time.monotonic() - began

    def _drain(self, outbox: Outbox, replayer: Replayer) -> None:
        drain_once(outbox, replayer, PATIENCE_S, threading.Event())
        if outbox.waiting():
            raise AgentError(f"The outbox was not drained within {PATIENCE_S:g} s.", "./dr status")

    def _copy(self, number: int, made: Rows) -> float:
        ready = [encode(self.tables, rows).parts for rows in made]
        return _timed(ready, self._copied)

    def _bulk(self, number: int, made: Rows) -> float:
        first, *others = [encode(self.tables, rows).parts for rows in made]
        return _timed([first, merged(part for parts in others for part in parts)], self._copied)

    def _copied(self, parts: Sequence[Part]) -> None:
        with self.connection.cursor() as cursor:
            for part in parts:
                columns = sql.SQL(", ").join(map(sql.Identifier, part.columns))
                statement = sql.SQL("COPY public.{} ({}) FROM STDIN").format(sql.Identifier(part.table), columns)
                cursor.copy_expert(statement, io.BytesIO(part.text.encode()))
        self.connection.commit()

    def _count(self, number: int) -> int:
        """Rows of this run in every table of ours."""
        found = 0
        with self.connection.cursor() as cursor:
            for table in TABLES:
                statement = sql.SQL("SELECT count(*) FROM public.{} WHERE event_id >= %s AND event_id < %s")
                cursor.execute(statement.format(sql.Identifier(table)), bounds(number, number))
                row = cursor.fetchone()
                found += int(row[0]) if row else 0
        self.connection.commit()
        return found

    def _apart(self, way: str) -> Config:
        """The same settings with an outbox and a shadow of our own: nothing of this is ever replayed."""
        outbox = replace(self.config.outbox, path=self.folder / f"{way}.db")
        shadow = self.config.shadow and replace(self.config.shadow, path=self.folder / f"{way}.shadow")
        return replace(self.config, outbox=outbox, shadow=shadow)

    @contextmanager
    def _outbox(self, way: str) -> Iterator[Outbox]:
        path = self.folder / f"{way}.db"
        for file in self.folder.glob(f"{path.name}*"):
            file.unlink()
        with closing(Outbox(path)) as outbox:
            yield outbox


def _timed(items: Sequence[object], action: object) -> float:
    """Seconds of all but the first, which pays for what is paid once: a session, a staging table, a chunk."""
    assert callable(action)
    action(items[0])
    began = time.monotonic()
    for item in items[1:]:
        action(item)
    return time.monotonic() - began


def bounds(first: int, last: int) -> tuple[int, int]:
    """Event ids of these runs: from the first, to but without the second."""
    return first << RUN_SHIFT, (last + 1) << RUN_SHIFT


def measure(config: Config, rows: int, rounds: int) -> dict[str, object]:
    """Seconds by way, in the order of the rounds."""
    number = first = int(time.time() * 64) % NO_FEED  # another one at the next call, also a second later
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with (
        tempfile.TemporaryDirectory(dir=config.outbox.path.parent) as folder,
        closing(find_primary(config, PATIENCE_S, "mystocks-yardstick").connection) as connection,
    ):
        bench = Bench(config, load_tables(config.tables), connection, Path(folder))
        for _ in range(rounds):
            for way in WAYS:
                seconds[way].append(round(bench.seconds(way, number, rows), 4))
                number += 1
    lowest, above = bounds(first, number - 1)
    return {"rows": rows, "first": lowest, "last": above - 1, "tables": list(TABLES), "seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.feed.yardstick", description="Our ways to write, beside a bare COPY.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.rows < 300 or options.rounds < 1:
        raise AgentError("Fewer than 300 rows, or no round, would measure nothing.", "--rows 40000 --rounds 3")
    print(json.dumps(measure(load_config(options.config), options.rows, options.rounds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
