"""Ask the backup host for the marks, have it keep one, let some go."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runbooks import agent
from runbooks.agent import ask
from runbooks.engine.budgets import budget
from runbooks.hosts import Host
from runbooks.marks.types import Kept, Mark, kept

_PROGRAM = "marks.keep"


def look(backup: Host) -> Kept:
    """Raises DrError."""
    backup.must_answer()
    return kept(ask(backup, _PROGRAM, "show", user="root", timeout=budget("mark.keep")))


def begin(backup: Host) -> None:
    """Have what keeps a mark ready; it keeps nothing before it is told which."""
    agent.begin(backup, _PROGRAM, "add", user="root")


def keep(backup: Host, mark: Mark) -> Mark:
    """The mark as it is kept. Raises Refused for a name that stands already, or where two clocks disagree."""
    text = json.dumps(mark.model_dump(mode="json", exclude={"file"}))
    said = ask(backup, _PROGRAM, "add", user="root", timeout=budget("mark.keep"), stdin=text)
    return mark.model_copy(update={"file": str(said["file"])})


def drop(backup: Host, marks: Sequence[Mark]) -> None:
    names = json.dumps([mark.file for mark in marks])
    ask(backup, _PROGRAM, "drop", user="root", timeout=budget("mark.keep"), stdin=names)
