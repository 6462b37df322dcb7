"""The client: `with Client.open() as client: client.save("order_records", rows)`.

For any number of threads; each save is checked, gets its event ids, and is acknowledged by the store or by the outbox
of that store, which both keep it whatever happens next. A process that forks may go on using it on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from agents.base.config import DEFAULT, Config, Table, load_config, load_tables
from agents.base.deadline import Deadline
from agents.base.errors import AgentError, BadConfig
from agents.client import forks
from agents.client.pool import Pool
from agents.client.prepare import Checker, Piece, Prepared, Refused, table_named
from agents.writing.backend import backend
from agents.writing.clock import CLOCK, Clock, since_boot_ns
from agents.writing.outbox import Outbox
from agents.writing.writer import Ack, By, Writer

TDENGINE = "agent-tdengine.json"  # lies beside agent.json where the estate has TDengine
POOL = 4
ASK_TIME_S = 0.2


@dataclass(frozen=True)
class Acknowledgement:
    """What became of the rows of one save; rows are numbered from 0 in the order in which they were given.

    `by` is the outbox when any of them is in the outbox, and None when no row was sound, so that nobody has any.
    """

    table: str
    n: int
    refused: tuple[Refused, ...]
    pieces: tuple[Piece, ...] = ()
    acks: tuple[Ack, ...] = ()

    @property
    def by(self) -> By | None:
        if not self.acks:
            return None
        return By.OUTBOX if any(ack.by is By.OUTBOX for ack in self.acks) else By.STORE

    @property
    def taken(self) -> tuple[int, ...]:
        """The rows that are acknowledged."""
        return tuple(row for piece in self.pieces for row in piece.rows)

    @property
    def event_ids(self) -> tuple[int, ...]:
        """Of the rows that are acknowledged, in the same order."""
        return tuple(event for piece in self.pieces for event in piece.ids)

    @property
    def complete(self) -> bool:
        """Every row that was given is acknowledged."""
        return sum(len(piece.rows) for piece in self.pieces) == self.n

    @property
    def why(self) -> str | None:
        """Why the outbox and not the store."""
        return next((ack.why for ack in self.acks if ack.by is By.OUTBOX), None)

    @property
    def fill(self) -> float:
        """How much of its room the outbox had taken, 0 to 1; 0 where the store acknowledged."""
        return max((ack.fill for ack in self.acks), default=0.0)

    @property
    def slow_down_s(self) -> float:
        """How long to rest before the next save, so that nobody is told no: nothing while half the room is free."""
        return max((ack.slow_down_s for ack in self.acks), default=0.0)


class NotAcknowledged(AgentError):  # noqa: N818 - named after what happened
    """Neither store nor outbox took a batch. `done` tells what was acknowledged before it; `rest` is what was not, to
    be given to `Client.write` later: it may be in the store all the same, and under its event ids it stays one row.
    """

    def __init__(self, sentence: str, hint: str, done: Acknowledgement, rest: Prepared) -> None:
        super().__init__(sentence, hint)
        self.done = done
        self.rest = rest


class Client:
    """Made by `open`. `save` is all that most programs need."""

    def __init__(self, configs: Sequence[Config], pool: int = POOL) -> None:
        if not configs:
            raise BadConfig("The client has no configuration.", "Name agent.json.")
        node = next((config.node for config in configs if config.node is not None), None)
        if node is None:
            sentence = "agent.json names no node, so event ids could be another host's."
            raise BadConfig(sentence, "Deploy this host again.")
        self.node, self.folder = node, configs[0].outbox.path.parent
        self._clock = Clock(self.folder / CLOCK, node)
        self._tables: dict[str, Table] = {}
        self._checkers: dict[str, Checker] = {}
        self._pools: dict[str, Pool] = {}
        for config in configs:
            self._add(config, pool)
        forks.watch(self)

    @classmethod
    def open(cls, config: str | Path | Iterable[str | Path] | None = None, *, pool: int = POOL) -> Client:
        """`config`: agent.json, or several such files, one for each store. By default the one that the deploy placed.

        Where agent-tdengine.json lies beside the one that is named it is used as well. `pool`: sessions for each store.
        Nothing is connected yet. Raises BadConfig.
        """
        if config is None or isinstance(config, (str, Path)):
            first = Path(config or DEFAULT)
            beside = first.with_name(TDENGINE)
            paths = [first, *([beside] if first.name == DEFAULT.name and beside.exists() else [])]
        else:
            paths = [Path(one) for one in config]
        if pool < 1:
            raise BadConfig(f"A pool of {pool} sessions can save nothing.", "Give at least 1.")
        return cls([load_config(path) for path in paths], pool)

    def save(self, table_or_classification: str | Enum, rows: object) -> Acknowledgement:
        """Check the rows, write those that are sound, and tell who acknowledged them and which were refused.

        `rows`: dicts, tuples in the catalogue's order, dataclasses, a DataFrame of pandas or polars, an Arrow table.
        Raises BadRow where no row can be told from another (no such table, a column of no meaning, no row at all), and
        NotAcknowledged when neither store nor outbox can take them.
        """
        return self.write(self.prepare(table_or_classification, rows))

    def prepare(
        self, table_or_classification: str | Enum, rows: object, event_ids: Sequence[int] | None = None
    ) -> Prepared:
        """The first half of a save: what `write` takes. `event_ids`, one for each row, only for rows whose age is known
        otherwise: they decide which of two rows with one key is the newer.
        """
        table = table_named(table_or_classification, self._tables)

        def ids(sound: Sequence[int]) -> Sequence[int]:
            return self._clock.reserve(len(sound)) if event_ids is None else [event_ids[row] for row in sound]

        prepared = self._checkers[table.name].prepare(rows, ids)
        return prepared if event_ids is None else replace(prepared, given_late=True)

    def write(self, prepared: Prepared) -> Acknowledgement:
        """The second half; again with what a NotAcknowledged left over."""
        pool = self._pools[prepared.table]
        acks: list[Ack] = []
        late = prepared.late
        for number, piece in enumerate(prepared.pieces):
            try:
                with pool.writer() as writer:
                    acks.append(writer.write(piece.batch, late))
            except AgentError as error:
                done = self._acknowledgement(prepared, acks)
                rest = replace(prepared, pieces=prepared.pieces[number:], refused=(), given_late=True)
                raise NotAcknowledged(str(error), error.hint, done, rest) from error
        return self._acknowledgement(prepared, acks)

    def table(self, table_or_classification: str | Enum) -> Table:
        """The table that such rows go to, as the catalogue has it. Raises BadRow."""
        return table_named(table_or_classification, self._tables)

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self._tables)

    def close(self) -> None:
        for pool in set(self._pools.values()):
            pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def before_fork(self) -> None:
        # The clock last: who is in the middle of a save may need it to come to its end.
        for pool in set(self._pools.values()):
            pool.before_fork()
        self._clock.before_fork()

    def after_fork(self, in_child: bool) -> None:
        self._clock.after_fork(in_child)
        for pool in set(self._pools.values()):
            pool.after_fork(in_child)

    @staticmethod
    def _acknowledgement(prepared: Prepared, acks: Sequence[Ack]) -> Acknowledgement:
        return Acknowledgement(
            prepared.table, prepared.n, prepared.refused, prepared.pieces[: len(acks)], tuple(acks)
        )

    def _add(self, config: Config, size: int) -> None:
        tables = load_tables(config.tables)
        for name in tables:
            if name in self._tables:
                raise BadConfig(f"{name} is a table of two stores.", "Name each store's configuration once.")
        self._tables |= tables
        self._checkers |= {name: Checker(table, config.tdengine is not None) for name, table in tables.items()}
        pool = Pool(lambda: ClientWriter(config, tables, self._clock), lambda writer: writer.close(), size)
        self._pools |= dict.fromkeys(tables, pool)


class ClientWriter(Writer):
    """A writer with an outbox of its own, which learns the store's time whenever it opens a session there."""

    def __init__(self, config: Config, tables: dict[str, Table], clock: Clock) -> None:
        reached = backend(config, "mystocks-client")
        self._clock = clock
        self._own_outbox = Outbox.of(config)

        def connect(timeout_s: float) -> Any:
            ends = time.monotonic() + timeout_s
            place = reached.connect(timeout_s, None)
            if config.tdengine is None:
                self._learn_time(place.connection, min(ASK_TIME_S, ends - time.monotonic()))
            return place

        # An event id as the mark of its records: no two writers have the same.
        super().__init__(config, tables, self._own_outbox, clock.reserve(1)[0], connect)

    def close(self) -> None:
        super().close()
        self._own_outbox.close()

    def _learn_time(self, connection: Any, within_s: float) -> None:
        if within_s <= 0:
            return
        asked = since_boot_ns()
        with Deadline(connection, within_s), connection.cursor() as cursor:
            cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            told = cursor.fetchone()
            connection.rollback()
        answered = since_boot_ns()
        self._clock.calibrate(told[0] * 1000, (asked + answered) // 2)
