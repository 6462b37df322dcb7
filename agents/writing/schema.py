"""The outbox's file: its tables, the counts that triggers keep, and how a file of older code becomes one of today.

An older file is brought up to date in place, in one transaction: columns are added at the end, nothing is moved. Older
code may go on writing into it: what it leaves out has a default, and the triggers count its records too.
"""

from __future__ import annotations

import sqlite3

VERSION = 2
DEFAULT_LANE = 2  # of a record that older code wrote: behind orders, before ticks

_QUEUE = f"""
CREATE TABLE IF NOT EXISTS outbox_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    classification TEXT NOT NULL,
    target_database TEXT NOT NULL,
    data TEXT NOT NULL,                -- JSON: [{{table, columns, first, last, n, text}}]
    created_at REAL NOT NULL,          -- unix seconds
    retry_count INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'applied', 'dead')),
    tables TEXT NOT NULL,              -- JSON: {{table: [first event id, last event id, rows]}}
    n_rows INTEGER NOT NULL,
    origin INTEGER NOT NULL,           -- who enqueued: the run of the event ids
    checksum TEXT NOT NULL,            -- SHA-256 of data
    last_error TEXT,
    applied_no INTEGER,                -- counts applied records in the order of their application
    applied_at REAL,
    applied_host TEXT,
    applied_timeline INTEGER,
    parent_id INTEGER,                 -- the record that these rows were acknowledged in, where it was split
    lane INTEGER NOT NULL DEFAULT {DEFAULT_LANE},  -- the less the sooner
    held TEXT,                         -- the table for which a pending record waits; NULL: it is ready
    copy_no INTEGER                    -- of its second copy on another host, if any
)
"""
_ADDED = (
    f"ALTER TABLE outbox_queue ADD COLUMN lane INTEGER NOT NULL DEFAULT {DEFAULT_LANE}",
    "ALTER TABLE outbox_queue ADD COLUMN held TEXT",
    "ALTER TABLE outbox_queue ADD COLUMN copy_no INTEGER",
)
# `outbox_pending`, `outbox_dead` and `outbox_applied` are older code's, which looks by them.
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS outbox_pending ON outbox_queue (id) WHERE status = 'pending'",
    "CREATE INDEX IF NOT EXISTS outbox_dead ON outbox_queue (id) WHERE status = 'dead'",
    "CREATE UNIQUE INDEX IF NOT EXISTS outbox_applied ON outbox_queue (applied_no) WHERE applied_no IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS outbox_ready ON outbox_queue (lane, id) WHERE status = 'pending' AND held IS NULL",
    "CREATE INDEX IF NOT EXISTS outbox_held ON outbox_queue (held, id) WHERE status = 'pending' AND held IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS outbox_copies ON outbox_queue (copy_no)"
    " WHERE copy_no IS NOT NULL AND status <> 'applied'",
    "CREATE INDEX IF NOT EXISTS outbox_kept ON outbox_queue (applied_at) WHERE status = 'applied'",
)
# What was ever enqueued and what became of it, in rows by table and lane; records and bytes by state.
_COUNTS = (
    "CREATE TABLE IF NOT EXISTS outbox_totals (tbl TEXT NOT NULL, lane INTEGER NOT NULL,"
    " enqueued INTEGER NOT NULL, applied INTEGER NOT NULL, dead INTEGER NOT NULL, pending INTEGER NOT NULL,"
    " discarded INTEGER NOT NULL, PRIMARY KEY (tbl, lane)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outbox_sizes (status TEXT PRIMARY KEY, records INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outbox_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outbox_journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,"
    " who TEXT NOT NULL, letter INTEGER NOT NULL, deed TEXT NOT NULL, reason TEXT NOT NULL, what TEXT NOT NULL)",
    "INSERT OR IGNORE INTO outbox_sizes VALUES ('pending', 0, 0), ('applied', 0, 0), ('dead', 0, 0)",
)
# A damaged record has damaged names too, and must still be buried.
_EACH = (
    "(SELECT key AS tbl, coalesce(CAST(json_extract(value, '$[2]') AS INTEGER), 0) AS n"
    " FROM json_each(iif(json_valid({row}.tables), {row}.tables, '{{}}')))"
)
_ADD = (
    "INSERT INTO outbox_totals (tbl, lane, enqueued, applied, dead, pending, discarded)"  # noqa: S608 - ours alone
    " SELECT tbl, {row}.lane, {enqueued}, {applied}, {dead}, {pending}, {discarded} FROM " + _EACH + " WHERE true"
    " ON CONFLICT (tbl, lane) DO UPDATE SET enqueued = enqueued + excluded.enqueued,"
    " applied = applied + excluded.applied, dead = dead + excluded.dead, pending = pending + excluded.pending,"
    " discarded = discarded + excluded.discarded"
)
_BYTES = "length(CAST({row}.data AS BLOB))"


def _add(row: str, **changes: str) -> str:
    names = ("enqueued", "applied", "dead", "pending", "discarded")
    return _ADD.format(row=row, **{name: changes.get(name, "0") for name in names})


def _size(row: str, sign: str) -> str:
    return (
        f"UPDATE outbox_sizes SET records = records {sign} 1, bytes = bytes {sign} {_BYTES.format(row=row)}"  # noqa: S608 - ours alone
        f" WHERE status = {row}.status"
    )


_TRIGGERS = (
    "CREATE TRIGGER IF NOT EXISTS outbox_counts_new AFTER INSERT ON outbox_queue BEGIN "
    + _add(
        "new",
        enqueued="n * (new.parent_id IS NULL)",
        applied="n * (new.status = 'applied')",
        dead="n * (new.status = 'dead')",
        pending="n * (new.status = 'pending')",
    )
    + f"; {_size('new', '+')}; END",
    "CREATE TRIGGER IF NOT EXISTS outbox_counts_moved AFTER UPDATE OF status ON outbox_queue"
    " WHEN old.status <> new.status BEGIN "
    + _add(
        "new",
        applied="n * ((new.status = 'applied') - (old.status = 'applied'))",
        dead="n * ((new.status = 'dead') - (old.status = 'dead'))",
        pending="n * ((new.status = 'pending') - (old.status = 'pending'))",
    )
    + f"; {_size('old', '-')}; {_size('new', '+')}; END",
    # An applied record goes when it is old and stays counted; a pending one goes where its pieces were put in its
    # place, a dead one where somebody gave it up.
    "CREATE TRIGGER IF NOT EXISTS outbox_counts_gone AFTER DELETE ON outbox_queue BEGIN "
    + _add(
        "old",
        dead="-n * (old.status = 'dead')",
        pending="-n * (old.status = 'pending')",
        discarded="n * (old.status = 'dead')",
    )
    + f"; {_size('old', '-')}; END",
)
_COUNT_OLD = (
    "INSERT INTO outbox_totals (tbl, lane, enqueued, applied, dead, pending, discarded)"
    " SELECT tbl, lane, sum(n), sum(n * (status = 'applied')), sum(n * (status = 'dead')),"
    " sum(n * (status = 'pending')), 0 FROM (SELECT e.key AS tbl, q.lane AS lane, q.status AS status,"
    " coalesce(CAST(json_extract(e.value, '$[2]') AS INTEGER), 0) AS n"
    " FROM outbox_queue AS q, json_each(iif(json_valid(q.tables), q.tables, '{}')) AS e) GROUP BY tbl, lane",
    "UPDATE outbox_sizes SET (records, bytes) = (SELECT count(*), coalesce(sum(length(CAST(data AS BLOB))), 0)"
    " FROM outbox_queue AS q WHERE q.status = outbox_sizes.status)",
)


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables, or bring an older file up to date; two that do so at once do it once. Raises sqlite3.Error."""
    if _version(db) >= VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db) < VERSION:
            _upgrade(db)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _upgrade(db: sqlite3.Connection) -> None:
    columns = [row[1] for row in db.execute("PRAGMA table_info(outbox_queue)")]
    if columns and "checksum" not in columns:
        raise sqlite3.DatabaseError("its outbox_queue is of another application")
    if columns and "held" not in columns:
        for statement in _ADDED:
            db.execute(statement)
    for statement in (_QUEUE, *_INDEXES, *_COUNTS, *(_COUNT_OLD if columns else ()), *_TRIGGERS):
        db.execute(statement)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
