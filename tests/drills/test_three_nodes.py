"""Three PostgreSQL nodes in a lab of their own, DR_TEST_THREE_LAB (default t-three): a third one comes, one is lost,
the primary is lost, both at once.

Two nodes first, because that is how an estate grows; what is proven of two is proven elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drills import by_watch, gather
from drills.judging.result import DrillResult
from drills.measuring.events import Acked, By
from drills.measuring.ledger import read_ledger
from drills.prepare import provision, settled
from drills.run import Plan, drill
from drills.scenarios.catalogue import SCENARIOS, TWINS
from drills.stores import POSTGRESQL
from inventories.errors import Refused, TargetFailed
from lab.down import down
from lab.up import up
from runbooks import hosts
from runbooks.engine.outcome import Outcome
from runbooks.engine.procedure import replace_step
from runbooks.hosts import Estate, Host
from runbooks.judge import objectives
from runbooks.look import status
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.detach import DETACH, DetachOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.switchover import SWITCHOVER, SwitchoverOptions
from runbooks.record.read import read
from runbooks.record.types import Unknown
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.test_scenarios import assert_proven, faults, told

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(1500)]
LAB = os.environ.get("DR_TEST_THREE_LAB") or "t-three"
SHORT = Plan(calm_s=2, after_s=2)
MARKS = "three_marks"


def quiet(_: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Two nodes, deployed; then a blank third one beside them, which a deploy clones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_LAB", LAB)
        patch.setenv("DR_INVENTORY", "lab")
        patch.setenv("DR_RUNS", str(tmp_path_factory.mktemp("runs")))
        try:
            up(LAB, quiet)
            provision(hosts.load("lab"), quiet)
            patch.setenv("DR_LAB_POSTGRES", "3")
            up(LAB, quiet)
            provision(hosts.load("lab"), quiet)
            yield patch
        finally:
            if os.environ.get("DR_TEST_KEEP") != "1":
                down(LAB, quiet)


@pytest.fixture
def three(made: pytest.MonkeyPatch) -> Iterator[Estate]:
    """A whole estate of three, whatever the test before left; a commit waits for one of two."""
    made.setenv("DR_LAB_SYNCHRONOUS", "1")
    yield seen.make_whole(hosts.load("lab"))
    seen.power_on(hosts.load("lab"))


@pytest.fixture
def for_both(three: Estate, made: pytest.MonkeyPatch) -> Iterator[Estate]:
    """The same where a commit waits for both standbys."""
    made.setenv("DR_LAB_SYNCHRONOUS", "2")
    provision(hosts.load("lab"), quiet)
    settled(hosts.load("lab"))
    yield hosts.load("lab")
    made.setenv("DR_LAB_SYNCHRONOUS", "1")
    seen.make_whole(hosts.load("lab"))
    provision(hosts.load("lab"), quiet)


def holders(estate: Estate) -> tuple[set[str], int | None]:
    answer = read(estate)
    assert not isinstance(answer, Unknown), answer.why
    return set(answer.record.synchronous), answer.record.quorum


def test_a_third_host_is_cloned_and_let_in_and_the_record_says_on_how_many_each_row_is(three: Estate) -> None:
    primary = server.the_primary(server.survey(three))
    others = {host.name for host in three.postgres} - {primary.name}
    assert primary.waits_for is not None and set(primary.waits_for.others(primary.name)) == others
    assert primary.waits_for.least == 1 and holders(three) == (others, 1)
    looked = status.look(three)
    assert objectives.degraded(looked) == ()


@pytest.mark.parametrize(
    "name", ["standby-loss", "primary-power-loss", "primary-partition", "site-power-loss", "cluster-loss"]
)
def test_a_scenario_of_two_nodes_passes_with_three(three: Estate, name: str) -> None:
    result, folder = drill(SCENARIOS[name], LAB, quiet, SHORT)
    if name == "standby-loss":
        assert faults(result) == (), told(result)
        assert (result.lost, result.duplicated) == (0, 0)
        assert acknowledged_without_it(result, folder), "commits waited for the lost standby"
    else:
        assert_proven(name, result, folder)
    assert result.degraded == ()
    seen.assert_whole(three)


def acknowledged_without_it(result: DrillResult, folder: Path) -> int:
    """Rows that the store took while the lost standby was away: from two seconds after the fault until it rejoins.

    How many says how busy the machine is; where commits hang there are none.
    """
    rejoins = next(phase.start_s for phase in result.phases if phase.name == "gate")
    assert result.marks.clock is not None and result.marks.fault is not None
    since, until = result.marks.clock + result.marks.fault + 2, result.marks.clock + rejoins
    acks = [event for event in read_ledger(folder / POSTGRESQL.ledger) if isinstance(event, Acked)]
    return sum(ack.n for ack in acks if ack.by is By.STORE and since < ack.at < until)


def test_nobody_awake_the_watch_fails_over_to_one_and_the_other_follows_it(three: Estate) -> None:
    result, folder = drill(SCENARIOS["primary-power-loss"], LAB, quiet, replace(SHORT, rate=1000.0, by=by_watch.WATCH))
    assert_proven("primary-power-loss", result, folder)
    assert any(fact.label == "who acted" and "the watch" in fact.says for fact in result.facts)
    assert result.degraded == ()
    seen.assert_whole(three)


def test_the_loss_of_both_at_once_loses_nothing_where_commits_wait_for_both(for_both: Estate) -> None:
    assert holders(for_both)[1] is None
    result, folder = drill(SCENARIOS["double-loss"], LAB, quiet, SHORT)
    assert_proven("double-loss", result, folder)
    seen.assert_whole(for_both)
    assert holders(for_both)[1] is None and len(holders(for_both)[0]) == 2


def test_the_twin_misses_the_rows_that_the_lost_two_alone_had(for_both: Estate) -> None:
    twin = TWINS["third-let-go"]
    result, _ = drill(SCENARIOS[twin.scenario], LAB, quiet, SHORT, twin)
    assert result.negative_twin is not None and result.lost
    assert result.negative_twin.held, told(result)


def test_where_commits_wait_for_one_the_drill_of_both_is_refused(three: Estate) -> None:
    with pytest.raises(Refused, match="commits wait for 1") as refused:
        drill(SCENARIOS["double-loss"], LAB, quiet, SHORT)
    assert "DR_LAB_SYNCHRONOUS=2" in refused.value.hint


def test_a_lost_standby_is_let_go_by_name_and_comes_back(three: Estate) -> None:
    primary = server.the_primary(server.survey(three)).name
    lost, left = (host.name for host in three.postgres if host.name != primary)
    seen.inside(three, lost, f"systemctl stop {seen.UNIT}")
    refused = execute(DETACH, three, DetachOptions(yes=True), quiet)
    assert refused.outcome is Outcome.REFUSED and f"--host {lost}" in refused.hint
    passed = execute(DETACH, three, DetachOptions(yes=True, host=lost), quiet)
    assert passed.outcome is Outcome.PASSED, passed.error
    assert holders(three) == ({left}, None)
    passed = execute(REJOIN, three, RejoinOptions(yes=True, host=lost), quiet)
    assert passed.outcome is Outcome.PASSED, passed.error
    assert holders(three) == ({lost, left}, 1)


def test_a_standby_is_recloned_while_commits_go_on_with_the_other(three: Estate, tmp_path: Path) -> None:
    """Nothing is degraded at any time: what commits wait for and the record are narrowed before its data go."""
    primary = server.the_primary(server.survey(three)).name
    lost, left = (host.name for host in three.postgres if host.name != primary)
    seen.inside(three, lost, f"systemctl stop {seen.UNIT}")
    said: list[str] = []
    with seen.load(three, tmp_path) as writing:
        writing.writes_on()
        passed = execute(REJOIN, three, RejoinOptions(yes=True, host=lost, reclone=True), said.append)
    assert passed.outcome is Outcome.PASSED, passed.error
    assert passed.state.degraded == () and not any("has not every acknowledged row" in one for one in said)
    assert holders(three) == ({lost, left}, 1)


def test_the_role_moves_to_the_standby_that_is_named_and_back_and_the_third_follows(three: Estate) -> None:
    primary = server.the_primary(server.survey(three)).name
    other = [host.name for host in three.postgres if host.name != primary][-1]
    for wanted in (other, primary):
        passed = execute(SWITCHOVER, three, SwitchoverOptions(yes=True, host=wanted), quiet)
        assert passed.outcome is Outcome.PASSED, passed.error
        nodes = server.survey(three)
        assert server.the_primary(nodes).name == wanted and sum(node.streams for node in nodes) == 2
        assert holders(three) == ({host.name for host in three.postgres} - {wanted}, 1)


def marked(estate: Estate) -> str:
    """A row on either side of a moment of the primary's clock, which is returned."""
    host, database = server.the_primary(server.survey(estate)).host, str(estate.data["database"])
    host.execute(f"create table if not exists {MARKS} (n int); delete from {MARKS};", database)
    host.execute(f"insert into {MARKS} values (1);", database)
    at = str(host.query("select clock_timestamp()::text as now")[0]["now"])
    host.execute(f"insert into {MARKS} values (2);", database)
    return at


def marks(host: Host, estate: Estate) -> list[int]:
    return [int(str(row["n"])) for row in host.query(f"select n from {MARKS} order by n", str(estate.data["database"]))]


def test_a_point_in_time_takes_the_primarys_place_and_both_standbys_follow_it(three: Estate) -> None:
    """At first it does not start, and all three are as they were; resumed, it takes its place."""
    before, primary = seen.timeline(three), server.the_primary(server.survey(three)).name
    others = {host.name for host in three.postgres} - {primary}
    options = RestorePitrOptions(to_time=marked(three), replace=True, swap=True, yes=True)
    failed = execute(replace_step(RESTORE_PITR, "start", action=breaks), three, options, quiet)
    assert (failed.exit_code, failed.error) == (1, "it does not start")
    assert seen.timeline(three) == before and marks(three.host(primary), three) == [1, 2]
    assert holders(three) == (others, 1)
    seen.assert_whole(three)
    passed = execute(RESTORE_PITR, three, RestorePitrOptions(yes=True), quiet, resume=True)
    assert passed.outcome is Outcome.PASSED, passed.error
    nodes = server.survey(three)
    assert server.the_primary(nodes).name == primary and seen.timeline(three) > before
    assert {node.name for node in nodes if node.streams and node.timeline == seen.timeline(three)} == others
    assert holders(three) == (others, 1)
    assert [one for one in passed.state.degraded if MARKS not in one] == [], "the marks' table is in no catalogue"
    for node in gather.caught_up(three):
        assert marks(node.host, three) == [1], node.name
    three.host(primary).execute(f"drop table {MARKS};", str(three.data["database"]))  # a kept lab runs further drills
    seen.assert_whole(three)
    seen.inside(three, primary, f"rm -rf {seen.DATA}.replaced-*")


def breaks(_context: object, _state: RestorePitr) -> RestorePitr:
    raise TargetFailed("it does not start")
