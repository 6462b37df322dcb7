"""What a scenario works with: the estate, the lab's levers, the running feed and its ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from drills.measure import Mark
from lab import faults
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate, Host
from runbooks.run import execute

S = TypeVar("S", bound=BaseModel)


@dataclass
class Stage:
    """One drill in progress. `marks` are moments on the monotonic clock, in order."""

    lab: str
    estate: Estate
    primary: Host  # when the drill began
    standby: Host
    gateway: str  # the operator's address as the hosts see it
    run_dir: Path
    say: Callable[[str], None]
    marks: list[Mark] = field(default_factory=list)
    results: list[tuple[str, RunResult[Any]]] = field(default_factory=list)
    failover_started: float | None = None

    def mark(self, name: str) -> float:
        """A phase begins now."""
        now = time.monotonic()
        self.marks.append(Mark(name, now))
        return now

    def run(self, procedure: Procedure[S], options: Options, estate: Estate | None = None) -> RunResult[S]:
        """Run a runbook exactly as an operator would, its evidence below this drill's folder."""
        if self.failover_started is None:
            self.failover_started = time.monotonic()
        result = execute(procedure, estate or self.estate, options, self.say, runs=self.run_dir / "runbooks")
        self.results.append((procedure.name, result))
        self._mark_steps(result)
        return result

    def _mark_steps(self, result: RunResult[Any]) -> None:
        gate = next((phase for phase in result.phases if phase.name == "gate"), None)
        if gate:
            self.marks.append(Mark("gate", result.started))
        self.marks.extend(Mark(step.name, step.started) for step in result.steps)
        self.marks.append(Mark("feed runs on", time.monotonic()))

    def in_order(self) -> list[Mark]:
        """The marks by time: a procedure's steps are known only when it has ended."""
        return sorted(self.marks, key=lambda mark: mark.at)

    def power_off(self, host: Host) -> None:
        faults.power_off(self.lab, host.name)

    def power_on(self, host: Host) -> None:
        faults.power_on(self.lab, host.name)

    def crash(self, host: Host, pid_file: str) -> None:
        faults.kill_process(self.lab, host.name, pid_file)

    def isolate(self, host: Host, *addresses: str) -> None:
        faults.isolate(self.lab, host.name, addresses)

    def heal(self, host: Host) -> None:
        faults.heal(self.lab, host.name)

