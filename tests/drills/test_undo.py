"""Every undo of every runbook, on real hosts: what its step changed is as it was before.

Each fails in the step whose undo it is about: its evidence does not hold, or its action breaks off half way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from inventories.errors import TargetFailed, VerificationFailed
from runbooks.actions import app as app_actions
from runbooks.actions import outbox as outbox_actions
from runbooks.actions.postgresql import side as sides
from runbooks.engine.context import Options
from runbooks.engine.journal import read as read_journal
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.engine.result import RunResult
from runbooks.engine.step import Evidence
from runbooks.hosts import Estate, Host
from runbooks.layout import FENCED
from runbooks.probes import outbox
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, SIDE, RestorePitrOptions
from runbooks.procedures.postgresql.switchover import SWITCHOVER, SwitchoverOptions
from runbooks.procedures.replay_outbox import REPLAY_OUTBOX, ReplayOutboxOptions
from runbooks.procedures.tdengine.rebuild import TDENGINE_REBUILD, TdengineRebuildOptions
from runbooks.procedures.tdengine.restore import TDENGINE_RESTORE, TdengineRestoreOptions
from runbooks.record.read import pages
from runbooks.record.types import Known
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.estate import DATA, UNIT
from tests.unit.test_undos import DRILLED

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(900)]
NAMES = "/etc/postgresql/17/main/conf.d/90-synchronous.conf"
_FILES = """
systemctl is-active %s; systemctl is-enabled %s
for one in %s %s/standby.signal %s /etc/mystocks-dr/allow-start; do test -e $one && echo $one; done
cat %s 2>/dev/null; true
"""


@dataclass(frozen=True)
class Side:
    """What a host is: its unit, the files that make its role, and what its server says."""

    files: str
    in_recovery: bool | None
    timeline: int | None
    synchronous: bool
    streams: bool
    followed_by: tuple[tuple[str, str], ...]


def side(host: Host) -> Side:
    node = server.look(host, 17)
    files = host.run(_FILES, UNIT, UNIT, FENCED, DATA, NAMES, NAMES, expect=None).stdout
    follow = tuple((one.name, one.sync) for one in node.standbys)
    return Side(files, node.in_recovery, node.timeline, node.synchronous, node.streams, follow)


def everything(estate: Estate) -> dict[str, object]:
    """All that a step of a runbook may change and its undo has to put back."""
    answer = pages(estate).answer
    assert isinstance(answer, Known), answer
    kept = answer.record
    record = (kept.primary, kept.timeline, kept.mode, kept.synchronous, kept.changing, kept.epoch)
    return {"record": record, **{host.name: side(host) for host in estate.postgres}}


@pytest.fixture
def whole(estate_lab: Estate) -> Iterator[Estate]:
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)


def fails(_context: object, _state: object) -> None:
    raise VerificationFailed("the test says that it did not hold")


def breaks(_context: object, _state: object) -> Any:
    raise TargetFailed("the test broke it off")


def undone(estate: Estate, procedure: Procedure[Any], step: str, options: Options) -> RunResult[Any]:
    """Run it; it fails in that step, whose undo is journalled as done."""
    heard: list[str] = []
    result = execute(procedure, estate, options, heard.append)
    told = [(one.event, one.step) for one in read_journal(result.run_dir).records if one.event.startswith("undo")]
    assert told == [("undo_started", step), ("undo_done", step)], "\n".join(heard)
    assert result.exit_code == 1, result.error
    return result


@pytest.mark.parametrize(
    ("step", "broken"),
    [("step-down", {"evidence": Evidence("never", fails)}), ("promote", {"action": breaks})],
)
def test_an_undone_switchover_is_what_it_was(whole: Estate, step: str, broken: dict[str, Any]) -> None:
    assert ("switchover", step) in DRILLED
    before = everything(whole)
    undone(whole, replace_step(SWITCHOVER, step, **broken), step, SwitchoverOptions(yes=True))
    assert everything(whole) == before
    seen.assert_whole(whole)


@pytest.mark.long
@pytest.mark.parametrize("step", ["fence-main", "swap", "start"])
def test_an_undone_swap_is_what_it_was(whole: Estate, step: str) -> None:
    """`start` breaks off before it: once the new primary takes writes, an undo would lose them and is refused."""
    assert ("restore-pitr", step) in DRILLED
    primary = server.the_primary(server.survey(whole)).host
    target = str(primary.query("select clock_timestamp()::text as now")[0]["now"])
    before = everything(whole)
    broken: dict[str, Any] = {"action": breaks} if step == "start" else {"evidence": Evidence("never", fails)}
    options = RestorePitrOptions(to_time=target, replace=True, swap=True, yes=True)
    try:
        undone(whole, replace_step(RESTORE_PITR, step, **broken), step, options)
        assert everything(whole) == before
        seen.assert_whole(whole)
    finally:
        sides.drop(primary, SIDE, 60)


def stops_the_replayer(context: Any, _state: object) -> Any:
    """As a replay of the shadow that breaks off half way."""
    context.estate.app.run("systemctl stop %s", app_actions.TD_REPLAYER, timeout=60)
    raise TargetFailed("the test broke it off")


@pytest.mark.tdengine
@pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package")
@pytest.mark.parametrize(
    ("procedure", "step", "options"),
    [
        (TDENGINE_RESTORE, "requeue", TdengineRestoreOptions(yes=True)),
        (TDENGINE_REBUILD, "requeue", TdengineRebuildOptions(yes=True)),
        (TDENGINE_REBUILD, "correct", TdengineRebuildOptions(yes=True)),
    ],
)
def test_an_outbox_that_stood_still_drains_again(
    whole: Estate, procedure: Procedure[Any], step: str, options: Options
) -> None:
    assert (procedure.name, step) in DRILLED
    state = "systemctl is-active %s"
    assert whole.app.run(state, app_actions.TD_REPLAYER).text == "active"
    undone(whole, shortened(procedure, step), step, options)
    assert whole.app.run(state, app_actions.TD_REPLAYER).text == "active"


def breaks_off_at_a_pace(context: Any, _state: object) -> Any:
    """As a replay whose operator goes away in the middle: the replayer was told to go slowly."""
    for box in outbox.boxes(context.estate, outbox.POSTGRESQL):
        outbox_actions.pace(box, 5, True)
        assert outbox.status(box).told_rows_per_s == 5
    raise TargetFailed("the test broke it off")


def test_a_replay_that_breaks_off_leaves_the_replayer_its_usual_pace(whole: Estate) -> None:
    assert ("replay-outbox", "replay") in DRILLED
    (step,) = [one for one in REPLAY_OUTBOX.steps if one.name == "replay"]
    broken = replace(REPLAY_OUTBOX, steps=(replace(step, action=breaks_off_at_a_pace),))
    undone(whole, broken, "replay", ReplayOutboxOptions(store=outbox.POSTGRESQL, yes=True))
    (box,) = outbox.boxes(whole, outbox.POSTGRESQL)
    assert outbox.status(box).told_rows_per_s is None


def shortened(procedure: Procedure[Any], name: str) -> Procedure[Any]:
    """That step alone, on a server that is whole: what comes before it is of no matter to its undo."""
    (step,) = [one for one in procedure.steps if one.name == name]
    alone = replace(step, action=stops_the_replayer, when=None, when_says="")
    return replace(procedure, gate=(), steps=(alone,))
