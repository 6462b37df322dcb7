"""A baseline tells what is gone or altered since, and what was written since from it; another estate's is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from inventories.catalog import load_tables
from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks.hosts import Estate
from runbooks.probes.postgresql.server import Node
from runbooks.validation import baseline, copies, run
from runbooks.validation.difference import Check, Looked
from runbooks.validation.report import Report
from runbooks.validation.run import Against
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import COLUMNS, Validated, validated

NAMES = ("order_records", "daily_kline", "realtime_quotes")


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 500) as made:
        made.sql(
            "INSERT INTO realtime_quotes (event_id, symbol, price, quoted_at) SELECT i, 'Q' || i, 1, now() "
            "FROM generate_series(1, 20) i"
        )
        yield made


def save(database: Validated, path: Path) -> Path:
    tables, _ = copies.hashed(load_tables(), NAMES, database.asked)
    baseline.write(baseline.take(database.asked, "test", tables, 60), path)
    return path


def compare(database: Validated, path: Path) -> Looked:
    tables, _ = copies.hashed(load_tables(), NAMES, database.asked)
    return baseline.compare(baseline.read(path), database.asked, tables, load_tables(), 60)


def told(found: Looked) -> list[str]:
    return [str(one) for one in found.differences]


def test_nothing_differs_while_rows_are_only_added(database: Validated, tmp_path: Path) -> None:
    kept = save(database, tmp_path / "kept.json")
    database.sql(
        f"INSERT INTO order_records {COLUMNS['order_records']} SELECT 900000 + event_id, order_id, order_time, "
        "account_id, strategy_id, symbol, side, order_type, price, quantity, status FROM order_records"
    )
    found = compare(database, kept)
    assert (told(found), found.unknown, found.number) == ([], "", 500 + 50 + 20)


def test_lost_and_altered_rows_are_told_by_their_day(database: Validated, tmp_path: Path) -> None:
    kept = save(database, tmp_path / "kept.json")
    database.sql(
        "DELETE FROM order_records WHERE event_id = 17", "DELETE FROM realtime_quotes WHERE event_id = 3",
        "UPDATE order_records SET quantity = 1 WHERE event_id = 18",
    )  # fmt: skip
    found = told(compare(database, kept))
    assert [line.partition(" of 20")[0] for line in found[:2]] == ["content: order_records: rows"] * 2
    assert {line.partition("expected ")[2] for line in found[:2]} == {
        "100, found 99", "100, found 99, 1 written since"
    }  # fmt: skip
    assert found[2:] == ["content: realtime_quotes: rows: expected 20, found 19"]


def test_a_row_that_was_written_again_is_not_comparable_and_said_so(database: Validated, tmp_path: Path) -> None:
    kept = save(database, tmp_path / "kept.json")
    database.sql("UPDATE realtime_quotes SET price = 2 WHERE event_id = 3")
    found = compare(database, kept)
    assert told(found) == []
    assert found.unknown == "rewritten since in part, and not comparable: 1 days of realtime_quotes"


def test_a_baseline_of_another_estate_is_refused(database: Validated, tmp_path: Path) -> None:
    kept = save(database, tmp_path / "kept.json")
    said = json.loads(kept.read_text())
    said["moment"]["system"] = "7000000000000000001"
    kept.write_text(json.dumps(said))
    with pytest.raises(Refused, match="the baseline is of another estate: system 7000000000000000001"):
        compare(database, kept)
    system = database.sql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    said["moment"] |= {"system": system, "version": 9}
    kept.write_text(json.dumps(said))
    with pytest.raises(Refused, match="made by PostgreSQL 9"):
        compare(database, kept)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"form": 2, "estate": "x"}'])
def test_what_is_no_baseline_is_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="is no baseline"):
        baseline.read(path)
    with pytest.raises(BadInput, match="there is no baseline at"):
        baseline.read(tmp_path / "other.json")


def test_a_baseline_of_no_row_is_refused(database: Validated) -> None:
    tables, _ = copies.hashed(load_tables(), ("fund_flow",), database.asked)
    with pytest.raises(BadInput, match="a baseline of none proves nothing"):
        baseline.take(database.asked, "test", tables, 60)


def test_since_compares_that_day_and_later_ones_alone(database: Validated, tmp_path: Path) -> None:
    """A table without a time column is compared whole."""
    kept = baseline.read(save(database, tmp_path / "kept.json"))
    database.sql(
        "DELETE FROM order_records WHERE order_time < now() - interval '3 days'",
        "DELETE FROM realtime_quotes WHERE event_id = 3",
    )
    yesterday = datetime.now(UTC) - timedelta(days=1)
    found = run.since(database.asked, kept, load_tables(), NAMES, yesterday)
    assert [one.table for one in found.differences] == ["realtime_quotes"]
    assert 20 < found.number < 500
    database.sql("DELETE FROM order_records WHERE event_id = (SELECT max(event_id) FROM order_records WHERE "
                 "order_time > now() - interval '20 hours')")
    found = run.since(database.asked, kept, load_tables(), NAMES, yesterday)
    assert [one.table for one in found.differences] == ["order_records", "realtime_quotes"]


def test_a_table_that_the_baseline_does_not_have_is_unknown(database: Validated, tmp_path: Path) -> None:
    tables, _ = copies.hashed(load_tables(), NAMES[:2], database.asked)
    baseline.write(baseline.take(database.asked, "test", tables, 60), tmp_path / "kept.json")
    found = compare(database, tmp_path / "kept.json")
    assert found.unknown == "not in the baseline: realtime_quotes"


def test_a_table_that_cannot_be_hashed_is_no_table_without_rows(database: Validated) -> None:
    tables, _ = copies.hashed(load_tables(), NAMES, database.asked)
    broken = tables["daily_kline"]
    columns = (*broken.columns, broken.columns[0].model_copy(update={"name": "nobodys"}))
    with pytest.raises(VerificationFailed, match=r'daily_kline cannot be hashed: .*"?t.nobodys"? does not exist'):
        baseline.take(database.asked, "test", {**tables, "daily_kline": replace(broken, columns=columns)}, 60)


class TestSaved:
    """`--save-baseline`, as the door asks for it."""

    @pytest.fixture
    def validate(
        self, database: Validated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[Against | None], Report]:
        node = cast(Node, SimpleNamespace(host=database.asked.host, name="pg1"))
        monkeypatch.setattr(run, "survey", lambda estate: (node,))
        monkeypatch.setattr(run, "the_primary", lambda nodes: node)
        monkeypatch.setattr(run, "Server", lambda host, name: database.asked)
        estate = cast(Estate, SimpleNamespace(name="here", data={"database": database.database}))

        def look(against: Against | None) -> Report:
            options = run.Options(against=against, baseline=tmp_path / "kept.json", save_baseline=True)
            return run.validate(estate, options, lambda _: None)

        return look

    def test_what_differs_from_the_one_that_is_there_does_not_take_its_place(
        self, validate: Callable[[Against | None], Report], database: Validated, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept.json"
        assert not validate(None).note
        before = kept.read_text()
        database.sql("DELETE FROM order_records WHERE event_id = 17")
        for _ in range(2):
            report = validate(Against.BASELINE)
            assert any(one.table == "order_records" and "rows of" in one.what for one in report.differences)
            assert "The baseline is still the one of before" in report.render()
        assert kept.read_text() == before
        assert not validate(None).note
        assert kept.read_text() != before
        assert not any(one.check is Check.CONTENT for one in validate(Against.BASELINE).differences)
