"""The writer against a scripted store: who acknowledges what, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psycopg2
import pytest

from agents.base.deadline import DeadlineExceeded
from agents.base.errors import NoPrimary, OutboxFull
from agents.postgresql.primary import Primary
from agents.postgresql.store import Unconfirmed
from agents.tdengine.session import TdengineError
from agents.writing.batch import Batch, Part, encode
from agents.writing.outbox import Outbox
from agents.writing.writer import Ack, By, Writer
from tests.unit.agent_fixtures import config, orders, setting, tables


@dataclass
class ScriptedStore:
    """Stands at the process boundary: `failure` is raised by the next writes."""

    failure: Exception | None = None
    unreachable: bool = False
    written: list[int] = field(default_factory=list)
    connections: int = 0
    closed_count: int = 0
    closed: bool = False
    primary: Primary = field(default_factory=lambda: Primary(cast(Any, None), "pg1", "192.0.2.1", 1))

    def connect(self, timeout_s: float) -> Primary:
        assert 0 < timeout_s <= 0.6
        if self.unreachable:
            raise NoPrimary("No host takes writes (pg1: gone).")
        self.connections += 1
        self.closed = False
        return self.primary

    def write(self, parts: Iterable[Part], deadline_s: float) -> None:
        assert 0 < deadline_s <= 0.6
        if self.failure is not None:
            raise self.failure
        self.written += [part.first for part in parts]

    def close(self) -> None:
        self.closed = True
        self.closed_count += 1


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.db")


@pytest.fixture
def writer(tmp_path: Path, store: ScriptedStore, outbox: Outbox) -> Writer:
    opened: Callable[..., Any] = lambda primary, known: store  # noqa: E731
    return Writer(config(tmp_path), tables(tmp_path), outbox, 7, store.connect, opened)


@pytest.fixture
def batch(tmp_path: Path) -> Callable[[int], Batch]:
    known = tables(tmp_path)
    return lambda first: orders(known, first, first + 9)


def test_the_store_acknowledges_while_it_works(
    writer: Writer, store: ScriptedStore, batch: Callable[[int], Batch]
) -> None:
    acks = [writer.write(batch(first)) for first in (10, 20)]
    assert [(ack.by, ack.host, ack.timeline) for ack in acks] == [(By.STORE, "192.0.2.1", 1)] * 2
    assert (store.written, store.connections) == ([10, 20], 1)


@pytest.mark.parametrize(
    "failure",
    [
        psycopg2.OperationalError("server closed the connection unexpectedly"),
        psycopg2.InterfaceError("connection already closed"),
        psycopg2.errors.UndefinedTable("no such table"),
        DeadlineExceeded("no answer within 0.60 s"),
        Unconfirmed("WARNING: canceling wait for synchronous replication"),
        OSError("no route to host"),
    ],
)
def test_any_failure_is_acknowledged_by_the_outbox_and_drops_the_connection(
    writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch], failure: Exception
) -> None:
    store.failure = failure
    ack = writer.write(batch(10))
    assert (ack.by, ack.host, ack.why) == (By.OUTBOX, None, str(failure))
    assert store.closed
    assert [record.id for record in outbox.pending(100)] == [ack.record]


def test_nothing_overtakes_what_waits_in_the_outbox(
    writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch]
) -> None:
    store.failure = OSError("gone")
    writer.write(batch(10))
    store.failure = None
    started = time.monotonic()
    assert writer.write(batch(20)).by is By.OUTBOX
    assert time.monotonic() - started < 0.5
    assert store.written == []
    assert [record.parts[0].first for record in outbox.pending(100)] == [10, 20]


def test_the_writer_goes_back_to_the_store_when_the_outbox_has_drained(
    writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch]
) -> None:
    store.unreachable = True
    assert writer.write(batch(10)).by is By.OUTBOX
    store.unreachable = False
    outbox.mark_applied(outbox.pending(100), "192.0.2.2", 2)
    store.primary = Primary(cast(Any, None), "pg2", "192.0.2.2", 2)
    ack = writer.write(batch(20))
    assert (ack.by, ack.host, ack.timeline) == (By.STORE, "192.0.2.2", 2)


def test_a_batch_that_nobody_took_is_not_acknowledged_and_may_be_written_again(
    tmp_path: Path, store: ScriptedStore, batch: Callable[[int], Batch]
) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=4096)
    opened: Callable[..., Any] = lambda primary, known: store  # noqa: E731
    writer = Writer(config(tmp_path), tables(tmp_path), outbox, 7, store.connect, opened)
    store.failure = OSError("gone")
    with pytest.raises(OutboxFull):
        for first in range(10, 5000, 10):
            writer.write(batch(first))
    store.failure = None
    outbox.mark_applied(outbox.pending(10**9), "pg1", 1)
    assert writer.write(batch(9990)).by is By.STORE


def test_late_rows_go_to_the_replayer_where_the_store_would_keep_whatever_is_written_last(
    tmp_path: Path, writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch]
) -> None:
    def newest(event: int) -> Batch:
        return encode(tables(tmp_path), {"system_config": [setting(event)]})

    assert writer.write(newest(1), late=True).by is By.STORE, "PostgreSQL compares by itself"
    writer._compares = False
    assert writer.write(batch(10), late=True).by is By.STORE, "rows of this table never replace one another"
    assert writer.write(newest(30)).by is By.STORE
    assert writer.write(newest(2), late=True).by is By.OUTBOX
    assert (store.written, [record.parts[0].first for record in outbox.pending(100)]) == ([1, 10, 30], [2])


def test_an_order_goes_past_rows_that_are_less_urgent_where_the_store_compares_event_ids(
    tmp_path: Path, writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch]
) -> None:
    known = tables(tmp_path)
    outbox.enqueue(encode(known, {"system_config": [setting(5)]}), known, 9)
    assert writer.write(batch(10)).by is By.STORE
    assert writer.write(encode(known, {"system_config": [setting(6)]})).by is By.OUTBOX
    writer._compares = False
    assert writer.write(batch(20)).by is By.OUTBOX


def test_rows_of_a_table_that_takes_nothing_queue_and_all_others_go_to_the_store(
    tmp_path: Path, writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch]
) -> None:
    known = tables(tmp_path)
    outbox.enqueue(encode(known, {"system_config": [setting(5)]}), known, 9)
    outbox.hold(outbox.pending(10), "system_config", "it does not exist")
    assert writer.write(batch(10)).by is By.STORE
    ack = writer.write(encode(known, {"system_config": [setting(6)]}))
    assert ack.by is By.OUTBOX
    assert 0 < ack.fill < 0.01


def test_a_client_is_told_to_slow_down_long_before_it_is_told_no() -> None:
    rests = [Ack(By.OUTBOX, fill=fill).slow_down_s for fill in (0.0, 0.5, 0.75, 1.0)]
    assert rests == [0.0, 0.0, 0.5, 1.0]


def test_a_large_batch_has_the_time_that_a_slow_store_needs(
    tmp_path: Path, store: ScriptedStore, outbox: Outbox
) -> None:
    deadlines: list[float] = []

    class Timed(ScriptedStore):
        def write(self, parts: Iterable[Part], deadline_s: float) -> None:
            deadlines.append(deadline_s)

    timed = Timed()
    timed.connect = lambda timeout_s: timed.primary  # type: ignore[method-assign]
    opened: Callable[..., Any] = lambda primary, known: timed  # noqa: E731
    writer = Writer(config(tmp_path), tables(tmp_path), outbox, 7, timed.connect, opened)
    for rows in (300, 30_000):
        assert writer.write(orders(tables(tmp_path), 1, rows)).by is By.STORE
    assert deadlines[0] <= 0.6
    assert deadlines[1] > 9


def test_a_refused_batch_goes_to_the_outbox_and_the_session_goes_on(
    writer: Writer, store: ScriptedStore, outbox: Outbox, batch: Callable[[int], Batch]
) -> None:
    store.failure = TdengineError("value too long", "", 0x2653)
    assert writer.write(batch(10)).by is By.OUTBOX
    store.failure = None
    assert writer.write(batch(20)).by is By.OUTBOX, "nothing as urgent goes past it"
    outbox.mark_applied(outbox.pending(100), "pg1", 1)
    assert writer.write(batch(30)).by is By.STORE
    assert (store.connections, store.closed_count) == (1, 0)
