"""The one exception root: families by who must act, each with the exit code it ends in."""

# ruff: noqa: N818 - the families are read in sentences ("raises Refused"); DrError is their root

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a shell or a cron job sees; stable, documented in the README."""

    PASSED = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 4


class DrError(Exception):
    """Something a person must act on: a sentence that says what is wrong, and a hint that says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence, hint)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return self.sentence

    def render(self) -> str:
        """The sentence and, on a last line of its own, the hint."""
        return f"{self.sentence}\nHINT: {self.hint}" if self.hint else self.sentence


class BadInput(DrError):
    """The operator gave or configured something that cannot be right; nothing was touched."""

    exit_code = ExitCode.BAD_INPUT


class Refused(DrError):
    """A gate holds: going on would be unsafe. Raised only before the thing it protects was touched."""

    exit_code = ExitCode.REFUSED


class TargetFailed(DrError):
    """A host, or a program on it, answered with a failure."""


class Unreachable(DrError):
    """A host or a service did not answer at all."""


class TimedOut(DrError):
    """Something did not happen within its budget."""


class TransferFailed(DrError):
    """Bytes did not arrive, or did not arrive whole."""


class VerificationFailed(DrError):
    """An action ended well and the evidence says otherwise, or nothing was checked."""


class Interrupted(DrError):
    """Stopped by a signal; the journal knows how far it came, so that --resume goes on from there."""

    exit_code = ExitCode.INTERRUPTED
