"""Locks for years of chunks: declared from the catalogue, told of before they are used up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inventories.catalog.load import load_tables
from inventories.catalog.postgresql import locks
from inventories.catalog.tables import Store, Tables
from inventories.inventory import HostEntry
from runbooks.hosts import Host
from runbooks.judge.locks import findings
from runbooks.probes.postgresql.locks import LockRoom, look
from tests.unit.copying_kit import Two

EVENT = {"name": "event_id", "type": "bigint"}
TIME = {"name": "at", "type": "timestamptz"}


def table(interval: str = "", **more: object) -> dict[str, object]:
    hypertable = {"hypertable": {"time_column": "at", "chunk_interval": interval}} if interval else {}
    return {
        "store": "postgresql", "database": "d", "classification": "derived_data", "subclassification": "s",
        "owner": "o", "columns": [EVENT, TIME], "key": ["event_id", "at"], "on_conflict": "ignore", **hypertable,
        **more,
    }  # fmt: skip


def catalogue(years: int = 12, **tables: dict[str, object]) -> Tables:
    return Tables.model_validate({"version": 1, "kept_years": years, "tables": tables})


@pytest.mark.parametrize(
    ("interval", "more", "chunks"),
    [
        ("1 day", {}, 4384), ("1 year", {}, 14), ("12 hours", {}, 8767), ("2 weeks", {}, 315), ("", {}, 1),
        ("1 day", {"retention_days": 30}, 31), ("1 day", {"retention_days": 30, "compress_after_days": 7}, 62),
    ],
)  # fmt: skip
def test_chunks_are_the_days_kept_by_the_days_of_one(interval: str, more: dict[str, object], chunks: int) -> None:
    assert locks.chunks(catalogue(t=table(interval, **more)).tables["t"], 12) == chunks


def test_every_chunk_is_locked_with_each_of_its_indexes() -> None:
    one = catalogue(t=table("1 day", indexes=[{"columns": ["at"]}]))
    assert locks.needed(one) == 4384 * 5
    assert locks.per_transaction(one, 100) == 384
    assert locks.per_transaction(one, 10) == 3328, "fewer connections, as many locks"
    assert locks.per_transaction(catalogue(t=table()), 100) == 64, "never less than PostgreSQL's own"


def test_twelve_years_of_our_own_chunks_fit_in_one_transaction() -> None:
    """F6: 3,000 days of order_records, and count(*) was out of shared memory."""
    tables = load_tables()
    capacity = locks.per_transaction(tables, 100) * 100
    most = max(locks.chunks(one, tables.kept_years) * (2 + len(one.indexes)) for one in tables.of(Store.POSTGRESQL))
    assert tables.kept_years >= 12
    assert most > 20_000, "a chunk a day"
    assert capacity > locks.needed(tables)
    assert list(findings({"pg1": LockRoom(capacity, "order_records", 4384, most)}, 50)) == []


def test_a_table_that_takes_more_than_its_share_is_told_of_with_what_would_do() -> None:
    (found,) = findings({"pg1": LockRoom(8320, "order_records", 1000, 5001), "pg2": LockRoom(8320, "", 0, 0)}, 50)
    assert found.objective == "locks of pg1"
    assert "1,000 chunks of order_records takes 5,001 of 8,320" in found.measured
    assert "1.8 times as large" in found.hint
    assert "the primary last" in found.hint


def test_what_is_told_is_what_a_statement_takes_of_a_real_server(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions of partitions, and each of their indexes; another table has fewer."""
    two.sql(
        "CREATE TABLE days (at int, v int, PRIMARY KEY (at, v)) PARTITION BY RANGE (at)", "CREATE INDEX ON days (v)",
        "CREATE TABLE few (at int) PARTITION BY LIST (at)", "CREATE TABLE few_1 PARTITION OF few DEFAULT",
        *(f"CREATE TABLE d{n} PARTITION OF days FOR VALUES FROM ({n}) TO ({n + 1})" for n in range(20)),
        "CREATE TABLE d20 PARTITION OF days FOR VALUES FROM (20) TO (40) PARTITION BY RANGE (at)",
        "CREATE TABLE d20_1 PARTITION OF d20 FOR VALUES FROM (20) TO (40)",
    )

    def query(_: Host, sql: str, *__: Any) -> list[dict[str, object]]:
        names = ("capacity", "name", "parts", "locks")
        return [dict(zip(names, row, strict=True)) for row in two.sql(sql)]

    monkeypatch.setattr(Host, "query", query)
    room = look(Host("pg1", HostEntry(name="pg1", ssh_hostname="192.0.2.1"), Path("unused")), "d")
    taken = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation >= 16384"
    locked = two.sql(f"BEGIN; SELECT * FROM days; {taken} AND relation <> 'pg_locks'::regclass")[0][0]
    assert (room.table, room.parts) == ("days", 22)
    # Two of the 67 are indexes of a partitioned partition, which nobody opens.
    assert (room.locks, int(str(locked))) == (67, 65)
    limits = two.sql(
        "SELECT current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int + "
        "current_setting('max_prepared_transactions')::int)"
    )
    assert room.capacity >= int(str(limits[0][0]))
