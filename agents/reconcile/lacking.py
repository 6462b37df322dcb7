"""Which rows that the store acknowledged are not in it now; with --send they go back into the outbox, oldest first.

    python3 -m agents.reconcile.lacking --config FILE [--since UNIX_SECONDS] [--tables A,B] [--send]
    ... --marked < {"applied_no": N, "shadow": {FILE: BYTES}}      only up to what a mark bound of this host

What was acknowledged is known from the shadow and from what the outbox applied. A row is lacking where nothing has its
key, or, of a table in which the newest wins, only an older one does: a newer value is kept, and the replayer keeps it
as well. Prints one JSON object; may be repeated. Exit 0 whatever it found, 1 where nobody can tell.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agents.base.config import DEFAULT, Config, Table, load_config, load_tables
from agents.base.errors import AgentError, BadConfig, run
from agents.postgresql.store import merged
from agents.reconcile import marked
from agents.reconcile.marked import Bounds
from agents.writing import shadow
from agents.writing.backend import AnyStore, Failure, backend
from agents.writing.batch import EVENT_ID, Part, rows_of
from agents.writing.outbox import Outbox

# What these two are called is theirs to say: README's figures of feed, outbox and replay are of that code as it is.
from agents.writing.shadow import Requeued
from agents.writing.shadow import _enqueue as enqueue
from agents.writing.shadow_replay import Replayed, Timed
from agents.writing.shadow_replay import _batches as acknowledged

CONNECT_S, ASK_S = 10.0, 60.0
ROWS = shadow.REQUEUE_ROWS  # of one question, and of one record of the outbox
NAMED = 20_000  # event ids of one table; there are more then


@dataclass
class OfTable:
    """Rows of one table that are lacking: from when to when they were acknowledged (unix seconds), and their ids."""

    rows: int = 0
    first: float = 0.0
    last: float = 0.0
    events: list[int] = field(default_factory=list)


@dataclass
class Found:
    """Rows that were looked for, acknowledged from `since` to `until`; those `lacking`, and those `sent` again.

    `unknown`: rows of tables that the catalogue does not have.
    """

    looked: int = 0
    lacking: int = 0
    sent: int = 0
    unknown: int = 0
    damaged_segments: int = 0
    since: float | None = None
    until: float | None = None
    seconds: float = 0.0
    tables: dict[str, OfTable] = field(default_factory=dict)


@dataclass
class Search:
    """`only` names tables, none means all; with `send` what is lacking is queued as it is found."""

    config: Config
    tables: dict[str, Table]
    outbox: Outbox
    store: AnyStore
    only: Sequence[str] = ()
    send: bool = False
    found: Found = field(default_factory=Found)

    def go(self, since: float, bounds: Bounds | None) -> Found:
        """Of everything that was acknowledged at `since` (unix seconds) or later, the oldest first."""
        assert self.config.shadow is not None
        began, reach = time.monotonic(), shadow.reaching(self.config.shadow, self.outbox, since)
        read = Replayed()

        def damaged() -> None:
            read.damaged_segments += 1

        if bounds is None:
            batches = acknowledged(self.config.shadow, self.outbox, reach, read)
        else:
            batches = marked.acknowledged(self.config, bounds, reach, damaged)
        for at, parts in _together(batches):
            for part in merged(parts):
                if part.table not in self.tables:
                    self.found.unknown += part.n
                elif not self.only or part.table in self.only:
                    self._look(at, part)
        self.found.damaged_segments = read.damaged_segments
        self.found.seconds = round(time.monotonic() - began, 3)
        return self.found

    def _look(self, at: tuple[float, float], part: Part) -> None:
        found = self.found
        found.since = at[0] if found.since is None else found.since
        found.until = at[1]
        for piece in part.chunks(ROWS):
            found.looked += piece.n
            lacks = _of_events(piece, frozenset(self.store.absent(piece, ASK_S)))
            for lacking in lacks:
                self._note(at, lacking)
            if self.send and lacks:
                queued = Requeued()
                enqueue(self.outbox, self.tables, lacks, queued)
                found.sent += queued.rows

    def _note(self, at: tuple[float, float], part: Part) -> None:
        self.found.lacking += part.n
        one = self.found.tables.setdefault(part.table, OfTable(first=at[0]))
        one.rows, one.last = one.rows + part.n, at[1]
        index = part.columns.index(EVENT_ID)
        room = max(0, NAMED - len(one.events))
        one.events += [int(row[index] or 0) for row in rows_of(part)][:room]


def _together(batches: Iterator[Timed]) -> Iterator[tuple[tuple[float, float], list[Part]]]:
    """Batches of so many rows as one question is worth: from when to when they were acknowledged, and their parts."""
    waiting: list[Part] = []
    first = last = 0.0
    for at, parts in batches:
        first, last = (first if waiting else at), at
        waiting += parts
        if sum(part.n for part in waiting) >= ROWS:
            yield (first, last), waiting
            waiting = []
    if waiting:
        yield (first, last), waiting


def _of_events(part: Part, events: frozenset[int]) -> list[Part]:
    """The rows of these event ids, in their order; each run of neighbours is a part."""
    if not events:
        return []
    index = part.columns.index(EVENT_ID)
    wanted = [int(row[index] or 0) in events for row in rows_of(part)]
    found, first = list[Part](), None
    for nr, is_wanted in enumerate([*wanted, False]):
        if is_wanted and first is None:
            first = nr
        elif not is_wanted and first is not None:
            found.append(part.rows(first, nr))
            first = None
    return merged(found)


def search(
    config: Config, tables: dict[str, Table], since: float, only: Sequence[str] = (), send: bool = False,
    bounds: Bounds | None = None,
) -> Found:  # fmt: skip
    """Nobody purges or queues again meanwhile. Raises BadConfig without a shadow, AgentError, TurnTaken."""
    if config.shadow is None:
        raise BadConfig("No shadow is kept here.", "recovery.yaml: stores.postgresql.shadow turns it on.")
    unknown = [name for name in only if name not in tables]
    if unknown:
        raise BadConfig(f"There is no table {unknown[0]}.", "The tables are those of the catalogue.")
    reached, outbox = backend(config, "mystocks-reconcile"), Outbox.of(config)
    turn = outbox.turn()
    try:
        if not turn.take(shadow.TURN_S):
            raise shadow.TurnTaken("What was applied is being queued again by another process.", "Wait for it, repeat.")
        store = reached.open(reached.connect(CONNECT_S, None), tables)
        try:
            return Search(config, tables, outbox, store, only, send).go(since, bounds)
        finally:
            store.close()
    except Failure as error:
        raise AgentError(f"The store cannot be asked: {error}".strip() + ".", "Does it take writes? Repeat.") from error
    finally:
        turn.release()
        outbox.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.reconcile.lacking", description="Find acknowledged rows that lack.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--since", type=float, default=0.0, metavar="UNIX_SECONDS")
    parser.add_argument("--tables", default="", help="only these, comma separated")
    parser.add_argument("--send", action="store_true", help="put what is lacking back into the outbox")
    parser.add_argument("--marked", action="store_true", help="only up to the positions on standard input")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    tables: Mapping[str, Table] = load_tables(config.tables)
    only = [name for name in options.tables.split(",") if name]
    bounds = marked.read(sys.stdin.read()) if options.marked else None
    print(json.dumps(asdict(search(config, dict(tables), options.since, only, options.send, bounds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
