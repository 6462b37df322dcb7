"""A file of older code goes on working: brought up to date in place, nothing lost, beside code that is older still."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from agents.base.config import Table
from agents.base.errors import OutboxDamaged
from agents.writing.batch import Batch
from agents.writing.outbox import Outbox
from agents.writing.records import checksum_of, data_of, ranges_of
from tests.unit.agent_fixtures import orders, tables

# The file as version 0.1 made it, word for word.
OLD = """
CREATE TABLE IF NOT EXISTS outbox_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    classification TEXT NOT NULL,
    target_database TEXT NOT NULL,
    data TEXT NOT NULL,                -- JSON: [{table, columns, first, last, n, text}]
    created_at REAL NOT NULL,          -- unix seconds
    retry_count INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'applied', 'dead')),
    tables TEXT NOT NULL,              -- JSON: {table: [first event id, last event id, rows]}
    n_rows INTEGER NOT NULL,
    origin INTEGER NOT NULL,           -- who enqueued: the run of the event ids
    checksum TEXT NOT NULL,            -- SHA-256 of data
    last_error TEXT,
    applied_no INTEGER,                -- counts applied records in the order of their application
    applied_at REAL,
    applied_host TEXT,
    applied_timeline INTEGER,
    parent_id INTEGER                  -- the record from which a poison row was taken
);
CREATE INDEX IF NOT EXISTS outbox_pending ON outbox_queue (id) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS outbox_dead ON outbox_queue (id) WHERE status = 'dead';
CREATE UNIQUE INDEX IF NOT EXISTS outbox_applied ON outbox_queue (applied_no) WHERE applied_no IS NOT NULL;
"""


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


def old_file(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(OLD)
    return db


def old_insert(db: sqlite3.Connection, batch: Batch, status: str = "pending", no: int | None = None) -> None:
    data = data_of(batch.parts)
    db.execute(
        "INSERT INTO outbox_queue (classification, target_database, data, created_at, tables, n_rows, origin, checksum,"
        " status, applied_no, applied_at, applied_host, applied_timeline)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            "transaction_data", "quant_research", data, 1_700_000_000.0, ranges_of(batch.parts), batch.n, 7,
            checksum_of(data), status, no, None if no is None else 1_700_000_001.0, "pg1", 1,
        ),
    )  # fmt: skip


def test_an_older_file_is_brought_up_to_date_and_loses_nothing(tmp_path: Path, known: dict[str, Table]) -> None:
    path = tmp_path / "outbox.db"
    db = old_file(path)
    old_insert(db, orders(known, 1, 10), "applied", 1)
    old_insert(db, orders(known, 11, 20))
    old_insert(db, orders(known, 21, 21), "dead")
    db.close()
    outbox = Outbox(path)
    status = outbox.status()
    assert (status.pending_rows, status.dead_rows, status.applied_rows, status.applied_records) == (10, 1, 10, 1)
    assert [record.parts[0].first for record in outbox.pending(100)] == [11]
    outbox.mark_applied(outbox.pending(100), "pg1", 1)
    assert outbox.last_applied_no() == 2
    (account,) = outbox.accounts()
    assert (account.enqueued, account.applied, account.dead, account.pending) == (21, 20, 1, 0)


def test_older_code_that_goes_on_writing_is_read_and_counted(tmp_path: Path, known: dict[str, Table]) -> None:
    path = tmp_path / "outbox.db"
    db = old_file(path)
    old_insert(db, orders(known, 1, 10))
    outbox = Outbox(path)
    old_insert(db, orders(known, 11, 20))
    assert [record.parts[0].first for record in outbox.pending(100)] == [1, 11]
    db.execute("DELETE FROM outbox_queue WHERE id = 1")  # older code does so where it takes a record apart
    assert outbox.status().pending_rows == 10


def test_several_that_bring_it_up_to_date_at_once_do_it_once(tmp_path: Path, known: dict[str, Table]) -> None:
    path = tmp_path / "outbox.db"
    db = old_file(path)
    for first in range(1, 2000, 10):
        old_insert(db, orders(known, first, first + 9))
    db.close()
    failed: list[BaseException] = []

    def open_it() -> None:
        try:
            Outbox(path).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [one.enqueued for one in Outbox(path).accounts()] == [2000]


def test_a_record_with_damaged_names_can_still_be_buried(tmp_path: Path, known: dict[str, Table]) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(known, 1, 10), known, 7)
    with sqlite3.connect(outbox.path) as other:
        other.execute("UPDATE outbox_queue SET tables = '{broken', data = 'x'")
    assert outbox.pending(100) == []
    assert outbox.status().pending_records == 0


def test_a_record_of_a_newer_version_waits_and_holds_up_nobody(tmp_path: Path, known: dict[str, Table]) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(known, 1, 10), known, 7)
    outbox.enqueue(orders(known, 11, 20), known, 7)
    data = json.dumps([{"table": "order_records", "rows": "in a way of tomorrow"}])
    with sqlite3.connect(outbox.path) as other:
        other.execute("UPDATE outbox_queue SET data = ?, checksum = ? WHERE id = 1", (data, checksum_of(data)))
    assert [record.id for record in outbox.pending(100)] == [2]
    status = outbox.status()
    assert (status.dead_rows, status.held_records, status.pending_records) == (0, 1, 2)


def test_a_file_of_another_application_is_one_sentence_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE outbox_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, classification TEXT NOT NULL,"
            " target_database TEXT NOT NULL, data_json TEXT NOT NULL, created_at TIMESTAMP, retry_count INTEGER,"
            " status TEXT DEFAULT 'pending')"
        )
        db.execute("INSERT INTO outbox_queue (classification, target_database, data_json) VALUES ('a', 'b', '{}')")
    with pytest.raises(OutboxDamaged, match="another application"):
        Outbox(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT data_json FROM outbox_queue").fetchall() == [("{}",)]
