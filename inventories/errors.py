"""The one root of our exceptions; families say who must act. Exceptions take data and build the sentence."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The documented exit codes of ``./dr``."""

    PASSED = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 4


class DrError(Exception):
    """What went wrong, as one sentence, with a hint on what to do and the exit code it ends in."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class BadInput(DrError):
    """The operator's input or configuration has to change."""

    exit_code = ExitCode.BAD_INPUT


class Refused(DrError):
    """A gate said no; nothing was changed."""

    exit_code = ExitCode.REFUSED


class TargetFailed(DrError):
    """A host or a tool did not do what it was told."""


class Unreachable(DrError):
    """A host did not answer."""


class TimedOut(DrError):
    """Something did not happen within its budget."""


class VerificationFailed(DrError):
    """A check of the result said no."""


class Interrupted(DrError):
    """The operator stopped us; the work can be resumed."""

    exit_code = ExitCode.INTERRUPTED
