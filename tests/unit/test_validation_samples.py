"""The trading system's kinds of queries are asked of a real server and timed; refused ones are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.catalog import load_tables
from runbooks.validation import baseline, copies, samples
from runbooks.validation.difference import Check
from runbooks.validation.samples import SAMPLES, UPSERT, Asked
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import Validated, validated

KNOWN = load_tables()


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 500) as made:
        yield made


def ask(database: Validated) -> Asked:
    names = (*SAMPLES, UPSERT)
    return samples.ask(database.asked, KNOWN, names, 60)


def test_each_is_answered_and_timed_and_writes_nothing(database: Validated) -> None:
    before = database.sql("SELECT pg_current_wal_insert_lsn(), count(*) FROM daily_kline")
    found = ask(database)
    assert not found.refused and set(found.ms) == {*SAMPLES, UPSERT}
    assert all(0 <= ms < 60_000 for ms in found.ms.values())
    assert found.rows > 2
    assert database.sql("SELECT pg_current_wal_insert_lsn(), count(*) FROM daily_kline")[0][1] == before[0][1]


def test_an_upsert_whose_key_nobody_enforces_is_refused(database: Validated) -> None:
    database.sql("ALTER TABLE daily_kline DROP CONSTRAINT daily_kline_pkey")
    found = ask(database)
    assert "no unique or exclusion constraint" in found.refused[UPSERT]
    assert set(found.ms) == set(SAMPLES)


def test_one_that_is_refused_ends_no_other_and_is_told_once(database: Validated) -> None:
    """A column that is gone is a difference of the structure; where that is sound the query's refusal is one."""
    database.sql("ALTER TABLE technical_indicators RENAME COLUMN indicator_value TO value")
    found = ask(database)
    assert set(found.refused) == {"join"}
    (told,) = samples.judge(found, {}, ()).differences
    assert (told.check, told.what) == (Check.SAMPLE, "join") and "indicator_value" in told.found
    spoilt = samples.judge(found, {}, {"technical_indicators"})
    assert spoilt.sound and "join refused" in spoilt.undecided


def test_times_stand_beside_those_of_the_baseline(database: Validated, tmp_path: Path) -> None:
    tables, _ = copies.hashed(KNOWN, ("order_records",), database.asked)
    kept = tmp_path / "kept.json"
    assert baseline.took(kept, "test") == {}
    baseline.write(baseline.take(database.asked, "test", tables, 60, {"join": 7.25}), kept)
    assert baseline.took(kept, "another") == {}
    looked = samples.judge(Asked({"join": 9.0, UPSERT: 1.0}, rows=3), baseline.took(kept, "test"), ())
    assert looked.undecided == f"join 9.0 ms (baseline 7.2 ms), {UPSERT} 1.0 ms"


def test_those_whose_tables_are_not_looked_at_are_not_asked() -> None:
    assert samples.fitting(KNOWN, ("order_records",)) == ("newest rows",)
    assert samples.fitting(KNOWN, ("fund_flow",)) == ()
    assert UPSERT in samples.fitting(KNOWN, ("daily_kline",))
