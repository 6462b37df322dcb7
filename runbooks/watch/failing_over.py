"""Run the failover by itself: the same runbook with the same gates, and never a word of acceptance."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inventories.errors import DrError
from runbooks.engine import process
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome, StepOutcome, exit_code_of, outcome_of
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate, Host, Run
from runbooks.procedures.postgresql import ahead
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.record.arbiter import FileOn
from runbooks.run import execute
from runbooks.watch.desk import Declines, Desk

OPTIONS = FailoverOptions(yes=True)  # consent to its steps; what a person accepts on top of it nobody accepts here
AFRESH = "./dr failover --yes looks at everything afresh; ./dr runbook.abandon --yes takes back what was begun"
_OBSERVES = frozenset(step.name for step in FAILOVER.steps if step.observes)
_STEP = re.compile(r"\d+/\d+ ([\w-]+): ")  # how a run says that a step begins
Say = Callable[[str], None]


@dataclass(frozen=True)
class Deed:
    """How it ended, in one sentence without its end, and what a person may do next (empty: nothing)."""

    outcome: Outcome
    says: str
    hint: str = ""


def get_ready(estate: Estate, primary: Host) -> None:
    """Log in and start what a failover will ask first, while patience lasts; nothing is done before its word.

    What is not needed in the end is dropped. Never raises.
    """
    context: Run = Context(estate=estate, options=OPTIONS, run_dir=Path())
    arbiter, standbys = FileOn(estate.backup), [host for host in estate.postgres if host != primary]
    with suppress(DrError), ThreadPoolExecutor(3) as pool:
        for verb in ("take", "swap"):
            pool.submit(arbiter.begin, verb)
        if len(standbys) == 1:  # of several the runbook chooses
            pool.submit(ahead.get_ready, context, primary, standbys[0], ())


class Notes:
    """That this watch acts, noted where every watch looks. What could not be taken back yet is owed."""

    def __init__(self, desk: Desk, say: Say) -> None:
        self._desk, self._say = desk, say
        self._owed: list[str] = []

    def act(self, primary: str, cooldown_s: float) -> str:
        """Its token. Raises Declines; TargetFailed where nobody answers: what is noted all the same is taken back."""
        token = secrets.token_hex(8)
        request = {"token": token, "cooldown_s": cooldown_s, "by": process.user_at_machine(), "primary": primary}
        try:
            self._desk.change("act", request)
        except Declines:
            raise
        except DrError:
            self.back(token)
            raise
        return token

    def back(self, token: str) -> None:
        """Nothing was touched: it does not count."""
        self._owed.append(token)
        self.settle()

    def settle(self) -> None:
        """Take back what is owed. Never raises."""
        while self._owed:
            try:
                self._desk.change("back", {"token": self._owed[0]})
            except DrError as error:
                self._say(f"WARNING: what touched nothing counts as done until the cooldown is over: {error}")
                return
            self._owed.pop(0)


class _Heard:
    """Passes on what a run says; `touched`: it has begun steps, by name, that change something."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.touched: list[str] = []

    def __call__(self, sentence: str) -> None:
        begins = _STEP.match(sentence)
        if begins and begins[1] not in _OBSERVES:
            self.touched.append(begins[1])
        self._say(sentence)


def fail_over(estate: Estate, notes: Notes, token: str, say: Say) -> Deed:
    """Run it, having noted it by that token; what ended before anything was touched does not count."""
    heard = _Heard(say)
    try:
        result = execute(FAILOVER, estate, OPTIONS, heard)
    except (DrError, OSError) as error:
        code = exit_code_of(error)
        deed, touched = Deed(outcome_of(code), str(error), getattr(error, "hint", "")), bool(heard.touched)
    else:
        if result.outcome is Outcome.PASSED:
            passed = f"failover passed: {result.state.primary} is primary, run {result.run_dir.name}"
            return Deed(result.outcome, passed)
        deed, touched = Deed(result.outcome, result.error, result.hint), _touched(heard.touched, result)
    if not touched:
        notes.back(token)
    elif deed.outcome is Outcome.REFUSED:
        deed = replace(deed, outcome=Outcome.FAILED)
    # Its journal is on this host, and whoever reads this is on another.
    return replace(deed, hint=AFRESH) if "--resume" in deed.hint else deed


def _touched(begun: Sequence[str], result: RunResult[Any]) -> bool:
    """A step that changes something was done, or left half way; a step that refuses has touched nothing."""
    refused = result.steps[-1].name if result.steps and result.steps[-1].outcome is StepOutcome.REFUSED else ""
    return bool(begun) and list(begun) != [refused]
