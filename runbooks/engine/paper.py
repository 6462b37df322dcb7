"""The paper runbook, for the night when this tool is gone: Markdown from the very steps that run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runbooks.engine.budgets import budget
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Step


def render(procedure: Procedure[Any], budgets: Mapping[str, float] | None = None) -> str:
    """The procedure as a page of Markdown that a human can follow by hand."""
    return "\n".join([*_head(procedure), *_steps(procedure, budgets), *_tail(procedure)]) + "\n"


def _head(procedure: Procedure[Any]) -> Iterator[str]:
    yield f"# {procedure.name}: {procedure.summary}"
    yield ""
    yield "## When to use it, and what it refuses"
    yield ""
    yield procedure.purpose.strip()
    yield ""
    yield "## Before you begin"
    yield ""
    if procedure.gate:
        yield "Stop here, and touch nothing, unless all of this holds:"
        yield ""
        yield from (f"- [ ] **{gate.name}**: {gate.says}" for gate in procedure.gate)
    else:
        yield "Nothing has to hold beforehand."
    yield ""


def _steps(procedure: Procedure[Any], budgets: Mapping[str, float] | None) -> Iterator[str]:
    yield "## Steps"
    for nr, step in enumerate(procedure.steps, 1):
        yield ""
        yield from _step(nr, step, budgets)


def _step(nr: int, step: Step[Any], budgets: Mapping[str, float] | None) -> Iterator[str]:
    yield f"### {nr}. {step.name} (on {step.role})"
    yield ""
    yield step.says
    yield ""
    if step.destructive:
        yield from ("**Destructive: it cannot be taken back. Have it confirmed by a second person.**", "")
    if step.only_when:
        yield from (f"Only when {step.only_when}; otherwise go on with the next step.", "")
    if step.commands:
        yield from ("```sh", *step.commands, "```", "")
    yield f"- Expect: {step.evidence.says}"
    yield f"- Within: {_duration(budget(step.budget, budgets))}{_more(step, budgets)}"
    if step.still:
        yield f"- Before you go on after an interruption: still {step.still.says}"
    yield f"- If it fails: {step.undo_says or 'nothing is undone'}; do not go on with the next step."


def _tail(procedure: Procedure[Any]) -> Iterator[str]:
    yield ""
    yield "## How to go on after an interruption"
    yield ""
    yield (
        f"With the tool: `./dr {procedure.command} --resume` asks whether what its journal proves done is so still, "
        "and repeats the step in flight; `./dr runbook.abandon` ends the run for good instead. By hand: find the last "
        "step whose expectation holds, and repeat the one after it; every step may be repeated."
    )


def _more(step: Step[Any], budgets: Mapping[str, float] | None) -> str:
    """What a step is given beyond its budget."""
    if not step.grows:
        return ""
    silent = _duration(budget("work.silent", budgets))
    return f", and longer while something moves, as it grows with {step.grows}; give up after {silent} without a move"


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
