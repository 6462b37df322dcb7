"""A delayed standby in a lab of its own, DR_TEST_DELAYED_LAB (default t-delayed): what it gives back, exactly, that it
is behind again afterwards, and that it follows its primary wherever that goes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.prepare import provision
from drills.run import Plan, drill
from drills.scenarios.catalogue import SCENARIOS
from lab.down import down
from lab.up import up
from runbooks import hosts
from runbooks.engine.outcome import Outcome
from runbooks.hosts import Estate
from runbooks.judge import objectives
from runbooks.look import status
from runbooks.probes.postgresql import server, window
from runbooks.probes.postgresql import side as sides
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, SIDE, RestorePitrOptions
from runbooks.procedures.postgresql.restore_table import RESTORE_TABLE, RestoreTableOptions
from runbooks.record.read import read
from runbooks.record.types import Unknown
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.test_scenarios import assert_proven

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(1500)]
LAB = os.environ.get("DR_TEST_DELAYED_LAB") or "t-delayed"
SHORT = Plan(calm_s=2, after_s=2)
TARGETS = 20


def quiet(_: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "DR_LAB": LAB, "DR_INVENTORY": "lab", "DR_LAB_POSTGRES": "3", "DR_LAB_DELAY": "1h",
            "DR_RUNS": str(tmp_path_factory.mktemp("runs")),
        }.items():  # fmt: skip
            patch.setenv(name, value)
        try:
            up(LAB, quiet)
            provision(hosts.load("lab"), quiet)
            yield
        finally:
            if os.environ.get("DR_TEST_KEEP") != "1":
                down(LAB, quiet)


@pytest.fixture
def behind(made: None) -> Estate:
    """A whole estate, whatever the test before left."""
    return seen.make_whole(hosts.load("lab"))


def delayed(estate: Estate) -> server.Node:
    (host,) = estate.delayed
    return server.look(host, server.version(estate))


def test_it_is_cloned_and_is_behind_and_nobody_waits_for_it(behind: Estate) -> None:
    primary = server.the_primary(server.survey(behind))
    assert primary.waits_for is not None and delayed(behind).name not in primary.waits_for.names
    answer = read(behind)
    assert not isinstance(answer, Unknown) and delayed(behind).name not in answer.record.synchronous
    looked = status.look(behind)
    assert objectives.degraded(looked) == ()
    primary.host.execute("SELECT pg_current_xact_id();")
    assert delayed(behind).follows and not delayed(behind).replay_paused


@pytest.mark.parametrize("name", ["dropped-table-delayed", "bad-update-delayed"])
def test_a_mistake_is_taken_back_from_it(behind: Estate, name: str) -> None:
    result, folder = drill(SCENARIOS[name], LAB, quiet, SHORT)
    assert_proven(name, result, folder)
    seen.assert_whole(behind)


def test_twenty_targets_are_reached_exactly_and_nothing_is_copied(behind: Estate, tmp_path: Path) -> None:
    """Recovery goes forward, so the targets do."""
    primary, database = server.the_primary(server.survey(behind)).host, str(behind.data["database"])
    primary.execute("CREATE TABLE IF NOT EXISTS public.delayed_marks (n int); TRUNCATE public.delayed_marks;", database)
    with seen.load(behind, tmp_path):
        script = "BEGIN; SELECT pg_current_xact_id(); INSERT INTO public.delayed_marks VALUES ({}); COMMIT;"
        xids = [
            primary.run("psql -qAtX -d %s", database, user="postgres", stdin=script.format(n)).text
            for n in range(TARGETS)
        ]
        for n, xid in enumerate(xids):
            options = RestorePitrOptions(to_xid=xid, source="delayed", replace=True)
            passed = execute(RESTORE_PITR, behind, options, quiet)
            assert passed.outcome is Outcome.PASSED, passed.error
            assert passed.state.delayed == delayed_host(behind)
            (count,) = sides.query(
                behind.host(passed.state.delayed), SIDE, database, "select count(*) as n from public.delayed_marks"
            )
            assert count["n"] == n
    given = execute(REJOIN, behind, RejoinOptions(yes=True, host=delayed_host(behind)), quiet)
    assert given.outcome is Outcome.PASSED, given.error
    seen.assert_whole(behind)


def delayed_host(estate: Estate) -> str:
    return estate.delayed[0].name


def test_what_is_not_in_its_window_is_refused_with_the_window_and_restored_from_the_repository(behind: Estate) -> None:
    long_ago = "2026-01-01 00:00:00Z"
    options = RestoreTableOptions(tables=("order_records",), to_time=long_ago, source="delayed")
    refused = execute(RESTORE_TABLE, behind, options, quiet)
    assert refused.outcome is Outcome.REFUSED and "its window, which is" in str(refused.error)
    assert delayed(behind).follows


def test_what_only_looks_gives_it_back_at_the_end(behind: Estate) -> None:
    now = str(server.the_primary(server.survey(behind)).host.query("select clock_timestamp()::text as at")[0]["at"])
    before = window.look(behind.delayed[0]).replayed
    passed = execute(RESTORE_TABLE, behind, RestoreTableOptions(tables=("order_records",), to_time=now), quiet)
    assert passed.outcome is Outcome.PASSED, passed.error
    assert passed.state.aim is not None and passed.state.aim.delayed == delayed_host(behind)
    assert delayed(behind).follows and window.look(behind.delayed[0]).replayed >= before
    assert not sides.every(behind.delayed[0])


def test_it_follows_a_failover_with_its_past_before_it(behind: Estate) -> None:
    before = window.look(behind.delayed[0])
    result, folder = drill(SCENARIOS["primary-power-loss"], LAB, quiet, SHORT)
    assert_proven("primary-power-loss", result, folder)
    primary = server.the_primary(server.survey(behind))
    assert delayed(behind).follows_on(primary.timeline or 0)
    assert window.look(behind.delayed[0]).since <= before.since + 3600, "its window was lost"
    seen.assert_whole(behind)


def test_a_swap_takes_the_repository_and_rebuilds_it(behind: Estate) -> None:
    result, folder = drill(SCENARIOS["bad-update"], LAB, quiet, SHORT)
    assert_proven("bad-update", result, folder)
    seen.assert_whole(behind)
