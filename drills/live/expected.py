"""How long a drill has still to go, by how long the phases of the newest one that passed took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.judging.result import DrillResult, Outcome, read_result
from inventories.errors import BadInput

_LOOKED_AT = 40  # of the newest runs
# Phases that are heard of as they begin; a runbook's own steps are known when it has ended.
HEARD = frozenset({
    "normal", "prepare", "fault", "detected", "undetected", "blank hosts", "power is back", "application starts",
    "application host is lost", "application host dies", "application host starts", "drain", "compare", "restore",
    "second copy", "last checks",
})  # fmt: skip


@dataclass(frozen=True)
class Left:
    """Seconds until the end, and how much of the whole is done (0 to 1)."""

    seconds: float
    share: float


@dataclass(frozen=True)
class Expected:
    """When each phase began, in seconds since the drill's first, and how long all of it took."""

    begins: Mapping[str, float]
    whole_s: float

    def left(self, marks: Sequence[tuple[str, float]], now: float) -> Left | None:
        """Of a drill whose phases (name, moment) these are. A phase that goes on longer than it did takes nothing from
        what comes after it.
        """
        known = [(self.begins[name], at) for name, at in marks if name in self.begins]
        if not known:
            return None
        began, since = max(known)
        after = min((at for at in self.begins.values() if at > began), default=self.whole_s)
        seconds = self.whole_s - min(began + (now - since), after)
        elapsed = now - marks[0][1]
        return Left(seconds, elapsed / (elapsed + seconds) if elapsed + seconds > 0 else 0.0)


def expected(runs: Path, scenario: str) -> Expected | None:
    """Of the newest drill of this scenario that passed; None without one."""
    for folder in sorted(runs.glob(f"*-drill-{scenario}"), reverse=True)[:_LOOKED_AT]:
        try:
            result = read_result(folder / "result.json")
        except BadInput:
            continue
        if result.outcome is Outcome.PASSED:
            return of(result)
    return None


def of(result: DrillResult) -> Expected:
    begins: dict[str, float] = {}
    for phase in result.phases:
        if phase.name in HEARD:
            begins.setdefault(phase.name, phase.start_s)
    return Expected(begins, result.duration_s)
