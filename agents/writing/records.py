"""What a record of the outbox looks like: in SQLite, as bytes with a checksum, and in the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from agents.writing.batch import Part

SCHEMA = """
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


@dataclass(frozen=True)
class Record:
    """One pending batch."""

    id: int
    parts: tuple[Part, ...]
    n: int
    origin: int
    classification: str
    target_database: str
    created_at: float


@dataclass(frozen=True)
class Applied:
    """One batch that has reached the store; `tables` maps a table to [first id, last id, rows]."""

    no: int
    id: int
    tables: dict[str, list[int]]
    n: int
    host: str
    timeline: int


@dataclass(frozen=True)
class Status:
    """Counts of rows and records; `oldest_age_s` is None when nothing waits."""

    pending_records: int
    pending_rows: int
    dead_rows: int
    applied_records: int
    applied_rows: int
    oldest_age_s: float | None
    last_error: str | None
    size_bytes: int
    max_bytes: int


def data_of(parts: Sequence[Part]) -> str:
    """The parts as they are stored."""
    return json.dumps([vars(part) for part in parts], ensure_ascii=False, separators=(",", ":"))


def parts_of(data: bytes, checksum: str) -> tuple[Part, ...] | None:
    """The stored parts, or None when the checksum tells that they are not what was stored."""
    if hashlib.sha256(data).hexdigest() != checksum:
        return None
    return tuple(Part(**{**part, "columns": tuple(part["columns"])}) for part in json.loads(data))


def ranges_of(parts: Sequence[Part]) -> str:
    """{table: [first event id, last event id, rows]} as JSON."""
    return json.dumps({part.table: [part.first, part.last, part.n] for part in parts})


def checksum_of(data: str) -> str:
    return hashlib.sha256(data.encode()).hexdigest()
