"""Run the failover by itself: the same runbook with the same gates, and never a word of acceptance."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import DrError
from runbooks.engine import process
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome, outcome_of
from runbooks.hosts import Estate, Host, Run
from runbooks.procedures.postgresql import ahead
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.record.arbiter import FileOn
from runbooks.run import execute
from runbooks.watch.desk import Desk

OPTIONS = FailoverOptions(yes=True)  # consent to its steps; what a person accepts on top of it nobody accepts here


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


def fail_over(estate: Estate, desk: Desk, primary: str, cooldown_s: float, say: Callable[[str], None]) -> Deed:
    """Note it where every watch looks, then run it; what was refused before anything was touched does not count."""
    token = secrets.token_hex(8)
    request = {"token": token, "cooldown_s": cooldown_s, "by": process.user_at_machine(), "primary": primary}
    try:
        desk.change("act", request)
    except DrError as error:
        return Deed(Outcome.REFUSED, str(error), error.hint)
    try:
        result = execute(FAILOVER, estate, OPTIONS, say)
        outcome, said, hint = result.outcome, result.error, result.hint
    except DrError as error:  # before its journal was open, when nothing was touched
        outcome, said, hint = outcome_of(error.exit_code), str(error), error.hint
    if outcome is Outcome.REFUSED:
        _back(desk, token, say)
    if outcome is Outcome.PASSED:
        return Deed(outcome, f"failover passed: {result.state.primary} is primary, run {result.run_dir.name}")
    return Deed(outcome, said, hint)


def _back(desk: Desk, token: str, say: Callable[[str], None]) -> None:
    try:
        desk.change("back", {"token": token})
    except DrError as error:
        say(f"WARNING: what was refused counts as done until the cooldown is over: {error}")
