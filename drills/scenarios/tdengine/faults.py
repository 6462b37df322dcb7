"""TDengine's process is killed, alone or together with the loss of PostgreSQL's primary: the market goes on."""

from __future__ import annotations

from typing import Any

from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from drills.stores import POSTGRESQL, TDENGINE
from inventories.errors import TargetFailed, VerificationFailed
from runbooks.actions.tdengine import servers as act
from runbooks.hosts import Host
from runbooks.probes.tdengine import servers
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.procedures.tdengine.restart import TDENGINE_RESTART, TdengineRestartOptions

UNIT = "taosd"
RATE = 3000.0  # two feeds share the application host


def node(stage: Stage) -> Host:
    """The first TDengine host."""
    return servers.hosts(stage.estate)[0]


def ask(stage: Stage, statement: str) -> list[dict[str, Any]]:
    """Rows of one statement, asked as root on the first node itself."""
    return act.execute(node(stage), statement, 120)


def leading(stage: Stage) -> Host:
    """The node whose loss stops writing; one that leads nothing goes unnoticed where three keep every row."""
    found = servers.leader(servers.survey(stage.estate), str(stage.estate.data["tdengine_database"]))
    if found is None:
        raise TargetFailed("no TDengine node tells who leads", "./dr status says what ails it")
    return found.host


def _kill(stage: Stage) -> None:
    stage.kill_service(leading(stage), UNIT)


def _restart(stage: Stage) -> Result:
    return stage.run(TDENGINE_RESTART, TdengineRestartOptions(yes=True))


def take_an_instant(stage: Stage) -> None:
    """The rows of one nanosecond are gone, as from a log cut off too early."""
    low = stage.running[TDENGINE.name].run_number << 32
    database = str(stage.estate.data["tdengine_database"])
    found = ask(stage, f"SELECT FIRST(ts) AS ts FROM {database}.tick_data WHERE event_id > {low}")  # noqa: S608 - ours
    if not found or not found[0]["ts"]:
        raise VerificationFailed("the feed's ticks are not there, so none can be taken away")
    ask(stage, f"DELETE FROM {database}.tick_data WHERE ts = {found[0]['ts']}")  # noqa: S608 - our own table
    stage.fact("taken away", f"the ticks of {found[0]['ts']} ns")


def _restart_without_an_instant(stage: Stage) -> Result:
    """The negative twin's restart."""
    result = _restart(stage)
    take_an_instant(stage)
    return result


def _both_down(stage: Stage) -> None:
    stage.power_off(stage.primary)
    _kill(stage)


def _recover_both(stage: Stage) -> Result:
    """The runbook of each store, in the order of what depends on it: orders before ticks."""
    failed_over = stage.run(FAILOVER, FailoverOptions(yes=True))
    _restart(stage)
    return failed_over


def _restore_primary(stage: Stage) -> None:
    stage.power_on(stage.primary)
    stage.run(REJOIN, RejoinOptions(yes=True, host=stage.primary.name))


SCENARIOS = (
    Scenario(
        name="tdengine-crash",
        summary="TDengine's server is killed under load; its host lives.",
        fault=_kill,
        recover=_restart,
        stores=(TDENGINE,),
        new_timeline=False,
    ),
    Scenario(
        name="both-stores-down",
        summary="PostgreSQL's primary loses power and TDengine's server is killed at the same moment.",
        rate=RATE,
        fault=_both_down,
        recover=_recover_both,
        restore=_restore_primary,
        stores=(POSTGRESQL, TDENGINE),
    ),
)

TWINS = (
    Twin(
        name="lost-instant",
        says="After the restart the ticks of one nanosecond are gone: the comparison must miss them.",
        reason=r"[1-9] of [\d,]+ acknowledged rows (is|are) lost in tick_data",
        scenario="tdengine-crash",
        recover=_restart_without_an_instant,
        runbook_passes=True,
    ),
    Twin(
        name="phantom-tick",
        says="TDengine's ledger has a row that no table holds, PostgreSQL's is right: the comparison must find it.",
        reason=r"1 of [\d,]+ acknowledged rows is lost in tick_data",
        scenario="both-stores-down",
        forge_ledger=True,
    ),
)
