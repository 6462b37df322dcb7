"""Commits wait for no standby, by choice: what its loss costs is found by the shadow, named, and sent again."""

from __future__ import annotations

from drills.judging.result import Check
from drills.scenarios.common import RATE, check
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.errors import DrError
from runbooks.actions.postgresql import server as act
from runbooks.engine.outcome import Outcome
from runbooks.engine.wait import until
from runbooks.layout import Layout
from runbooks.probes.outbox import POSTGRESQL
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.procedures.reconcile import RECONCILE, ReconcileOptions

BEHIND_S = 4.0  # by how much the standby is behind its primary when that is lost
LACKED = "acknowledged rows that the new primary had not"


def _standby_falls_behind(stage: Stage) -> None:
    """Commits wait for nobody from now on, and the standby hears no more: neither from its primary nor the archive."""
    act.synchronous_off(stage.primary, Layout(server.version(stage.estate)))
    stage.isolate(stage.standby, stage.primary.address, stage.estate.backup.address)
    stage.later("the standby's line", lambda: stage.heal(stage.standby))
    stage.pause(BEHIND_S)


def _failover(stage: Stage) -> Result:
    stage.heal(stage.standby)
    until(stage.standby.reachable, 10.0, what=f"{stage.standby} to answer", retry=(DrError,))
    return stage.run(FAILOVER, FailoverOptions(yes=True, accept_loss=True))


def _failover_and_reconcile(stage: Stage) -> Result:
    promoted = _failover(stage)
    if promoted.outcome is not Outcome.PASSED:
        return promoted
    ran = stage.run(RECONCILE, ReconcileOptions(yes=True, store=POSTGRESQL))
    lacked, sent = sum(ran.state.lacking.values()), sum(ran.state.sent.values())
    stage.fact(LACKED, f"{lacked:,}; {sent:,} were sent again")
    return ran


def _named(stage: Stage) -> tuple[Check, ...]:
    """A drill in which nothing was lost has shown nothing; where nobody reconciled the ledger tells."""
    says = stage.told(LACKED)
    return (check("rows were lost by replication and named", not says.startswith("0;"), says),) if says else ()


def _rejoin(stage: Stage) -> None:
    stage.power_on(stage.primary)
    stage.run(REJOIN, RejoinOptions(yes=True, host=stage.primary.name, reclone=stage.reclone))


ASYNC_PRIMARY_LOSS = Scenario(
    name="async-primary-loss",
    summary="Commits wait for nobody, the standby is behind, and the primary's host loses power.",
    prepare=_standby_falls_behind,
    fault=lambda stage: stage.power_off(stage.primary),
    recover=_failover_and_reconcile,
    restore=_rejoin,
    check=_named,
    rate=RATE,
    synchronous=0,
)

TWINS = (
    Twin(
        name="unreconciled",
        says="Nobody reconciles after that failover: the rows that replication lost must be missed.",
        reason=r"[\d,]+ of ",
        scenario=ASYNC_PRIMARY_LOSS.name,
        recover=_failover,
        runbook_passes=True,
    ),
)
