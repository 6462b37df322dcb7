"""More than one standby: what the loss of one of them, or of the primary and one at the same moment, may cost."""

from __future__ import annotations

from contextlib import suppress

from drills.judging.result import Check
from drills.scenarios.common import RATE, check
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.catalog.load import load_recovery
from inventories.errors import DrError, TimedOut
from runbooks.actions.postgresql import server as act
from runbooks.engine.wait import until
from runbooks.judge import objectives
from runbooks.layout import Layout
from runbooks.look import status
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions

OUT_S = 8.0  # how long the feed writes on without the lost standby
DEGRADED = "degraded without one standby"


def _rejoin(stage: Stage, host: str) -> Result:
    return stage.run(REJOIN, RejoinOptions(yes=True, host=host, reclone=stage.reclone))


def _write_on_and_rejoin(stage: Stage) -> Result:
    """Nobody has to do anything at first: the feed writes on, and the estate is not degraded."""
    stage.pause(OUT_S)
    seen = _lasting(stage)
    stage.fact(DEGRADED, "; ".join(objectives.degraded(seen)) or "no")
    hangs = [one.objective for one in objectives.findings(seen, load_recovery().limits) if one.objective == "commits"]
    stage.fact("commits", "hang" if hangs else "go on")
    stage.power_on(stage.standby)
    return _rejoin(stage, stage.standby.name)


def _lasting(stage: Stage) -> status.Status:
    """What the estate is for longer than a moment: on a busy machine a slow commit sends rows through the outbox."""
    with suppress(TimedOut):
        return until(
            lambda: status.look(stage.estate), OUT_S, what="an estate that is not degraded",
            accept=lambda seen: not objectives.degraded(seen), every=0.5,
        )  # fmt: skip
    return status.look(stage.estate)


def _not_degraded(stage: Stage) -> tuple[Check, ...]:
    told = (DEGRADED, "no"), ("commits", "go on")
    return tuple(check(f"{label}: {good}", stage.told(label) == good, stage.told(label)) for label, good in told)


STANDBY_LOSS = Scenario(
    name="standby-loss",
    summary="The host of one of the standbys loses power; commits go on, and nothing is degraded.",
    objectives="standby-loss-of-several",
    fault=lambda stage: stage.power_off(stage.standby),
    recover=_write_on_and_rejoin,
    detect=None,
    check=_not_degraded,
    new_timeline=False,
    rate=RATE,
)


def _failover(stage: Stage) -> Result:
    return stage.run(FAILOVER, FailoverOptions(yes=True))


def _both_rejoin(stage: Stage) -> None:
    for host in (stage.primary, stage.standby):
        stage.power_on(host)
    for host in (stage.primary, stage.standby):
        _rejoin(stage, host.name)


def _third_serves(stage: Stage) -> tuple[Check, ...]:
    primary = server.the_primary(server.survey(stage.estate)).name
    return (check("the third host serves", primary == stage.third.name, f"{primary} is primary"),)


DOUBLE_LOSS = Scenario(
    name="double-loss",
    summary="The primary's host and one of the standbys' lose power at one moment; the third has every row.",
    fault=lambda stage: stage.power_off_both(stage.primary, stage.standby),
    recover=_failover,
    restore=_both_rejoin,
    check=_third_serves,
    nodes=3,
    synchronous=2,
)


# ---- the twin: the third had been let go by hand, and the record did not know


def _let_third_go(stage: Stage) -> None:
    """It hears no more of its primary, whose commits wait for the other standby alone; the record says they do not."""
    paths = Layout(server.version(stage.estate))
    act.synchronous_on(stage.primary, paths, (stage.primary.name, stage.standby.name))
    stage.isolate(stage.third, stage.primary.address)
    stage.later("the third host's line", lambda: stage.heal(stage.third))
    stage.pause(OUT_S / 4)


def _failover_to_third(stage: Stage) -> Result:
    stage.heal(stage.third)
    until(stage.third.reachable, 10.0, what=f"{stage.third} to answer", retry=(DrError,))
    return _failover(stage)


TWINS = (
    Twin(
        name="third-let-go",
        says="The third host had been cut off and left out by hand, behind the record's back: rows that the lost two "
        "alone had must be missed.",
        reason=r"[\d,]+ of ",
        scenario=DOUBLE_LOSS.name,
        prepare=_let_third_go,
        recover=_failover_to_third,
        runbook_passes=True,
    ),
)
