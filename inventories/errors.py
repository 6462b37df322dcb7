"""One exception root: families by who must act; the sentence and the hint travel together."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    PASSED = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 4


class DrError(Exception):
    """Base of every error of ours: str() is one sentence, `hint` what to do, `exit_code` what the process returns."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class BadInput(DrError):
    """What a person wrote (file, option, environment) cannot be used."""

    exit_code = ExitCode.BAD_INPUT
