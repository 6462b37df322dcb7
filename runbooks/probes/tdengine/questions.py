"""Questions to TDengine, asked on the backup host: each for itself, so that one which is refused ends no other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inventories.errors import TargetFailed
from runbooks.agent import ask as ask_agent
from runbooks.hosts import Host


@dataclass(frozen=True)
class Question:
    """A SELECT. The values of the first row of `pick` stand in it for {0}, {1} ..., and {0:-60} for a number less 60;
    `rows`: so many are brought.
    """

    sql: str
    pick: str = ""
    rows: int = 0


@dataclass(frozen=True)
class Answer:
    """`n` rows in `ms` milliseconds; both None where it was refused, `why` says so. `ms` is None, and `n` 0, where
    there was nothing to ask of.
    """

    n: int | None
    ms: float | None
    rows: Sequence[Sequence[Any]]
    why: str


def ask(backup: Host, questions: Mapping[str, Question], timeout: float) -> dict[str, Answer]:
    """By the questions' names. Raises DrError where nobody answers."""
    text = json.dumps({name: asdict(one) for name, one in questions.items()})
    said = ask_agent(backup, "validation.questions", timeout=timeout, stdin=text)
    try:
        return {name: Answer(*(said[name][key] for key in ("n", "ms", "rows", "why"))) for name in questions}
    except (KeyError, TypeError) as error:
        raise TargetFailed(f"{backup} answered no questions: {error!r}", "./dr deploy brings the agents") from error
