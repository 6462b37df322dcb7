"""Time our two ways of writing beside a bare COPY of as many rows of the same tables: prints one JSON object.

    python3 -m agents.feed.yardstick --config FILE [--rows 40000] [--rounds 3]

`store` is the feed's synchronous path, batch by batch; `copy` a COPY and a commit for each batch of the same size;
`replay` drains an outbox of its own; `bulk` is one COPY a table and one commit. Ways take turns, the first two at
every batch, so that a machine that is busy for a while slows all of them. The rows have run numbers that no feed has;
`first` and `last` bound their event ids, for who removes them afterwards.
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
from agents.feed.market import Market, fitted
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

    def seconds(self, number: int, rows: int) -> dict[str, float]:
        """Of one round, each way with a run of its own from this one on. Raises AgentError unless all rows arrive."""
        made = [self._made(number + nth, rows) for nth in range(len(WAYS))]
        store, copy = self._batch_by_batch(number, made[0], made[1])
        took = {"store": store, "copy": copy, "replay": self._replay(number + 2, made[2]), "bulk": self._bulk(made[3])}
        for nth, (way, batches) in enumerate(zip(WAYS, made, strict=True)):
            wanted, found = sum(len(rows) for batch in batches for rows in batch.values()), self._count(number + nth)
            if found != wanted:
                raise AgentError(f"Of {wanted} rows written by {way} {found} are there.", "Is the estate whole?")
        return took

    def _made(self, number: int, rows: int) -> Rows:
        """One batch more than is timed: the first pays for what is paid once, a session, a staging table, a chunk."""
        market = Market(number)
        batches = (market.batch(BATCH) for _ in range(max(1, rows // 300) + 1))
        return [fitted(self.tables, {name: batch[name] for name in TABLES}) for batch in batches]

    def _batch_by_batch(self, number: int, ours: Rows, theirs: Rows) -> tuple[float, float]:
        """As the feed does it (encode, write, be acknowledged by the store, keep a shadow), and a COPY by turns."""
        config, store, copy = self._apart("store"), 0.0, 0.0
        ready = [encode(self.tables, rows).parts for rows in theirs]
        with self._outbox("store") as outbox, closing(Writer(config, self.tables, outbox, number)) as writer:
            for nr, (rows, parts) in enumerate(zip(ours, ready, strict=True)):
                began = time.monotonic()
                self._acknowledged(writer, encode(self.tables, rows))
                between = time.monotonic()
                self._copied(parts)
                if nr:
                    store, copy = store + between - began, copy + time.monotonic() - between
        return store, copy

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

    def _bulk(self, made: Rows) -> float:
        first, *others = [encode(self.tables, rows).parts for rows in made]
        self._copied(first)
        joined = merged(part for parts in others for part in parts)
        began = time.monotonic()
        self._copied(joined)
        return time.monotonic() - began

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
            for way, took in bench.seconds(number, rows).items():
                seconds[way].append(round(took, 4))
            number += len(WAYS)
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
