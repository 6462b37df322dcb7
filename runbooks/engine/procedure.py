"""A procedure is a gate and a tuple of steps: readable top to bottom, printable without running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from runbooks.engine.context import Context
from runbooks.engine.step import Evidence, Gate, Step, check_name

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Procedure(Generic[S]):
    """What an operator runs. `initial` builds the first state from the options and touches no host."""

    name: str
    summary: str  # one line, imperative
    purpose: str  # why, and what it refuses to do
    gate: tuple[Gate, ...]
    steps: tuple[Step[S], ...]
    initial: Callable[[Context[Any, Any]], S]
    task: str = ""  # what starts it, where that is not its name

    def __post_init__(self) -> None:
        check_name("procedure", self.name)
        if not self.steps:
            raise ValueError(f"procedure {self.name!r} has no steps: a run of it would prove nothing")
        for kind, names in (("step", self.step_names), ("gate", tuple(gate.name for gate in self.gate))):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"procedure {self.name!r} has more than one {kind} named {', '.join(twice)}")

    @property
    def command(self) -> str:
        """What is typed behind ./dr."""
        return self.task or self.name

    @property
    def step_names(self) -> tuple[str, ...]:
        """Names in order: the journal keeps them, so that another version of the procedure is not resumed."""
        return tuple(step.name for step in self.steps)


def replace_step(
    procedure: Procedure[S],
    name: str,
    *,
    action: Callable[[Context[Any, Any], S], S] | None = None,
    evidence: Evidence[S] | None = None,
) -> Procedure[S]:
    """The same procedure with another action or evidence in one step: how a drill's negative twin is made.

    Raises ValueError when no step has that name, so that a twin never silently equals its original.
    """
    if name not in procedure.step_names:
        raise ValueError(
            f"procedure {procedure.name!r} has no step {name!r}; it has {', '.join(procedure.step_names)}"
        )

    def changed(step: Step[S]) -> Step[S]:
        return replace(step, action=action or step.action, evidence=evidence or step.evidence)

    return replace(
        procedure, steps=tuple(changed(step) if step.name == name else step for step in procedure.steps)
    )
