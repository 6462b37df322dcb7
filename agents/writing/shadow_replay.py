"""Write what the store acknowledged lately into it again, in the order in which it took it: it has lost those rows.

    python3 -m agents.writing.shadow_replay --config FILE --since UNIX_SECONDS [--tables A,B]

Straight from shadow and outbox into the store, so that hours of rows need no room. The replayer must stand still: what
waits in the outbox is newer, and where the newest row of a key wins it has to come last. So that no writer goes past
the outbox meanwhile, something is made to wait there first: the newest row of the shadow once more. Prints one JSON
object; may be repeated. Exit 0 done, 1 not, 3 the replayer runs.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from agents.base.config import DEFAULT, Config, ShadowSettings, Table, load_config, load_tables
from agents.base.errors import AgentError, BadConfig, NoPrimary, run
from agents.base.failures import Kind
from agents.writing import shadow
from agents.writing.backend import AnyStore, Failure, backend, kind_of
from agents.writing.batch import Batch, Part
from agents.writing.lease import Lease
from agents.writing.outbox import Outbox

ROWS = 10_000  # of one write
WRITE_S, PATIENCE_S = 30.0, 120.0
SETTLE_S = 1.5  # a write that is under way is in the shadow by then
Timed = tuple[float, tuple[Part, ...]]


class Runs(AgentError):  # noqa: N818
    """The replayer drains the outbox."""

    exit_code = 3


@dataclass
class Replayed:
    """`refused`: rows that the store no longer takes for what they are; `since`: the oldest batch (unix seconds)."""

    rows: int = 0
    refused: int = 0
    damaged_segments: int = 0
    since: float | None = None
    seconds: float = 0.0


def replay(
    config: Config, tables: dict[str, Table], outbox: Outbox, since: float, only: Sequence[str],
    open_store: Callable[[], AnyStore],
) -> Replayed:  # fmt: skip
    """Write everything that was acknowledged at `since` (unix seconds) or later. Raises AgentError."""
    if config.shadow is None:
        raise BadConfig("No shadow is kept here.", "recovery.yaml: stores.tdengine.shadow turns it on.")
    began, done, settings = time.monotonic(), Replayed(), config.shadow
    reach = shadow.reaching(settings, outbox, since)
    _turn_writers(settings, tables, outbox)
    writing = _Writing(open_store, tables, done)

    def write(stamped: float, known: float) -> float | None:
        return writing.all(_batches(settings, outbox, stamped, done), only, known)

    if reach < since:  # the clock jumped: all that is kept, and once more what came meanwhile
        write(reach, -math.inf)
        time.sleep(SETTLE_S)
        write(reach, math.inf)
    else:
        known = -math.inf
        while (last := write(max(since, known), known)) is not None and last > known:
            known = last
            time.sleep(SETTLE_S)
    writing.close()
    done.seconds = round(time.monotonic() - began, 3)
    return done


def _turn_writers(settings: ShadowSettings, tables: dict[str, Table], outbox: Outbox) -> None:
    """Make writers queue: they go past the outbox only while nothing waits there, and a store that takes rows again
    would have them write on as fast as they are read here, without end. The row that waits is one that may be written
    again at any time; of those whose newest one wins only where there are no others.
    """
    if outbox.waiting():
        return
    for file in reversed(shadow.segments(settings.path)):
        with suppress(FileNotFoundError):
            last = deque(shadow.frames(file), maxlen=1)
            if last:
                newest = last[0][1]
                harmless = tuple(
                    part for part in newest if part.table in tables and tables[part.table].on_conflict != "newest"
                )
                outbox.enqueue(Batch(harmless or newest), tables, shadow.REQUEUED)
                return


def _batches(settings: ShadowSettings, outbox: Outbox, since: float, done: Replayed) -> Iterator[Timed]:
    """What the store took past the outbox and out of it, by the time at which it did."""

    def damaged() -> None:
        done.damaged_segments += 1

    def of_writer(files: Sequence[Path]) -> Iterator[Timed]:
        for file in files:
            with suppress(FileNotFoundError):  # too old, or covered by a backup meanwhile
                if file.stat().st_mtime >= since:
                    yield from (timed for timed in shadow.frames(file, damaged) if timed[0] >= since)

    files = sorted(shadow.segments(settings.path), key=lambda file: (_writer(file), file.name))
    streams = [of_writer(list(mine)) for _, mine in groupby(files, key=_writer)]
    return heapq.merge(outbox.applied_timed(since), *streams, key=lambda timed: timed[0])


def _writer(file: Path) -> str:
    """Who wrote a segment: its name is <ms>-<origin>-<pid>."""
    return file.stem.partition("-")[2]


class _Writing:
    def __init__(self, open_store: Callable[[], AnyStore], tables: dict[str, Table], done: Replayed) -> None:
        self._open, self._tables, self._done = open_store, tables, done
        self._store: AnyStore | None = None

    def all(self, batches: Iterator[Timed], only: Sequence[str], known: float) -> float | None:
        """Write them; the time of the last one. Those up to `known` have been counted before."""
        waiting: list[Part] = []
        last = None
        for last, parts in batches:
            self._done.since = last if self._done.since is None else self._done.since
            chosen = [part for part in parts if part.table in self._tables and (not only or part.table in only)]
            self._done.rows += sum(part.n for part in chosen) if last > known else 0
            waiting += chosen
            if sum(part.n for part in waiting) >= ROWS:
                self._write(waiting)
                waiting = []
        if waiting:
            self._write(waiting)
        return last

    def _write(self, parts: Sequence[Part]) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._written(parts)
                break
            except (NoPrimary, *Failure) as error:
                self.close()
                if time.monotonic() > end:
                    raise AgentError(f"The store takes no rows: {error}.", "Does it run? Then repeat.") from error
                time.sleep(0.5)

    def _written(self, parts: Sequence[Part]) -> None:
        if self._store is None:
            self._store = self._open()
        try:
            self._store.write(parts, WRITE_S)
        except Failure as error:
            if kind_of(error) is not Kind.REFUSED:
                raise
            left = list(parts)
            while left:
                _, refused = self._store.write_sound_rows(left, WRITE_S)
                self._done.refused += sum(1 for part, _ in refused if part.n == 1)
                left = [part for part, _ in refused if part.n > 1]  # left untried behind many refused ones

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.shadow_replay", description="Write acknowledged rows again.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--since", type=float, required=True, metavar="UNIX_SECONDS")
    parser.add_argument("--tables", default="", help="only these, comma separated")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    tables = load_tables(config.tables)
    only = [name for name in options.tables.split(",") if name]
    unknown = [name for name in only if name not in tables]
    if unknown:
        raise BadConfig(f"There is no table {unknown[0]}.", "The tables are those of the catalogue.")
    reached = backend(config, "mystocks-shadow")
    outbox, lease = Outbox.of(config), Lease(config.outbox.path)
    if not lease.take():
        raise Runs("The replayer drains the outbox.", "systemctl stop its service first, and start it afterwards.")
    turn = outbox.turn()
    try:
        if not turn.take(shadow.TURN_S):
            raise shadow.TurnTaken("What was applied is being queued again by another process.", "Wait for it, repeat.")
        done = replay(
            config, tables, outbox, options.since, only, lambda: reached.open_late(reached.connect(10.0, None), tables)
        )
    finally:
        turn.release()
        lease.release()
        outbox.close()
    print(json.dumps(asdict(done)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
