"""What a run leaves in memory; a drill and a task read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from inventories.errors import ExitCode
from runbooks.engine.outcome import Outcome, StepOutcome

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True)
class Phase:
    """A stretch of a run, in seconds: the gate, or a step."""

    name: str
    seconds: float


@dataclass(frozen=True)
class StepResult:
    """How one step ended. `started` is on the context's monotonic clock; error and hint tell a failure."""

    name: str
    outcome: StepOutcome
    started: float
    seconds: float
    says: str
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class RunResult(Generic[S]):
    """How a run ended, with the steps done in earlier attempts of a resumed run among `steps`."""

    outcome: Outcome
    exit_code: ExitCode
    steps: tuple[StepResult, ...]
    state: S
    phases: tuple[Phase, ...]
    run_dir: Path
    started: float  # monotonic, when this attempt began
    seconds: float
    error: str = ""
    hint: str = ""

    def render(self) -> str:
        """The sentence that says how it ended and, on a last line of its own, the hint."""
        sentence = self.error or f"{self.outcome}: {len(self.steps)} steps in {self.seconds:.1f} s"
        return f"{sentence}\nHINT: {self.hint}" if self.hint else sentence
