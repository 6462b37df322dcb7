"""What is broken and how it is recovered: each scenario pulls levers and runs the operator's own runbooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from drills.scenarios import application, site, surroundings
from drills.scenarios.parts import Result, Scenario, Twin, nothing
from drills.scenarios.postgresql import archive_faults, asynchronous, mistakes, restores, several
from drills.scenarios.sqlite import faults as sqlite_faults
from drills.scenarios.tdengine import faults
from drills.scenarios.tdengine import restores as tdengine_restores
from drills.stage import Stage
from inventories.errors import BadInput
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.hosts import Estate
from runbooks.procedures.postgresql.detach import DETACH, DetachOptions
from runbooks.procedures.postgresql.failover import FAILOVER, Failover, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.procedures.postgresql.switchover import SWITCHOVER, SwitchoverOptions

REJOINED = "rejoined"  # the label of the fact that tells how


def _failover(stage: Stage, procedure: Procedure[Failover] = FAILOVER, estate: Estate | None = None) -> Result:
    return stage.run(procedure, FailoverOptions(yes=True), estate)


def _rejoin(stage: Stage, host: str) -> None:
    ran = stage.run(REJOIN, RejoinOptions(yes=True, host=host, reclone=stage.reclone))
    if ran.state.rebuilt_by:
        stage.fact(REJOINED, f"{host}, by {ran.state.rebuilt_by}")


def _power_on_and_rejoin(stage: Stage) -> None:
    stage.power_on(stage.primary)
    _rejoin(stage, stage.primary.name)


def _restore_standby(stage: Stage) -> None:
    stage.power_on(stage.standby)
    _rejoin(stage, stage.standby.name)


def _partition(stage: Stage) -> None:
    """Cut the primary off from operator, standby and backup host; the application still reaches it."""
    others = [host.address for host in stage.standbys]
    stage.isolate(stage.primary, stage.gateway, *others, stage.estate.backup.address)


def _without_hooks(estate: Estate) -> Estate:
    hosts = tuple(
        replace(host, entry=host.entry.model_copy(update={"fence_command": None})) for host in estate.hosts
    )
    return replace(estate, hosts=hosts)


def _crash(stage: Stage) -> None:
    stage.crash(stage.primary, f"/var/lib/postgresql/{stage.estate.data['postgres_version']}/main/postmaster.pid")


def _leaky(context: object, state: Failover) -> Failover:
    """The negative twin's fence: says that it cut the power, and did not."""
    return state.model_copy(update={"fenced_by": "hook"})


LEAKY_FAILOVER = replace_step(FAILOVER, "fence", action=_leaky)

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="primary-power-loss",
            summary="The primary's host loses power in the middle of a write.",
            fault=lambda stage: stage.power_off(stage.primary),
            recover=_failover,
            restore=_power_on_and_rejoin,
            by_itself=True,
        ),
        Scenario(
            name="primary-crash",
            summary="PostgreSQL's postmaster is killed on the primary; its host lives.",
            fault=_crash,
            recover=_failover,
            restore=lambda stage: _rejoin(stage, stage.primary.name),
            by_itself=True,
        ),
        Scenario(
            name="standby-loss",
            summary="The standby's host loses power; commits wait for it until it is detached.",
            fault=lambda stage: stage.power_off(stage.standby),
            recover=lambda stage: stage.run(DETACH, DetachOptions(yes=True)),
            restore=_restore_standby,
            new_timeline=False,
            of_several=several.STANDBY_LOSS,
        ),
        Scenario(
            name="primary-partition",
            summary="The primary is cut off from operator and standby while the application still reaches it.",
            fault=_partition,
            recover=_failover,
            restore=_power_on_and_rejoin,
        ),
        Scenario(
            name="primary-partition-unfenced",
            summary="The same without a fencing hook: the runbook must refuse, and no row may be lost.",
            objectives="primary-partition",
            fault=_partition,
            recover=lambda stage: _failover(stage, estate=_without_hooks(stage.estate)),
            new_timeline=False,
            refused=True,
        ),
        Scenario(
            name="planned-switchover",
            summary="The roles are exchanged on purpose, under load.",
            fault=nothing,
            recover=lambda stage: stage.run(SWITCHOVER, SwitchoverOptions(yes=True)),
            detect=None,
        ),
        several.DOUBLE_LOSS,
        asynchronous.ASYNC_PRIMARY_LOSS,
        *site.SCENARIOS,
        *surroundings.SCENARIOS,
        *application.SCENARIOS,
        *mistakes.SCENARIOS,
        *archive_faults.SCENARIOS,
        *restores.SCENARIOS,
        *faults.SCENARIOS,
        *tdengine_restores.SCENARIOS,
        *sqlite_faults.SCENARIOS,
    )
}


TWINS: Mapping[str, Twin] = {
    twin.name: twin
    for twin in (
        Twin(
            name="leaky-fence",
            says="The fence does nothing: the old primary still takes writes, so nothing may be promoted.",
            reason="the fence leaks",
            scenario="primary-partition",
            recover=lambda stage: _failover(stage, LEAKY_FAILOVER),
        ),
        Twin(
            name="phantom-row",
            says="The ledger has a row that no table holds: the comparison must find it.",
            reason="1 of ",
            scenario="primary-crash",
            forge_ledger=True,
        ),
        *several.TWINS,
        *asynchronous.TWINS,
        *site.TWINS,
        *surroundings.TWINS,
        *application.TWINS,
        *mistakes.TWINS,
        *archive_faults.TWINS,
        *restores.TWINS,
        *faults.TWINS,
        *tdengine_restores.TWINS,
        *sqlite_faults.TWINS,
    )
}


VANISHED_ROW, SECOND_PRIMARY = "vanished-row", "second-primary"
ROUND_TWINS: Mapping[str, str] = {
    VANISHED_ROW: "After the last round one row of the first is deleted by hand: looking back must find that very row.",
    SECOND_PRIMARY: "After the last round the standby is promoted beside the primary: the witness must see both.",
}


def scenario(name: str) -> Scenario:
    """Raises BadInput naming the scenarios there are."""
    if "," in name:
        raise BadInput("a drill breaks one thing, and several were named", f"./dr drill --rounds 2 --scenario {name}")
    if name not in SCENARIOS:
        raise BadInput(f"there is no scenario {name!r}", f"the scenarios are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def twin(name: str) -> Twin:
    """Raises BadInput naming the negative twins there are."""
    if name in ROUND_TWINS:
        raise BadInput(f"{name} is a twin of rounds, not of a single drill", f"./dr drill --rounds 2 --twin {name}")
    if name not in TWINS:
        raise BadInput(f"there is no negative twin {name!r}", f"the twins are {', '.join(TWINS)}")
    return TWINS[name]
