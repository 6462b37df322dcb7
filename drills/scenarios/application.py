"""The application host is lost with its disk, and with it the outbox that alone had acknowledged rows."""

from __future__ import annotations

import os

from deploys.run import deploy
from drills.judging.result import Check
from drills.measuring.tally import Writing
from drills.scenarios.common import RATE, check
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.errors import VerificationFailed
from runbooks.actions import outbox as act
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes import outbox
from runbooks.probes.outbox import POSTGRESQL, Box
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions

OPTION = "DR_LAB_OUTBOX_COPY"  # what the lab's inventory reads
OUTBOX_S = 2.0  # how long the outbox alone takes rows before its host is lost
AT_STAKE, ADOPTED = "rows that only the outbox had", "records adopted from second copies"


def _deployed(stage: Stage, copy: str, *names: str) -> None:
    os.environ[OPTION] = copy
    deploy("lab", list(names))


def _with_copies(stage: Stage) -> None:
    """Turn the option on, and have the feed write by it."""
    app, backup = stage.estate.app, stage.estate.backup
    stage.later("settings without second copies", lambda: _deployed(stage, "", app.name, backup.name))
    _deployed(stage, "required", app.name, backup.name)
    stage.feed.go_on()


def _without_copies(stage: Stage) -> None:
    """The twin's: what the outbox has is nowhere else. What that will cost is said before anything is lost."""
    stage.say("no second copies are kept: whatever waits in the outbox is lost with its host")


def _database_then_application(stage: Stage) -> None:
    """The primary's host loses power, rows are acknowledged by the outbox, then its host is gone with its disk."""
    app = stage.estate.app
    stage.later("an application host", lambda: _rescued(stage, app))
    stage.power_off(stage.primary)
    feed = stage.feed.ledger
    feed.wait_for(lambda view: view.writing is Writing.OUTBOX, budget("feed.start"), "rows to go to the outbox")
    stage.pause(OUTBOX_S)
    stage.mark("application host is lost")
    stage.remove(app)
    stage.fact(AT_STAKE, f"{feed.view().awaiting_replay:,}")


def _silent(stage: Stage) -> str:
    """Raises TimedOut."""
    both = (stage.estate.app, stage.primary)
    until(lambda: not any(host.reachable() for host in both), budget("feed.start"), what="both to fall silent")
    return f"{both[0]} and {both[1]} do not answer"


def _replaced(stage: Stage) -> Result:
    """The database does not wait for its client. Then a blank host takes the other one's place."""
    result = stage.run(FAILOVER, FailoverOptions(yes=True))
    stage.replace_hosts()
    app = stage.estate.app
    deploy("lab", [app.name])
    if os.environ.get(OPTION):
        adopted = act.adopt(Box(app, POSTGRESQL), budget("restore.requeue"))
        stage.fact(ADOPTED, f"{adopted:,}")
        if not adopted:
            raise VerificationFailed("no second copy was there to be adopted")
    else:
        stage.gone = stage.feed.ledger.view().awaiting_replay
    stage.feed.go_on()
    return result


def _rescued(stage: Stage, app: Host) -> None:
    """Leave an application host behind, whatever the drill came to."""
    if not app.reachable():
        stage.replace_hosts()
        deploy("lab", [app.name])


def _primary_back(stage: Stage) -> None:
    stage.power_on(stage.primary)
    stage.run(REJOIN, RejoinOptions(yes=True, host=stage.primary.name))


def _was_at_stake(stage: Stage) -> tuple[Check, ...]:
    waited, adopted = stage.told(AT_STAKE), stage.told(ADOPTED)
    alone = check("rows lay in the outbox alone when its host was lost", waited not in ("", "0"), f"{waited} rows")
    if not os.environ.get(OPTION):
        return (alone,)
    left = outbox.status(Box(stage.estate.app, POSTGRESQL)).orphans
    return (
        alone,
        check("second copies were adopted", adopted not in ("", "0"), f"{adopted or 0} records"),
        check("no second copy of the lost outbox is left", left == 0, f"{left} records"),
    )


SCENARIOS = (
    Scenario(
        name="app-disk-loss",
        summary="During an outage of the database the application host is lost with its disk; second copies come back.",
        rate=RATE,
        prepare=_with_copies,
        fault=_database_then_application,
        detect=_silent,
        recover=_replaced,
        restore=_primary_back,
        check=_was_at_stake,
        darkens=True,
    ),
)

TWINS = (
    Twin(
        name="uncopied-outbox",
        says="No second copies are kept: what the outbox alone had must be missed, row by row.",
        reason=r"[\d,]+ of [\d,]+ acknowledged rows (is|are) lost in",
        scenario="app-disk-loss",
        prepare=_without_copies,
        runbook_passes=True,
    ),
)

__all__ = ["SCENARIOS", "TWINS"]
