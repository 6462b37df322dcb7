"""A step says: name, host role, action, expected evidence, deadline, undo. A gate says when to start."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from runbooks.engine.context import Context, Options

S = TypeVar("S", bound=BaseModel)
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_name(kind: str, name: str) -> None:
    """Raise ValueError unless the name is kebab-case: it goes into journals, folders and command lines."""
    if not _KEBAB.fullmatch(name):
        raise ValueError(f"{kind} name {name!r} is not kebab-case")


@dataclass(frozen=True)
class Evidence(Generic[S]):
    """What must be true after the action. `holds` raises VerificationFailed when it is not.

    `holds=None` is for an action that proves itself; `says` then tells how. Use `wait.until` inside for what
    takes time.
    """

    says: str
    holds: Callable[[Context[Any, Any], S], None] | None = None

    def __post_init__(self) -> None:
        if not self.says.strip():
            raise ValueError("evidence must say what is expected")


class Grows(StrEnum):
    """With what the time of a step grows, beyond any budget: it is waited for as long as it makes progress."""

    RESTORE = "the bytes of the backup"
    BACKUP = "the bytes of the cluster"
    WAL = "the WAL that is to be replayed"
    FETCH = "the bytes of the repository"
    ROWS = "the rows"


@dataclass(frozen=True)
class Gate:
    """A condition for starting at all: `check` observes and raises Refused."""

    name: str
    says: str
    check: Callable[[Context[Any, Any]], None]

    def __post_init__(self) -> None:
        check_name("gate", self.name)


@dataclass(frozen=True, kw_only=True)
class Step(Generic[S]):
    """One step of a procedure over the state S.

    The action returns the new state. It must be harmless when repeated: a run killed in mid-step does it
    again. It raises Refused only before it changed anything, since a refusing step is not undone.
    """

    name: str
    role: str  # the host role it acts on, as text
    says: str  # one imperative sentence, for plan and paper
    action: Callable[[Context[Any, Any], S], S]
    evidence: Evidence[S]
    budget: str  # a name in the catalogue; covers action and evidence together
    undo: Callable[[Context[Any, Any], S], None] | None = None
    undo_says: str = ""
    destructive: bool = False  # needs --yes
    observes: bool = False  # changes nothing, so that a run that came no further has touched nothing
    commands: tuple[str, ...] = ()  # what a human types when this tool is gone
    when: Callable[[Context[Any, Any], S], bool] | None = (
        None  # skipped, and journalled as skipped, where False
    )
    when_says: str = ""
    grows: Grows | None = None  # its budget covers the rest only
    still: Evidence[S] | None = None  # asked when a run that has done this step is resumed; it raises where not
    option: str = ""  # a switch of the options without which the run ends before this step: it is skipped

    def __post_init__(self) -> None:
        check_name("step", self.name)
        if not (self.says.strip() and self.budget and self.role):
            raise ValueError(f"step {self.name!r} lacks a sentence, a role or a budget")
        if self.still and self.still.holds is None:
            raise ValueError(f"step {self.name!r} would be resumed unasked: its guard asks nobody")
        if (self.undo is None) != (not self.undo_says):
            raise ValueError(f"step {self.name!r} needs both undo and undo_says, or neither")
        if (self.when is None) != (not self.when_says):
            raise ValueError(f"step {self.name!r} needs both when and when_says, or neither")

    def chosen(self, options: Options) -> bool:
        """Whether the operator asked for it: a step that no option switches is always part of the run."""
        return not self.option or bool(getattr(options, self.option))

    @property
    def only_when(self) -> str:
        """When it is part of a run, in words; empty when always."""
        switch = f"--{self.option.replace('_', '-')} was given" if self.option else ""
        return " and ".join(part for part in (switch, self.when_says) if part)
