"""What a scenario and its negative twin are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from drills.result import Check
from drills.stage import Stage
from drills.tally import Writing
from runbooks.engine.budgets import budget
from runbooks.engine.result import RunResult

Result = RunResult[Any]


def store_lost(stage: Stage) -> str:
    """An operator's alarm: the store has stopped acknowledging the feed's rows. Raises TimedOut."""
    view = stage.feed.ledger.wait_for(
        lambda view: view.writing is Writing.OUTBOX, budget("feed.start"), "the feed to notice the fault"
    )
    why = view.store_down_why.strip().partition("\n")[0]
    return f"rows go to the outbox: {why or 'the store does not answer'}"


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

    @property
    def promise(self) -> str:
        return self.objectives or self.name

    @property
    def loses_store(self) -> bool:
        """Whether it is noticed by the store falling silent, so that the outbox has to take rows."""
        return self.detect is store_lost


@dataclass(frozen=True)
class Twin:
    """A drill made to fail: `reason` is the pattern that each of its reasons must begin with.

    `recover` and `detect` take the place of the scenario's own. A runbook that does not notice what was done to it is
    meant to pass (`runbook_passes`); ledger or checks must find it then.
    """

    name: str
    says: str
    reason: str
    scenario: str  # the one it is the twin of, when none is named
    recover: Callable[[Stage], Result] | None = None
    detect: Callable[[Stage], str] | None = None
    runbook_passes: bool = False
    forge_ledger: bool = False

    def is_why(self, reasons: Collection[str]) -> bool:
        """Whether these are the reasons that it was built for, and no others."""
        return bool(reasons) and all(re.match(self.reason, reason) for reason in reasons)

    @property
    def runbook_fails(self) -> bool:
        return self.recover is not None and not self.runbook_passes
