"""The tracker's batch writer: a second in one commit, nothing dropped, nothing without bound, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.base.config import load_config, load_tables
from agents.base.errors import BadConfig, BadRow, OutboxFull
from agents.tracker.batches import BatchWriter, Unwritten
from agents.tracker.market import Session
from agents.tracker.rows import ALERTS, BASIS, FED, FOREIGN, TRADES
from agents.writing.batch import Batch
from agents.writing.outbox import Outbox
from agents.writing.replayer import Replayer, drain_once
from agents.writing.writer import Ack, By
from inventories.catalog.tracker import DATABASE
from tests.unit.postgres_server import Server
from tests.unit.tracker_kit import settings, tracked_server

NOW = datetime(2026, 11, 27, 3, 15, tzinfo=timezone.utc)
ROOT = Path(__file__).resolve().parents[2]


class TradeType(Enum):
    BUY = "mua_chu_dong"


def trade(**changes: Any) -> Any:
    said = {
        "symbol": "VCB", "price": 90.5, "volume": 100, "value": 9050, "trade_type": TradeType.BUY, "bid_price": 90.45,
        "ask_price": None, "timestamp": NOW,
    }  # fmt: skip
    return SimpleNamespace(**{**said, **changes})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tracked_server() as server:
        yield server


@pytest.fixture
def empty(server: Server) -> Iterator[Server]:
    yield server
    server.sql(f"TRUNCATE {', '.join(FED)}", database=DATABASE)


def count(server: Server, table: str = TRADES) -> int:
    return int(str(server.sql(f"SELECT count(*) FROM {table}", database=DATABASE)[0][0]))


def away(folder: Path, **options: Any) -> BatchWriter:
    """Nobody answers for the store."""
    return BatchWriter.open(settings(folder, None, writer={"deadline_s": 0.05}), **options)


def waiting(folder: Path) -> list[Any]:
    outbox = Outbox(folder / "outbox-tracker.db")
    try:
        return outbox.pending(10**9)
    finally:
        outbox.close()


def ids(folder: Path) -> list[int]:
    tables = load_tables(folder / "tables-tracker.json")
    return [
        int(line.split("\t")[tables[part.table].column_names.index("event_id")])
        for record in waiting(folder) for part in record.parts for line in part.text.splitlines()
    ]  # fmt: skip


def test_what_the_seeds_processor_hands_over_is_a_row_of_each_table(empty: Server, tmp_path: Path) -> None:
    told: list[tuple[Batch, Ack]] = []
    writer = BatchWriter.open(settings(tmp_path, empty), heard=lambda batch, ack, _: told.append((batch, ack)))
    writer.enqueue_trade(trade())
    writer.enqueue_foreign(SimpleNamespace(
        symbol="HPG", buy_volume=900, sell_volume=400, net_volume=500, buy_speed_per_min=12.5, sell_speed_per_min=0,
    ))  # fmt: skip
    writer.enqueue_basis(SimpleNamespace(
        futures_symbol="VN30F2612", futures_price=1301.2, spot_value=1300.1, basis=1.1, timestamp=NOW,
    ))  # fmt: skip
    writer.enqueue_alert(SimpleNamespace(symbol="VCB", alert_type="spike", message="tab\there", severity="info"))
    assert writer.waiting == 4 and writer.flush() == 4 and writer.waiting == 0
    writer.stop()
    assert [len(batch.parts) for batch, _ in told] == [4], "one commit for a second of all tables"
    assert told[0][1].by is By.STORE and (writer.counts.store, writer.counts.outbox) == (4, 0)
    row = empty.sql("SELECT symbol, price::text, trade_type, ask_price, traded_at, created_at IS NOT NULL FROM trades",
                    database=DATABASE)  # fmt: skip
    assert row == [("VCB", "90.50", "mua_chu_dong", None, NOW, True)]
    assert [count(empty, table) for table in FED] == [1, 1, 1, 1]
    assert empty.sql("SELECT message FROM alerts", database=DATABASE) == [("tab\there",)]


def test_a_batch_goes_to_the_store_once_a_second_by_itself(empty: Server, tmp_path: Path) -> None:
    writer = BatchWriter.open(settings(tmp_path, empty), every_s=0.1)
    writer.start()
    writer.enqueue_trade(trade())
    ends = time.monotonic() + 5
    while not count(empty) and time.monotonic() < ends:
        time.sleep(0.05)
    assert count(empty) == 1
    writer.enqueue_trade(trade())
    writer.stop()
    assert count(empty) == 2, "stop writes the rest"


def test_what_does_not_fit_goes_to_the_outbox_and_no_row_is_dropped(tmp_path: Path) -> None:
    writer = away(tmp_path, limit=10)
    for volume in range(1, 36):
        writer.enqueue_trade(trade(volume=volume))
        assert writer.waiting <= 10
    assert writer.counts.spilled == 30 and writer.waiting == 5
    writer.stop()
    assert len(set(ids(tmp_path))) == 35


def test_other_tables_are_not_spilled_with_the_one_that_is_full(tmp_path: Path) -> None:
    writer = away(tmp_path, limit=3)
    writer.enqueue_alert(SimpleNamespace(symbol="VCB", alert_type="x", message=None, severity=None))
    for _ in range(4):
        writer.enqueue_trade(trade())
    assert {part.table for record in waiting(tmp_path) for part in record.parts} == {TRADES}
    writer.stop()


def test_a_full_outbox_is_told_to_the_caller_and_what_is_queued_stays(tmp_path: Path) -> None:
    path = settings(tmp_path, None, writer={"deadline_s": 0.05},
                    outbox={"path": str(tmp_path / "outbox-tracker.db"), "max_bytes": 64 << 10})  # fmt: skip
    writer = BatchWriter.open(path, limit=200)
    taken = 0
    with pytest.raises(OutboxFull):
        for _ in range(5000):
            writer.enqueue_trade(trade())
            taken += 1
    assert writer.waiting == 200, "bounded, and not one of them dropped"
    with pytest.raises(OutboxFull):
        writer.enqueue_trade(trade())
    with pytest.raises(Unwritten, match="200 rows were not acknowledged"):
        writer.stop()
    assert len(set(ids(tmp_path))) == taken - 200


def test_rows_that_nobody_took_are_written_by_the_next_flush_under_the_same_ids(
    empty: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = BatchWriter.open(settings(tmp_path, empty))
    for volume in (1, 2, 3):
        writer.enqueue_trade(trade(volume=volume))
    whole = writer._writer.write
    given: list[Batch] = []

    def fails(batch: Batch, late: bool = False) -> Ack:
        whole(batch)  # it is in the store, and nobody says so
        given.append(batch)
        raise OutboxFull("no room", "make some")

    monkeypatch.setattr(writer._writer, "write", fails)
    with pytest.raises(OutboxFull):
        writer.flush()
    assert writer.waiting == 3
    monkeypatch.setattr(writer._writer, "write", whole)
    writer.enqueue_trade(trade(volume=4))
    assert writer.flush() == 4
    writer.stop()
    assert empty.sql("SELECT volume FROM trades ORDER BY event_id", database=DATABASE) == [(1,), (2,), (3,), (4,)]


def test_a_row_that_no_store_takes_is_refused_at_once_and_the_others_are_kept(empty: Server, tmp_path: Path) -> None:
    writer = BatchWriter.open(settings(tmp_path, empty))
    writer.enqueue_trade(trade())
    for wrong in ({"symbol": "TOO-LONG-A-NAME"}, {"price": None}, {"volume": "many"}, {"value": 10**20}):
        with pytest.raises(BadRow, match=f"trades cannot be kept: {next(iter(wrong))}"):
            writer.enqueue_trade(trade(**wrong))
    with pytest.raises(BadRow, match="no table of the tracker's feed"):
        writer.enqueue("daily_ohlc", {})
    writer.stop()
    assert count(empty) == 1


def test_more_rows_than_one_batch_holds_are_several_and_all_there(empty: Server, tmp_path: Path) -> None:
    sizes: list[int] = []
    writer = BatchWriter.open(settings(tmp_path, empty), limit=20_000, heard=lambda batch, *_: sizes.append(batch.n))
    for table, row in _rows(12_000):
        writer.enqueue(table, row)
    assert writer.flush() == 12_000
    writer.stop()
    assert sum(sizes) == 12_000 and max(sizes) <= 5000
    assert sum(count(empty, table) for table in FED) == 12_000


def _rows(n: int) -> list[tuple[str, dict[str, object]]]:
    session = Session(7).rows()
    return [next(session) for _ in range(n)]


def test_threads_that_enqueue_while_it_writes_lose_no_row(empty: Server, tmp_path: Path) -> None:
    writer = BatchWriter.open(settings(tmp_path, empty), every_s=0.02, limit=50)
    writer.start()
    threads = [threading.Thread(target=lambda: [writer.enqueue_trade(trade()) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    assert writer.counts.store + writer.counts.outbox == 2000
    _drained(tmp_path)
    assert count(empty) == 2000


def _drained(folder: Path) -> None:
    read = load_config(folder / "agent-tracker.json")
    outbox = Outbox.of(read)
    replayer = Replayer(read, load_tables(read.tables), outbox, threading.Event())
    drain_once(outbox, replayer, 30, threading.Event())
    assert not outbox.waiting()
    replayer.close()
    outbox.close()


def test_a_store_that_dies_and_comes_back_has_every_row_once(tmp_path: Path) -> None:
    with tracked_server() as server:
        writer = BatchWriter.open(settings(tmp_path, server, writer={"deadline_s": 0.3}), every_s=0.05)
        writer.start()
        for number, (table, row) in enumerate(_rows(3000)):
            writer.enqueue(table, row)
            if number == 1000:
                server.stop()
            if number == 2000:
                server.start()
            time.sleep(0.0005)
        writer.stop()
        assert writer.counts.outbox and writer.counts.store + writer.counts.outbox == 3000
        _drained(tmp_path)
        assert sum(count(server, table) for table in FED) == 3000


def test_the_feed_of_a_drill_tells_every_acknowledgement_as_ranges_without_holes(
    empty: Server, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "agents.tracker.feed", "--config", str(settings(tmp_path, empty)), "--rate", "400",
        "--seconds", "2", "--every", "0.2", "--batch", "300",
    ]  # fmt: skip
    pipe = subprocess.PIPE  # its standard input stays open: closed, it ends the feed
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as feed:
        assert feed.stdout is not None
        told = [json.loads(line) for line in feed.stdout]
    assert feed.returncode == 0
    assert told[0]["kind"] == "start" and told[-1]["kind"] == "stop" and told[-1]["outbox_pending"] == 0
    acks = [one for one in told if one["kind"] == "ack"]
    rows = sum(one["n"] for one in acks)
    assert rows == told[-1]["acked"] >= 400
    for table in (TRADES, FOREIGN, BASIS, ALERTS):
        ranges = [one["rows"][table] for one in acks if table in one["rows"]]
        assert ranges[0][0] == 1
        assert all(later[0] == before[1] + 1 for before, later in pairwise(ranges))
        assert count(empty, table) == ranges[-1][1]
    assert empty.sql("SELECT DISTINCT event_id >> 32 FROM trades", database=DATABASE) == [(told[0]["run"],)]


def test_settings_without_a_node_or_without_the_trackers_tables_are_bad_ones(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="names no node"):
        path = settings(tmp_path, None)
        said = json.loads(path.read_text())
        path.write_text(json.dumps({name: value for name, value in said.items() if name != "node"}))
        BatchWriter.open(path)
    path = settings(tmp_path, None)
    (tmp_path / "tables-tracker.json").write_text('{"version": 1, "tables": {}}')
    with pytest.raises(BadConfig, match="no table of the tracker"):
        BatchWriter.open(path)
