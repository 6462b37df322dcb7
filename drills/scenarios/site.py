"""The site loses power: every host at one moment, the application's and the backup's among them."""

from __future__ import annotations

from drills.scenarios.common import RATE
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.layout import Layout
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.start_cluster import START_CLUSTER, StartClusterOptions

OLDER, NEWEST = "main.older", "main.newest"


def _cut(stage: Stage) -> None:
    stage.later("power for every host", stage.site_on)
    stage.site_off()


def _nobody_answers(stage: Stage) -> str:
    """An operator's alarm: not one host answers any more. Raises TimedOut."""
    hosts = stage.estate.hosts
    until(
        lambda: not any(host.reachable() for host in hosts), budget("feed.start"), what="every host to fall silent"
    )
    return f"{len(hosts)} of {len(hosts)} hosts do not answer"


def _start(stage: Stage) -> Result:
    """Power comes back, the application writes into its outbox; what an operator then does about PostgreSQL."""
    _power_back(stage)
    return stage.run(START_CLUSTER, StartClusterOptions())


def _power_back(stage: Stage) -> None:
    stage.mark("power is back")
    stage.site_on()
    stage.mark("application starts")
    for feed in stage.running.values():
        feed.go_on()


# ---- the twin: somebody put an older copy of the data directory in the primary's place


def _copy(stage: Stage) -> None:
    paths = Layout(server.version(stage.estate))
    older = paths.beside(OLDER)
    # Files come and go under cp; what counts is a control file and WAL of now.
    script = "rm -rf %s %s; cp -a %s %s 2>/dev/null; rm -f %s/postmaster.pid; test -s %s/global/pg_control"
    stage.primary.run(script, older, paths.beside(NEWEST), paths.data, older, older, older, timeout=120)
    stage.later("the right data directory", lambda: _put_back(stage))


def _start_beside_a_copy(stage: Stage) -> Result:
    _power_back(stage)
    paths = Layout(server.version(stage.estate))
    stage.primary.run("mv %s %s && mv %s %s", paths.data, paths.beside(NEWEST), paths.beside(OLDER), paths.data)
    stage.fact("put in place", f"a copy of {stage.primary.name}'s data directory from before the last rows")
    return stage.run(START_CLUSTER, StartClusterOptions())


def _put_back(stage: Stage) -> None:
    """Does nothing to a host that has its own directory."""
    paths = Layout(server.version(stage.estate))
    newest = paths.beside(NEWEST)
    stage.primary.run("test ! -e %s || { rm -rf %s && mv %s %s; }", newest, paths.data, newest, paths.data, timeout=120)
    stage.primary.run("rm -rf %s", paths.beside(OLDER), timeout=120)
    if not any(node.is_primary for node in server.survey(stage.estate)):
        stage.run(START_CLUSTER, StartClusterOptions())


SCENARIOS = (
    Scenario(
        name="site-power-loss",
        summary="Every host of the estate loses power at one moment and comes back; nothing starts by itself.",
        rate=RATE,
        fault=_cut,
        detect=_nobody_answers,
        recover=_start,
        new_timeline=False,
        darkens=True,
    ),
)

TWINS = (
    Twin(
        name="stale-copy",
        says="An older copy of the data directory lies in the primary's place: it must not be started.",
        reason=r"the data directory of \S+ is an older copy",
        scenario="site-power-loss",
        prepare=_copy,
        recover=_start_beside_a_copy,
    ),
)

__all__ = ["SCENARIOS", "TWINS"]
