"""How a run and each of its steps ended: enums, never sentences or booleans."""

from __future__ import annotations

from enum import StrEnum

from inventories.errors import DrError, ExitCode


class Outcome(StrEnum):
    """How a run ended; `result.json` holds the value."""

    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that stands for this outcome."""
        return ExitCode[self.name]


class StepOutcome(StrEnum):
    """How a step ended; a skipped step is one whose condition did not hold."""

    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"


def outcome_of(exit_code: ExitCode) -> Outcome:
    """The outcome for an exit code; bad input counts as failed, since a run has only four ends."""
    return Outcome.FAILED if exit_code is ExitCode.BAD_INPUT else Outcome[exit_code.name]


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code an exception ends in: its family's, interrupted for a signal, else failed."""
    if isinstance(error, DrError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.FAILED
