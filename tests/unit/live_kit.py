"""A drill that seems to run, by what it leaves behind: this process is the one that drills."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.judging.result import DrillResult, Outcome, write_result
from drills.live.course import Writer
from drills.measuring.measure import Mark, phases
from tests.unit.sample_drill import power_loss, power_loss_ledger

SCENARIO = "primary-power-loss"
RUN = "20261129T031500Z-drill-primary-power-loss"


def past(runs: Path, name: str = "20261128T120000Z-drill-primary-power-loss", **changes: object) -> DrillResult:
    """One that passed: the fault 10 s after its beginning, noticed 2 s later, over after a minute."""
    begins = (0.0, 10.0, 12.0, 12.5, 20.0, 25.0, 40.0)
    names = ("normal", "fault", "detected", "fence", "drain", "compare", "restore")
    marks = [Mark(name, seconds) for name, seconds in zip(names, begins, strict=True)]
    told = {"duration_s": 60.0, "phases": phases(marks, 60.0), "negative_twin": None, **changes}
    result = power_loss()[0].model_copy(update=told)
    (runs / name).mkdir(parents=True)
    write_result(result, runs / name)
    return result


@dataclass
class Running:
    """`writer` is what the drill says of itself; `rows` is how much of a real feed's ledger it has heard."""

    folder: Path
    writer: Writer

    def rows(self, lines: Sequence[str]) -> None:
        with (self.folder / "ledger.jsonl").open("a") as file:
            file.write("".join(line + "\n" for line in lines))

    def said(self) -> None:
        """All that was said so far is on disk."""
        wanted = len(self.writer.marks)
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            path = self.folder / "course.jsonl"
            if path.exists() and path.read_text().count('"mark"') >= wanted:
                return
            time.sleep(0.01)
        raise AssertionError("what was said is not on disk")

    def end(self, outcome: Outcome = Outcome.PASSED) -> None:
        told = {"outcome": outcome, "reasons": (), "negative_twin": None}
        write_result(power_loss()[0].model_copy(update=told), self.folder)
        self.writer.close()


def running(runs: Path, name: str = RUN) -> Running:
    """In its first phase, with its header on disk."""
    folder = runs / name
    folder.mkdir(parents=True)
    made = Running(folder, Writer(folder, SCENARIO, "the primary's host loses power"))
    made.writer.mark("normal", time.monotonic())
    made.said()
    return made


def ledger() -> tuple[list[str], list[str]]:
    """Of a feed: what was acknowledged by the store alone, then on, with rows in the outbox that wait."""
    lines = power_loss_ledger()
    first = next(nr for nr, line in enumerate(lines) if '"outbox"' in line)
    return lines[:first], lines[first : first + 4]
