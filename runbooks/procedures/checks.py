"""Hold hosts against their specifications in a fresh process, as the evidence of a step."""

from __future__ import annotations

from collections.abc import Sequence

from runbooks.engine.verify import verify
from runbooks.hosts import Run


def passed(context: Run, selection: Sequence[str], report: str, **told: str) -> None:
    """Every selected one; `told` is added to what the checks are told. Raises VerificationFailed, TimedOut."""
    result = verify(
        selection,
        run_dir=context.run_dir,
        budget=context.remaining(),
        env={"DR_INVENTORY": context.estate.inventory, **told},
        report=report,
    )
    result.raise_if_failed()
    context.say(f"{result.passed} checks passed, {result.skipped} skipped")
