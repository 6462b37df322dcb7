"""What an agent tells its operator: one sentence, a hint, and an exit code that says who must act."""

from __future__ import annotations

import sys
from collections.abc import Callable


class AgentError(Exception):
    """Base of the agents' errors.

    Str() is one sentence, `hint` what to do, `exit_code` what the process returns.
    """

    exit_code = 1

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class BadConfig(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """agent.json or tables.json cannot be used."""

    exit_code = 2


class BadRow(AgentError):  # noqa: N818
    """A row that no PostgreSQL can hold, found before anything was acknowledged."""

    exit_code = 2


class NoPrimary(AgentError):  # noqa: N818
    """No host takes writes at the moment."""


class OutboxFull(AgentError):  # noqa: N818
    """The outbox took nothing: the batch is NOT acknowledged."""


class OutboxBusy(OutboxFull):
    """Another process held the file too long: the batch is NOT acknowledged and may be written again."""


class OutboxDamaged(AgentError):  # noqa: N818
    """The outbox file cannot be read; nothing was moved or repaired."""


class OutboxGone(OutboxDamaged):
    """The file that is open has no name any more, or another one has it: what is put in would be nowhere."""


def run(main: Callable[[], int]) -> int:
    """Run a program's main.

    An AgentError becomes its sentence and hint on standard error and its exit code.
    """
    try:
        return main()
    except AgentError as error:
        print(error, file=sys.stderr)
        if error.hint:
            print(f"HINT: {error.hint}", file=sys.stderr)
        return error.exit_code
