"""List past runs from their result.json; a damaged one is named, and hides no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drills.judging.result import DrillResult, Outcome, read_result
from drills.rounds.result import RoundsResult, is_rounds, read_rounds
from inventories.errors import BadInput


@dataclass(frozen=True, slots=True)
class Run:
    folder: Path
    result: DrillResult | RoundsResult


@dataclass(frozen=True, slots=True)
class PastRuns:
    """Newest first; `notes` has a sentence for every folder that could not be read."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()


HEADINGS = ("UTC", "scenario", "outcome", "RTO", "acked", "lost", "twice")


def past_runs(folder: Path) -> PastRuns:
    """Read folder/*/result.json; a folder that is not there holds no runs."""
    runs, notes = [], []
    for path in sorted(folder.glob("*/result.json"), reverse=True):
        try:
            runs.append(Run(path.parent, read_rounds(path) if is_rounds(path) else read_result(path)))
        except BadInput as damaged:
            notes.append(f"{path.parent.name} is left out: {damaged}")
    runs.sort(key=lambda run: run.result.started_at.timestamp(), reverse=True)
    return PastRuns(tuple(runs), tuple(notes))


@dataclass(frozen=True, slots=True)
class Measured:
    """A drill that passed, by itself or as one of several rounds."""

    lab: str
    scenario: str
    rto_s: float


def past_drills(folder: Path) -> Iterator[Measured]:
    """The newest first. Negative twins are left out: something was broken in them that no recovery could help."""
    for run in past_runs(folder).runs:
        result = run.result
        if result.negative_twin is not None:
            continue
        drilled = result.rounds[::-1] if isinstance(result, RoundsResult) else (result,)
        for one in drilled:
            if one.outcome is Outcome.PASSED and one.rto_s is not None:
                yield Measured(result.lab, one.scenario, one.rto_s)


def row(run: Run) -> tuple[str, ...]:
    """One line under HEADINGS, as text; a dash for what was not measured."""
    result = run.result
    return (
        f"{result.started_at:%m-%d %H:%M}",
        result.scenario if isinstance(result, DrillResult) else f"{len(result.rounds)} of {result.wanted} rounds",
        _outcome(result),
        _seconds(result.rto_s),
        _count(result.acked),
        _count(result.lost),
        _count(result.duplicated),
    )


def _outcome(result: DrillResult | RoundsResult) -> str:
    """A negative twin is meant to fail: what counts is whether it did so for its own reason."""
    if result.negative_twin is None or result.outcome is Outcome.PASSED:
        return result.outcome.value
    return "twin held" if result.negative_twin.held else "twin broken"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
