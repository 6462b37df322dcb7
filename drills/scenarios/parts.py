"""What a scenario and its negative twin are made of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from drills.feed import Feed
from drills.judging.result import Check
from drills.measuring.ledger import read_ledger
from drills.measuring.tally import LedgerView, Tally, Writing
from drills.stage import Stage
from drills.stores import POSTGRESQL, TDENGINE, Store
from inventories.errors import Refused
from inventories.quorum import DECLARED_ASYNCHRONOUS
from runbooks.engine.budgets import budget
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate

Result = RunResult[Any]
PACKAGE = "TDENGINE_PACKAGE"  # in the environment, as the lab reads it


def store_lost(stage: Stage) -> str:
    """An operator's alarm: the store has stopped acknowledging the feed's rows. Raises TimedOut.

    It may be over before anybody looks: three nodes elect another leader while the lost one's host is still going.
    """
    says = []
    for name, feed in stage.running.items():
        feed.ledger.wait_for(
            partial(_noticed, before=stage.outages.get(name, 0)), budget("feed.start"), "the feed to notice the fault"
        )
        why = _first_why(feed, stage.outages.get(name, 0)).strip().partition("\n")[0]
        which = f" of {name}" if len(stage.running) > 1 else ""
        says.append(f"rows go to the outbox{which}: {why or 'the store does not answer'}")
    return "; ".join(says)


def _noticed(view: LedgerView, before: int) -> bool:
    return view.writing is Writing.OUTBOX or view.outages > before


def _first_why(feed: Feed, outages: int) -> str:
    """Why the feed turned to its outbox first, after so many outages; "" where it did not say."""
    told = Tally()
    for event in read_ledger(feed.ledger.path):
        told.take(event)
        if told.view.outages > outages and told.view.store_down_why:
            return told.view.store_down_why
    return told.view.store_down_why


def nothing(_stage: Stage) -> None:
    """The estate is whole already."""


def no_checks(_stage: Stage) -> tuple[Check, ...]:
    """The ledger and the runbooks' own verification say it all."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`prepare` sets the scene while the feed writes; `fault` breaks the estate; `detect` waits for the alarm, says it
    in its own words and raises TimedOut or VerificationFailed when there is none; `recover` is what an operator does
    about it; `restore` makes the estate whole again; `check` is what must hold then besides the ledger.

    `objectives` names the entry of recovery.yaml; `refused` means that the runbook must refuse, and that writing must
    go on once the fault is gone. `rate` bounds the feed's rows a second where a long recovery would fill the outbox.
    `stores` are written to, each by a feed of its own. `darkens`: the application's host loses its power, too.
    `of_several` takes its place where there is more than one standby. `nodes` and `synchronous`: how many PostgreSQL
    hosts it takes, and how many standbys a commit has to wait for; 0: none, so that it may lose rows and find them;
    `delayed`: it takes a delayed standby besides.
    """

    name: str
    summary: str
    fault: Callable[[Stage], None]
    recover: Callable[[Stage], Result]
    restore: Callable[[Stage], None] = nothing
    prepare: Callable[[Stage], None] | None = None
    detect: Callable[[Stage], str] | None = store_lost
    check: Callable[[Stage], tuple[Check, ...]] = no_checks
    objectives: str = ""
    new_timeline: bool = True
    refused: bool = False
    rate: float | None = None
    stores: tuple[Store, ...] = (POSTGRESQL,)
    darkens: bool = False
    by_itself: bool = False  # a watch may act on it: nothing can be lost, and all its eyes see the same
    of_several: Scenario | None = None
    delayed: bool = False
    nodes: int = 2
    synchronous: int = 1

    def fitting(self, estate: Estate) -> Scenario:
        """What it is in this estate. Raises Refused where the estate is too small for it, or promises less."""
        if self.synchronous and not estate.least:
            raise Refused(
                f"{self.name} promises what commits that wait for a standby give, and {DECLARED_ASYNCHRONOUS}",
                "./dr drill --scenario async-primary-loss is this estate's own",
            )
        if self.delayed and not estate.delayed:
            raise Refused(
                f"{self.name} takes a delayed standby, and the estate has none",
                f"DR_LAB_POSTGRES=3 DR_LAB_DELAY=1h ./dr drill --scenario {self.name}, on a new lab or after "
                "./dr deploy with the same words",
            )
        if self.of_several is None and self.nodes == 2:
            return self
        nodes, least = len(estate.candidates), estate.least
        if nodes < self.nodes or least < self.synchronous:
            raise Refused(
                f"{self.name} takes {self.nodes} PostgreSQL hosts and commits that wait for {self.synchronous} "
                f"standbys; the estate has {nodes}, and commits wait for {least}",
                f"DR_LAB_POSTGRES={self.nodes} DR_LAB_SYNCHRONOUS={self.synchronous} ./dr drill "
                f"--scenario {self.name}, on a new lab or after ./dr deploy with the same words",
            )
        return self.of_several if self.of_several and nodes > 2 else self

    @property
    def promise(self) -> str:
        return self.objectives or self.name

    @property
    def skipped(self) -> str:
        """Why it cannot be run here, in one sentence; empty when it can."""
        if TDENGINE in self.stores and not os.environ.get(PACKAGE):
            return f"{self.name} is skipped, because {PACKAGE} names no TDengine package"
        return ""

    @property
    def loses_store(self) -> bool:
        """Whether it is noticed by the store falling silent, so that the outbox has to take rows."""
        return self.detect is store_lost


@dataclass(frozen=True)
class Twin:
    """A drill made to fail: `reason` is the pattern that each of its reasons must begin with, missed seconds apart.

    `prepare`, `recover` and `detect` take the place of the scenario's own. A runbook that does not notice what was done
    to it is meant to pass (`runbook_passes`); ledger or checks must find it then.
    """

    name: str
    says: str
    reason: str
    scenario: str  # the one it is the twin of, when none is named
    recover: Callable[[Stage], Result] | None = None
    detect: Callable[[Stage], str] | None = None
    prepare: Callable[[Stage], None] | None = None
    runbook_passes: bool = False
    forge_ledger: bool = False

    def is_why(self, reasons: Collection[str]) -> bool:
        """Whether these are the reasons that it was built for, and no others."""
        return bool(reasons) and all(re.match(self.reason, reason) for reason in reasons)

    @property
    def runbook_fails(self) -> bool:
        return self.recover is not None and not self.runbook_passes
