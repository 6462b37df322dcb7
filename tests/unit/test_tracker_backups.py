"""Which revision of the tracker's database a backup holds, and what is said when a restore brings an older one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.base.config import Config, Host, OutboxSettings
from agents.jobs.proofs import Check
from agents.postgresql import manifest, prove_checks, rows
from agents.postgresql.side.place import Unanswered
from inventories.catalog import load_tables
from inventories.catalog.export import tables_json
from inventories.catalog.load import load_tracker
from inventories.catalog.tracker import DATABASE
from runbooks.judge import objectives, outbox, tracker
from runbooks.look import migrations
from runbooks.probes import outbox as probe
from tests.unit.postgres_server import Server, fresh_server
from tests.unit.test_backup_list import known
from tests.unit.test_objectives import LIMITS, OUTBOX, WHOLE
from tests.unit.tracker_kit import here, make_database


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


@pytest.fixture
def database(server: Server) -> Iterator[Server]:
    make_database(server, "0002")
    server.sql("INSERT INTO daily_ohlc (event_id, symbol, date) VALUES (1, 'VCB', '2026-01-02')", database=DATABASE)
    yield server
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


@pytest.fixture
def settings(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of the jobs, on a backup host that has the tracker's tables declared."""
    monkeypatch.setattr(manifest, "_pgbackrest_version", lambda: "2.55")
    (tmp_path / "tables.json").write_text(tables_json(load_tables()))
    (tmp_path / rows.TRACKER).write_text(tables_json(load_tracker()))
    hosts = (Host("pg1", "127.0.0.1", server.port),)
    config = Config(hosts, "postgres", "monitor", tmp_path / "tables.json", OutboxSettings(Path("/dev/null")))
    return SimpleNamespace(database=config)


def test_a_backup_is_told_the_revision_and_the_rows_of_the_tracker(database: Server, settings: Any) -> None:
    facts = manifest.before(settings, Path("/nowhere"))
    assert json.loads(facts.annotations["revisions"]) == {DATABASE: "0002"}
    counted = rows.parse(facts.annotations["rows-before"])
    assert counted["daily_ohlc"].rows == 1 and "order_records" in counted
    assert [line for line in facts.left_out if "alerts was not counted" in line], "a table of a later revision"


def test_an_estate_without_the_tracker_notes_no_revision(server: Server, settings: Any, tmp_path: Path) -> None:
    (tmp_path / rows.TRACKER).unlink()
    assert "revisions" not in manifest.before(settings, Path("/nowhere")).annotations


def test_the_revision_is_read_back_from_a_backup() -> None:
    full = known().backups[1]
    assert full.revisions == {}
    assert replace(full, annotations={"revisions": f'{{"{DATABASE}": "0002"}}'}).revisions == {DATABASE: "0002"}
    for torn in ("{", "[]", "7"):
        assert replace(full, annotations={"revisions": torn}).revisions == {}


class Restored:
    """A side cluster without the tracker's database."""

    name, folder, log = "proof", Path("/nowhere"), "/log"

    def query(self, sql: str, database: str = "postgres") -> str:
        if database == DATABASE:
            raise Unanswered(f'database "{DATABASE}" does not exist', "")
        return "[7, null, null]"


def test_a_proof_asks_for_the_tracker_only_where_the_backup_had_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / rows.TRACKER).write_text(tables_json(load_tracker()))
    of_tracker = rows.of_tracker(tmp_path / "tables.json")
    assert {one.name for one in of_tracker} == set(load_tracker().tables)
    assert {one.database for one in of_tracker} == {DATABASE}
    monkeypatch.setattr(rows, "asked", lambda: (rows.Asked("order_records", "quant_research", None),))
    monkeypatch.setattr(rows, "of_tracker", lambda: of_tracker)
    counted = {"rows-before": '{"order_records":[7,null,null]}', "rows-after": '{"order_records":[7,null,null]}'}
    found: Check = prove_checks.counts(Restored(), counted)  # type: ignore[arg-type]
    assert found.ok, found


def test_an_older_revision_is_a_finding_that_names_the_migrations_to_run() -> None:
    (found,) = tracker.findings("pg1", {"pg1": "0002", "pg2": "0004"})
    assert (found.measured, found.limit) == ("0002", "0004")
    assert found.hint.startswith("./dr tracker-migrate --yes runs 0003 (") and "0004 (" in found.hint
    assert not [*tracker.findings("pg1", {"pg1": "0004"})] and not [*tracker.findings("", {"pg1": "0001"})]
    (none,) = tracker.findings("pg1", {"pg1": ""})
    assert "makes it" in none.hint
    (newer,) = tracker.findings("pg1", {"pg1": "0099"})
    assert "does not have" in newer.hint


def test_rows_that_wait_in_its_outbox_are_a_finding() -> None:
    (found,) = outbox.findings(replace(OUTBOX, dead_rows=3), LIMITS, outbox.TRACKER)
    assert found.objective == "dead letters in the stock tracker's outbox" and "--store tracker" in found.hint
    part = objectives.by_part(replace(WHOLE, tracker_outbox=replace(OUTBOX, dead_rows=3)), LIMITS)["tracker"]
    assert part == (found,)


def test_its_outbox_is_one_of_the_estates_where_the_inventory_has_the_tracker() -> None:
    app = SimpleNamespace(name="app1")
    estate = SimpleNamespace(data={"tracker": True}, group=lambda name: (app,), groups={}, hosts=())
    boxes = probe.boxes(estate)  # type: ignore[arg-type]
    assert [one.config for one in boxes] == ["/etc/mystocks-dr/agent.json", "/etc/mystocks-dr/agent-tracker.json"]
    estate.data = {}
    assert [one.store for one in probe.boxes(estate)] == ["postgresql"]  # type: ignore[arg-type]


def test_after_a_restore_the_migrations_to_run_are_told(database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    primary = here(database)
    monkeypatch.setattr(migrations.server, "survey", lambda estate: ())
    monkeypatch.setattr(migrations.server, "the_primary", lambda nodes: SimpleNamespace(host=primary))
    monkeypatch.setattr(migrations.hosts, "load", lambda _: SimpleNamespace(data={"tracker": True}))
    told = migrations.way_on("mine")
    assert told.startswith(f"revision of {DATABASE} is 0002, this release goes by 0004: ./dr tracker-migrate --yes")
    monkeypatch.setattr(migrations.hosts, "load", lambda _: SimpleNamespace(data={}))
    assert migrations.way_on("mine") == ""


def test_a_restore_that_succeeded_does_not_fail_where_nobody_can_tell() -> None:
    assert "revision of the stock tracker's database is not known" in migrations.way_on("no-such-inventory")
