"""What is put back is all that was taken: making room, purging and queueing again cannot meet one another."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agents.base.config import ShadowSettings
from agents.base.errors import OutboxFull
from agents.writing import shadow
from agents.writing.batch import encode
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import order, orders, setting, tables


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "TURN_S", 0.05)


def test_what_is_queued_again_in_a_full_outbox_is_every_row_that_was_applied(tmp_path: Path) -> None:
    """Applied records fill the file; queueing them again must not make room by deleting those not read yet."""
    known, outbox = tables(tmp_path), Outbox(tmp_path / "outbox.db", max_bytes=2_000_000)
    first, rows = 1, 0
    while outbox.status().size_bytes < 1_900_000:
        outbox.enqueue(orders(known, first, first + 99), known, 7)
        outbox.mark_applied(outbox.pending(1000), "pg1", 1)
        first, rows = first + 100, rows + 100
    over = threading.Event()

    def drain() -> None:
        mine = Outbox(tmp_path / "outbox.db", max_bytes=2_000_000)
        while not over.wait(0.002):
            mine.mark_applied(mine.pending(500), "pg2", 2)
        mine.close()

    drainer = threading.Thread(target=drain)
    drainer.start()
    try:
        done = shadow.requeue(ShadowSettings(tmp_path / "shadow"), outbox, known, 0)
    finally:
        over.set()
        drainer.join()
    assert done.rows == rows


def test_nobody_purges_while_what_was_applied_is_read(tmp_path: Path) -> None:
    known, outbox = tables(tmp_path), Outbox(tmp_path / "outbox.db")
    for first in range(1, 31, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
        outbox.mark_applied(outbox.pending(1000), "pg1", 1)
    turn = Outbox(tmp_path / "outbox.db").turn()
    assert turn.take()
    assert outbox.purge(-1) == 0
    with pytest.raises(shadow.TurnTaken):
        shadow.requeue(ShadowSettings(tmp_path / "shadow"), outbox, known, 0)
    turn.release()
    assert outbox.purge(-1) == 2


def test_a_writer_deletes_nothing_and_waiting_rows_have_room_of_their_own(tmp_path: Path) -> None:
    """Applied records fill their own share of the file; the next outage still has all of the other one."""
    known, outbox = tables(tmp_path), Outbox(tmp_path / "outbox.db", max_bytes=500_000)
    first = 1
    while outbox.status().size_bytes < 600_000:
        outbox.enqueue(orders(known, first, first + 99), known, 7)
        outbox.mark_applied(outbox.pending(1000), "pg1", 1)
        first += 100
    applied = outbox.status().applied_records
    fills = []
    with pytest.raises(OutboxFull):
        for more in range(first, first + 10_000, 100):
            outbox.enqueue(orders(known, more, more + 99), known, 7)
            fills.append(outbox.fill())
    assert outbox.status().applied_records == applied
    assert fills == sorted(fills)
    assert fills[-1] > 0.9, "told to slow down long before it is told no"
    assert outbox.purge(3600) > 0, "beyond their share the oldest applied ones go, by whoever keeps house"


def test_orders_have_the_last_tenth_of_the_room_for_themselves(tmp_path: Path) -> None:
    known, outbox = tables(tmp_path), Outbox(tmp_path / "outbox.db", max_bytes=200_000)
    with pytest.raises(OutboxFull):
        for nth in range(1, 10_000):
            outbox.enqueue(encode(known, {"system_config": [setting(nth, "k", "v" * 900)]}), known, 7)
    outbox.enqueue(orders(known, 1, 20), known, 7)


def test_what_is_queued_again_is_counted_once_and_reported_to_no_feed(tmp_path: Path) -> None:
    known, outbox = tables(tmp_path), Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(known, 1, 10), known, 7)
    outbox.mark_applied(outbox.pending(100), "pg1", 1)
    assert outbox.queue_applied_again(0, (), 0) == (1, 10)
    assert (outbox.status().pending_rows, outbox.status().applied_rows) == (10, 0)
    outbox.mark_applied(outbox.pending(100), "pg2", 2)
    assert outbox.last_applied_no() == 2, "numbers never start again"
    assert [one.host for one in outbox.applied_since(0, 7, 99)] == []
    assert [one.missing for one in outbox.accounts()] == [0]


def test_rows_of_a_table_gone_from_the_catalogue_are_queued_again_with_the_others(tmp_path: Path) -> None:
    known, settings = tables(tmp_path), ShadowSettings(tmp_path / "shadow")
    writer = shadow.Shadow(settings, 7)
    writer.keep(encode(known, {"order_records": [order(1)], "system_config": [setting(2)]}))
    writer.close()
    fewer = {name: table for name, table in known.items() if name != "system_config"}
    outbox = Outbox(tmp_path / "outbox.db")
    assert shadow.requeue(settings, outbox, fewer, 0).rows == 2
    assert outbox.pending(10)[0].tables == {"order_records", "system_config"}


def test_the_account_is_even_at_every_moment_of_others_writing(tmp_path: Path) -> None:
    known, over, uneven = tables(tmp_path), threading.Event(), []
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(known, 1, 10), known, 7)

    def write() -> None:
        mine, first = Outbox(tmp_path / "outbox.db"), 11
        while not over.is_set():
            mine.enqueue(orders(known, first, first + 9), known, 7)
            first += 10
            if first % 50 == 1:
                mine.mark_applied(mine.pending(30), "pg1", 1)
        mine.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            uneven += [one for one in outbox.accounts() if one.missing]
    finally:
        over.set()
        writer.join()
    assert uneven == []
