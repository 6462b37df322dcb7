"""What a procedure would do, as rows for a table; touches nothing, and needs no host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbooks.engine.budgets import budget
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Grows


@dataclass(frozen=True)
class PlanRow:
    """One step as read before running it. `deadline` is in seconds, `undo` empty where there is none; `grows`: with
    what its time grows beyond that.
    """

    nr: int
    step: str
    where: str
    does: str
    evidence: str
    deadline: float
    undo: str
    destructive: bool
    only_when: str
    grows: Grows | None = None


def plan_rows(
    procedure: Procedure[Any],
    estate_names: Mapping[str, str] | None = None,
    budgets: Mapping[str, float] | None = None,
) -> list[PlanRow]:
    """The steps in order. `estate_names` maps a role to its hosts' names; else it stands for itself."""
    names = estate_names or {}
    return [
        PlanRow(
            nr=nr,
            step=step.name,
            where=f"{names[step.role]} ({step.role})" if step.role in names else step.role,
            does=step.says,
            evidence=step.evidence.says,
            deadline=budget(step.budget, budgets),
            undo=step.undo_says,
            destructive=step.destructive,
            only_when=step.only_when,
            grows=step.grows,
        )
        for nr, step in enumerate(procedure.steps, 1)
    ]
