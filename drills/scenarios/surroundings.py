"""Hosts around the database are lost: the application's with rows in its outbox, the backup host, the off-site one."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from drills.judging.result import Check
from drills.measuring.tally import Writing
from drills.scenarios.common import RATE, catch_up, check, run_job
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.catalog.load import load_recovery
from inventories.errors import VerificationFailed
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.judge.objectives import Finding, findings
from runbooks.look import status
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions

OUTBOX_S = 1.0  # how long the outbox alone takes rows before its host dies
WAITING = "rows that only the outbox had"
REPLAYER = "mystocks-replayer"


def _on(stage: Stage, host: Host) -> None:
    stage.power_on(host)
    host.hang_up()  # what we had open to it died with it


# ---- app-power-loss


def _database_then_application(stage: Stage) -> None:
    """The primary's host first, so that rows are acknowledged by the outbox; then the host that holds it."""
    app = stage.estate.app
    stage.later("power for the application host", lambda: _on(stage, app))
    stage.power_off(stage.primary)
    feed = stage.feed.ledger
    feed.wait_for(lambda view: view.writing is Writing.OUTBOX, budget("feed.start"), "rows to go to the outbox")
    stage.pause(OUTBOX_S)
    stage.mark("application host dies")
    stage.power_off(app)
    stage.fact(WAITING, f"{feed.view().awaiting_replay:,}")


def _application_silent(stage: Stage) -> str:
    """An operator's alarm: neither the application nor the primary answers. Raises TimedOut."""
    hosts = (stage.estate.app, stage.primary)
    until(lambda: not any(host.reachable() for host in hosts), budget("feed.start"), what="both to fall silent")
    return f"{hosts[0]} and {hosts[1]} do not answer"


def _failover_without_application(stage: Stage, meddle: Callable[[Stage], None] | None = None) -> Result:
    """The database does not wait for its client; then that one comes back, and what it had acknowledged with it."""
    result = stage.run(FAILOVER, FailoverOptions(yes=True))
    stage.mark("application host starts")
    _on(stage, stage.estate.app)
    if meddle:
        meddle(stage)
    stage.feed.go_on()
    return result


def _rows_had_waited(stage: Stage) -> tuple[Check, ...]:
    waited = stage.told(WAITING)
    told = [line for name, result in stage.results if name == "failover" for line in result.state.degraded]
    said = [line for line in told if stage.estate.app.name in line]
    return (
        check("rows lay in the outbox when its host died", waited not in ("", "0"), f"{waited} rows"),
        check("the failover said who did not prove its write path", bool(said), "; ".join(said) or "nothing was said"),
    )


def _primary_back(stage: Stage) -> None:
    stage.power_on(stage.primary)
    stage.run(REJOIN, RejoinOptions(yes=True, host=stage.primary.name))


_FORGET = """
from agents.base.config import load_config
from agents.writing.outbox import Outbox
import pathlib, sys
config = load_config(pathlib.Path("/etc/mystocks-dr/agent.json"))
outbox = Outbox.of(config)
while records := outbox.pending(1 << 20):
    outbox.mark_applied(records, sys.argv[1], int(sys.argv[2]))
"""


def _replayer_stays_down(stage: Stage) -> None:
    """The twin's: after the next boot nobody drains the outbox, until somebody has meddled with it."""
    app = stage.estate.app
    stage.later("the replayer", lambda: app.run("systemctl enable --now %s", REPLAYER, timeout=60))
    app.run("systemctl disable %s", REPLAYER, timeout=60)


def _forget_rows(stage: Stage) -> None:
    """Somebody calls the outbox drained, because the database is up again."""
    node = server.the_primary(server.survey(stage.estate))
    stage.estate.app.run(
        "cd /opt/mystocks-dr && exec python3 -c %s %s %s", _FORGET, node.host.address, node.timeline, user="mystocks",
        timeout=60,
    )  # fmt: skip
    stage.estate.app.run("systemctl enable --now %s", REPLAYER, timeout=60)


# ---- backup-power-loss, offsite-loss


class Nothing(BaseModel):
    """A drill's own repair keeps no state."""

    model_config = ConfigDict(frozen=True)


def _power(stage: Stage, host: Host, says: str, good: Callable[[], object]) -> Procedure[Nothing]:
    """What an operator does about a host that lost power: give it power, and see that it catches up."""

    def power(context: Run, state: Nothing) -> Nothing:
        _on(stage, host)
        return state

    def caught_up(context: Run, state: Nothing) -> None:
        good()

    return Procedure(
        name="power-on",
        summary=f"Give {host} power and wait until it has caught up.",
        purpose=f"{host} lost power; production goes on without it.",
        gate=(),
        initial=lambda context: Nothing(),
        steps=(
            Step(
                name="power-on", role=host.name, budget="backup", action=power, says=f"Give {host} power.",
                evidence=Evidence(says, caught_up),
            ),
        ),
    )  # fmt: skip


def _off(stage: Stage, host: Host) -> None:
    stage.later(f"power for {host}", lambda: _on(stage, host))
    stage.power_off(host)


def _told(stage: Stage, scenario: str, *objectives: str) -> str:
    """What `./dr status` says of these, waited for as long as the alarm may take. Raises TimedOut."""
    promised = load_recovery().scenarios[scenario].detect_s
    assert promised, f"recovery.yaml promises no alarm for {scenario}"

    def look() -> list[Finding]:
        found = findings(status.look(stage.estate), load_recovery().limits)
        return [finding for finding in found if finding.objective in objectives]

    seen = until(look, promised, what=f"./dr status to tell {' or '.join(objectives)}", every=0.5)
    return "./dr status: " + "; ".join(f"{finding.objective} {finding.measured}" for finding in seen)


def _young_enough(stage: Stage, objective: str) -> str:
    """The twins': looks at an age alone, long before anything is too old."""
    found = findings(status.look(stage.estate), load_recovery().limits)
    if told := [finding for finding in found if finding.objective == objective]:
        return told[0].measured
    raise VerificationFailed(f"the {objective} is as promised, and nothing else was looked at")


def _must_pass(stage: Stage, job: str) -> None:
    state = run_job(stage, job)
    if state["outcome"] != "passed":
        raise VerificationFailed(f"the scheduled job {job} failed: {state['sentence']}")


def _backup_on(stage: Stage) -> Result:
    done = _power(
        stage, stage.estate.backup, "no segment waits any more and the archiver works", lambda: catch_up(stage)
    )
    return stage.run(done, Options(yes=True))


def _archive_is_whole(stage: Stage) -> tuple[Check, ...]:
    state = run_job(stage, "check")
    return (check("the scheduled check finds a new segment", state["outcome"] == "passed", str(state["sentence"])),)


def _offsite(stage: Stage) -> Host:
    return stage.estate.group("offsite")[0]


def _scheduled_copy(stage: Stage) -> str:
    """The copy that would have been next fails, and status tells it at once."""
    run_job(stage, "offsite")
    return _told(stage, "offsite-loss", "job offsite")


def _offsite_on(stage: Stage) -> Result:
    done = _power(
        stage, _offsite(stage), "the scheduled copy passes", lambda: _must_pass(stage, "offsite")
    )
    return stage.run(done, Options(yes=True))


SCENARIOS = (
    Scenario(
        name="app-power-loss",
        summary="The primary's host loses power, then the application's, with acknowledged rows in its outbox alone.",
        rate=RATE,
        fault=_database_then_application,
        detect=_application_silent,
        recover=_failover_without_application,
        restore=_primary_back,
        check=_rows_had_waited,
        darkens=True,
    ),
    Scenario(
        name="backup-power-loss",
        summary="The backup host loses power while production writes on; it comes back and the archive catches up.",
        rate=RATE,
        fault=lambda stage: _off(stage, stage.estate.backup),
        detect=lambda stage: _told(stage, "backup-power-loss", "backup repository"),
        recover=_backup_on,
        check=_archive_is_whole,
        new_timeline=False,
    ),
    Scenario(
        name="offsite-loss",
        summary="The off-site host loses power while production writes on; it comes back and is copied to again.",
        rate=RATE,
        fault=lambda stage: _off(stage, _offsite(stage)),
        detect=_scheduled_copy,
        recover=_offsite_on,
        new_timeline=False,
    ),
)

TWINS = (
    Twin(
        name="emptied-outbox",
        says="Somebody calls the outbox drained when its host is back: rows that it alone had must be missed.",
        reason=r"[\d,]+ of [\d,]+ acknowledged rows (is|are) lost in",
        scenario="app-power-loss",
        prepare=_replayer_stays_down,
        recover=lambda stage: _failover_without_application(stage, _forget_rows),
        runbook_passes=True,
    ),
    Twin(
        name="patient-alarm",
        says="The alarm looks at the age of the newest backup only: the silent backup host must go undetected.",
        reason="Time from the fault to the alarm is unknown",
        scenario="backup-power-loss",
        detect=lambda stage: _young_enough(stage, "age of the newest backup"),
    ),
    Twin(
        name="copied-yesterday",
        says="The alarm looks at the age of the off-site copy only: the host that is gone must go undetected.",
        reason="Time from the fault to the alarm is unknown",
        scenario="offsite-loss",
        detect=lambda stage: _young_enough(stage, "age of the off-site copy"),
    ),
)

__all__ = ["SCENARIOS", "TWINS"]
