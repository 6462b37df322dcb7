"""A failover that stopped half way, on real hosts: never resumed beside a living primary, and it can be given up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from inventories.errors import TargetFailed, VerificationFailed
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.engine.step import Evidence
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.layout import FENCED
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, RestorePitrOptions
from runbooks.record.read import pages
from runbooks.record.types import Known, Record
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.doors import dr
from tests.drills.estate import UNIT, inside

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(900)]


@pytest.fixture
def whole(estate_lab: Estate) -> Iterator[Estate]:
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)


def record(estate: Estate) -> Record:
    answer = pages(estate).answer
    assert isinstance(answer, Known), answer
    return answer.record


def fails(_context: object, _state: object) -> None:
    raise VerificationFailed("the test says that it did not hold")


def breaks(_context: object, _state: object) -> Any:
    raise TargetFailed("the test broke it off")


def stopped_after_the_fence(estate: Estate, twin: Procedure[Any]) -> tuple[str, str, int]:
    """PostgreSQL of the primary ends, and the failover stops once that is fenced: primary, standby, timeline."""
    primary, standby = seen.roles(estate)
    before = seen.timeline(estate)
    inside(estate, primary, f"systemctl stop {UNIT}")
    result = execute(twin, estate, FailoverOptions(yes=True), seen.quiet)
    assert result.exit_code == 1, result.error
    assert server.look(estate.host(primary), 17).fenced
    assert record(estate).changing
    return primary, standby, before


NOT_PROVED = replace_step(FAILOVER, "fence", evidence=Evidence("never", fails))
NOT_PROMOTED = replace_step(FAILOVER, "promote", action=breaks)


def test_an_abandoned_failover_gives_the_primary_back_with_its_standby(whole: Estate) -> None:
    primary, standby, before = stopped_after_the_fence(whole, NOT_PROVED)
    ended = dr("runbook.abandon", "--yes")
    assert ended.code == 0, ended.err
    assert seen.roles(whole) == (primary, standby)
    assert seen.timeline(whole) == before
    seen.assert_whole(whole)
    dr("failover", "--resume", "--yes").assert_told(2, "was abandoned", hint="afresh")
    dr("runbook.abandon", "--yes").assert_told(2, "nothing to abandon")


@pytest.mark.long
def test_a_standby_whose_promotion_had_begun_is_held_down_first(whole: Estate) -> None:
    primary, standby, before = stopped_after_the_fence(whole, NOT_PROMOTED)
    ended = dr("runbook.abandon", "--yes")
    assert ended.code == 0, ended.err
    assert f"{standby} stays fenced until ./dr rejoin {standby} --yes" in ended.out
    node = server.look(whole.host(primary), 17)
    assert node.is_primary and node.timeline == before and not node.synchronous
    assert server.look(whole.host(standby), 17).fenced
    known = record(whole)
    assert known.steady and (known.primary, known.synchronous) == (primary, ())
    came_back = dr("rejoin", standby, "--yes")
    assert came_back.code == 0, came_back.err
    seen.assert_whole(whole)


def test_a_failover_is_not_resumed_beside_a_primary_that_came_back(whole: Estate) -> None:
    """Finding 6: the fence was taken back by hand, and days later somebody said --resume."""
    primary, standby, before = stopped_after_the_fence(whole, NOT_PROMOTED)
    inside(whole, primary, f"rm {FENCED}; systemctl unmask {UNIT}; touch /etc/mystocks-dr/allow-start")
    inside(whole, primary, f"systemctl start {UNIT}")
    until(lambda: server.look(whole.host(primary), 17).is_primary, 60, what="the primary")
    dr("failover", "--resume", "--yes").assert_told(3, "does not go on", f"{primary} takes writes")
    dr("failover", "--yes").assert_told(3, f"{primary} is a primary that answers")
    dr("failover", "--resume", "--yes").assert_told(3, "has overtaken it", hint="runbook.abandon")
    assert server.look(whole.host(standby), 17).is_standby
    ended = dr("runbook.abandon", "--yes")
    assert ended.code == 0, ended.err
    assert f"{primary} takes writes, so no role is given back" in ended.out
    assert seen.timeline(whole) == before
    assert record(whole).steady
    assert dr("deploy").code == 0
    seen.assert_whole(whole)


@pytest.mark.long
def test_another_operators_newer_run_overtakes(whole: Estate, tmp_path: Any) -> None:
    """Only the record knows it: the journal is on another machine."""
    _, standby, before = stopped_after_the_fence(whole, NOT_PROMOTED)
    theirs = seen.as_another_operator(whole, tmp_path)
    refused = dr("rejoin", standby, "--yes", "--inventory", theirs.inventory, env=theirs.environment)
    assert refused.code == 3, refused.err
    dr("failover", "--resume", "--yes").assert_told(3, "has begun rejoin", "has overtaken it", hint="runbook.abandon")
    ended = dr("runbook.abandon", "--yes")
    assert ended.code == 0, ended.err
    assert seen.timeline(whole) == before
    came_back = dr("rejoin", standby, "--yes")
    assert came_back.code == 0, came_back.err
    seen.assert_whole(whole)


def test_a_resume_with_another_target_touches_nothing(whole: Estate) -> None:
    primary = server.the_primary(server.survey(whole)).host
    target = str(primary.query("select clock_timestamp()::text as now")[0]["now"])
    broken = replace_step(RESTORE_PITR, "hold", action=breaks)
    options = RestorePitrOptions(to_time=target, replace=True)
    assert execute(broken, whole, options, seen.quiet).exit_code == 1
    told = dr("restore-pitr", "--resume", "--to-time", "2026-01-01 00:00:00+00", "--swap", "--yes")
    told.assert_told(2, "was begun with to_time", "not with 2026-01-01", hint="afresh")
    seen.assert_whole(whole)
    assert dr("runbook.abandon", "--yes").code == 0
