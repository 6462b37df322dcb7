"""tracker-migrate on real servers of this machine: consent, rows that would go, a standby that streams, a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inventories.catalog.tracker import DATABASE
from inventories.errors import Refused, TargetFailed
from runbooks.engine import runner
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome
from runbooks.engine.result import RunResult
from runbooks.probes import outbox
from runbooks.probes.outbox import TRACKER, Box
from runbooks.probes.tracker import schema
from runbooks.procedures import replay_outbox
from runbooks.procedures.replay_outbox import ReplayOutboxOptions
from runbooks.procedures.tracker import migrate as procedure
from runbooks.procedures.tracker.migrate import TRACKER_MIGRATE, TrackerMigrate, TrackerMigrateOptions
from tests.unit.postgres_server import Server, folder_for_server, fresh_server
from tests.unit.tracker_kit import Here, here, make_database


@dataclass
class Hosts:
    """A primary and, where there is one, its standby."""

    primary: Here
    standby: Here | None = None
    folder: Path = Path()
    name: str = "mine"
    inventory: str = "mine"
    runs: int = 0
    data: dict[str, Any] = field(default_factory=dict)

    def host(self, name: str) -> Here:
        return self.primary if name == self.primary.name else self.standby  # type: ignore[return-value]

    def nodes(self) -> tuple[Any, ...]:
        both = [(self.primary, False)] + ([(self.standby, True)] if self.standby else [])
        return tuple(SimpleNamespace(host=host, name=host.name, streams=streams) for host, streams in both)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with fresh_server() as primary, folder_for_server() as place:
        standby = primary.standby(place)
        yield primary, standby
        standby.stop()


@pytest.fixture
def estate(servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    primary, standby = servers
    made = Hosts(here(primary), here(standby, "pg2"), tmp_path)
    monkeypatch.setattr(procedure.server, "survey", lambda estate: estate.nodes())
    monkeypatch.setattr(procedure.server, "the_primary", lambda nodes: nodes[0])
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    yield made
    primary.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


def ran(estate: Hosts, **said: Any) -> RunResult[TrackerMigrate]:
    estate.runs += 1
    folder = estate.folder / f"run-{estate.runs}"
    folder.mkdir()
    context: Context[Any, Any] = Context(estate, TrackerMigrateOptions(**said), folder)
    return runner.run(TRACKER_MIGRATE, context)


def test_without_consent_it_names_the_migrations_and_changes_nothing(estate: Hosts, servers: Any) -> None:
    make_database(servers[0], "0002")
    result = ran(estate)
    assert result.outcome is Outcome.PASSED
    assert "at revision 0002: run 0003 (" in result.state.told[0] and "--yes" in result.state.told[-1]
    assert schema.revision(estate.primary) == "0002"


def test_an_older_revision_that_a_restore_brought_is_migrated_on_consent_and_the_standby_follows(
    estate: Hosts, servers: Any
) -> None:
    make_database(servers[0], "0002")
    assert ran(estate, yes=True).outcome is Outcome.PASSED
    assert estate.standby is not None
    assert (schema.revision(estate.primary), schema.revision(estate.standby)) == ("0004", "0004")


def test_it_makes_the_database_where_there_is_none_and_may_be_repeated(estate: Hosts) -> None:
    assert schema.revision(estate.primary) is None
    assert ran(estate, yes=True).outcome is Outcome.PASSED
    again = ran(estate, yes=True)
    assert again.outcome is Outcome.PASSED and "nothing to run" in again.state.told[0]


def test_rows_are_dropped_only_where_somebody_accepts_it(estate: Hosts, servers: Any) -> None:
    make_database(servers[0])
    servers[0].sql(
        "INSERT INTO alerts (event_id, symbol, alert_type) VALUES (1, 'VCB', 'x'), (2, 'VCB', 'x')", database=DATABASE
    )
    refused = ran(estate, yes=True, to="0003")
    assert refused.outcome is Outcome.REFUSED and "alerts with 2 rows" in refused.error
    assert schema.revision(estate.primary) == "0004"
    assert ran(estate, yes=True, to="0003", accept_loss=True).outcome is Outcome.PASSED
    assert schema.revision(estate.primary) == "0003"


def test_a_revision_that_there_is_not_touches_nothing(estate: Hosts, servers: Any) -> None:
    make_database(servers[0], "0001")
    result = ran(estate, yes=True, to="0017")
    assert result.outcome is not Outcome.PASSED and "no revision '0017'" in result.error
    assert schema.revision(estate.primary) == "0001"


def test_a_database_of_a_newer_release_is_refused(estate: Hosts, servers: Any) -> None:
    make_database(servers[0])
    servers[0].sql("UPDATE alembic_version SET version_num = '0099'", database=DATABASE)
    result = ran(estate, yes=True)
    assert result.outcome is Outcome.REFUSED and "'0099'" in result.error


def test_a_table_that_is_not_as_declared_fails_the_run(estate: Hosts, servers: Any) -> None:
    make_database(servers[0], "0003")
    servers[0].sql("ALTER TABLE trades DROP COLUMN ask_price", database=DATABASE)
    result = ran(estate, yes=True)
    assert result.outcome is Outcome.FAILED and "trades.ask_price is missing" in result.error


def test_a_run_that_is_repeated_after_it_was_killed_goes_on_where_the_database_is(
    estate: Hosts, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(servers[0], "0002")
    whole = procedure.act.run

    def killed(host: Any, way: Any, timeout: float) -> None:
        whole(host, way, timeout)
        raise TargetFailed("the connection was lost after the commit")

    monkeypatch.setattr(procedure.act, "run", killed)
    assert ran(estate, yes=True).outcome is Outcome.FAILED
    monkeypatch.setattr(procedure.act, "run", whole)
    assert ran(estate, yes=True).outcome is Outcome.PASSED
    assert schema.revision(estate.primary) == "0004"


def test_rows_wait_where_a_migration_is_to_make_their_table(
    estate: Hosts, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(servers[0], "0003")
    monkeypatch.setattr(outbox, "boxes", lambda estate, store="": (Box(estate.primary, TRACKER),))
    context: Context[Any, Any] = Context(estate, ReplayOutboxOptions(store=TRACKER), estate.folder)
    with pytest.raises(Refused, match="alerts") as refused:
        replay_outbox.shapes_fit(context)
    assert "./dr tracker-migrate" in refused.value.hint
    ran(estate, yes=True)
    replay_outbox.shapes_fit(context)
