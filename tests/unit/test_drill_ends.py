"""A drill that is ended from outside: the fault is undone and the evidence written, whatever came and how often."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drills import run
from drills.course import Course, Plan
from drills.evidence import results
from drills.evidence.checking import check
from drills.evidence.files import files
from drills.judging.result import DrillResult, Outcome, read_result
from drills.scenarios.catalogue import SCENARIOS

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Machine:
    """A drill without hosts, which gets signals while it runs, while it cleans up, and while it writes."""

    in_course: tuple[signal.Signals, ...] = ()
    in_clean_up: tuple[signal.Signals, ...] = ()
    in_evidence: tuple[signal.Signals, ...] = ()
    cleaned: bool = False
    said: list[str] = field(default_factory=list)

    def go(self, course: Course) -> None:
        self._get(self.in_course)
        course.result = course.result.model_copy(update={"outcome": Outcome.PASSED})

    def clean_up(self, stage: Any) -> None:
        stage.say("cleaning up")
        self.cleaned = True
        self._get(self.in_clean_up)

    def surroundings(self, result: DrillResult, *_: object) -> DrillResult:
        self._get(self.in_evidence)
        return result

    @staticmethod
    def _get(signals: tuple[signal.Signals, ...]) -> None:
        for one in signals:
            os.kill(os.getpid(), one)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    made = Machine()
    monkeypatch.setenv("DR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("drills.run.hosts.load", lambda _: SimpleNamespace(least=1, candidates=("pg1", "pg2")))
    monkeypatch.setattr(run, "gate", lambda *_: (SimpleNamespace(name="pg1"), SimpleNamespace(name="pg2")))
    monkeypatch.setattr(run, "new_run_dir", lambda *_: tmp_path)
    monkeypatch.setattr("drills.run.lab_state.load", lambda _: SimpleNamespace(gateway="192.0.2.1"))
    monkeypatch.setattr("drills.run.gather.objectives", lambda _: {})
    monkeypatch.setattr(Course, "go", lambda course: made.go(course))
    monkeypatch.setattr(run, "clean_up", made.clean_up)
    monkeypatch.setattr(run, "_with_surroundings", made.surroundings)
    # One that a drill does not hear must not end the tests.
    before = {one: signal.signal(one, signal.default_int_handler) for one in ENDS}
    yield made
    for one, handler in before.items():
        signal.signal(one, handler)


def drilled(machine: Machine) -> DrillResult:
    return run.drill(SCENARIOS["primary-crash"], "lab", machine.said.append, Plan())[0]


@pytest.mark.parametrize("one", ENDS)
def test_whatever_ends_a_drill_between_its_runbooks_undoes_the_fault_and_leaves_a_report(
    machine: Machine, tmp_path: Path, one: signal.Signals
) -> None:
    heard: list[str] = []
    machine.in_course = (one,)
    signal.signal(one, lambda number, _: heard.append(signal.Signals(number).name))
    assert drilled(machine).outcome is Outcome.INTERRUPTED
    assert machine.cleaned
    assert (tmp_path / "report.html").exists()
    assert heard == [], "it was the drill's to hear"


def test_who_interrupts_three_times_has_a_report_all_the_same(machine: Machine, tmp_path: Path) -> None:
    machine.in_course = machine.in_clean_up = machine.in_evidence = (signal.SIGINT,)
    result = drilled(machine)
    assert result.outcome is Outcome.INTERRUPTED
    assert [line for line in machine.said if "the clean-up was interrupted" in line]
    assert read_result(tmp_path / "result.json").outcome is Outcome.INTERRUPTED


def test_an_interrupt_while_evidence_is_written_ends_what_called_the_drill(machine: Machine, tmp_path: Path) -> None:
    machine.in_evidence = (signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        drilled(machine)
    assert read_result(tmp_path / "result.json").outcome is Outcome.PASSED


def test_a_terminal_that_is_closed_loses_no_report(machine: Machine, tmp_path: Path) -> None:
    def closed(_: str) -> None:
        raise OSError(5, "Input/output error")

    machine.in_course = (signal.SIGHUP,)
    result, _ = run.drill(SCENARIOS["primary-crash"], "lab", closed, Plan())
    assert result.outcome is Outcome.INTERRUPTED and machine.cleaned
    assert (tmp_path / "report.html").exists()


def recorded() -> list[results.Told]:
    checked = check(files())
    assert not checked.troubles
    return [told for record in checked.records if (told := results.read(record))]


def test_every_drill_is_in_the_history_however_it_ended(machine: Machine) -> None:
    drilled(machine)
    machine.in_course = (signal.SIGTERM,)
    drilled(machine)
    passed, interrupted = recorded()
    assert (passed.promise, passed.scenario, passed.place) == ("primary-crash", "primary-crash", "lab")
    assert (passed.estate, passed.acted, passed.passed) == ("lab-lab", "operator", True)
    assert files().basis(passed.basis).exists()
    assert interrupted.outcome is Outcome.INTERRUPTED


def test_a_result_that_is_edited_after_the_drill_is_found(machine: Machine, tmp_path: Path) -> None:
    drilled(machine)
    assert check(files(), results=True).sound
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace('"lost": null', '"lost": 0'))
    found = check(files(), results=True).troubles
    assert found == (f"{tmp_path.name}/result.json was edited since record 1 was written",)


def test_a_drill_that_cannot_be_recorded_says_so_and_is_judged_all_the_same(machine: Machine, tmp_path: Path) -> None:
    drilled(machine)
    files().key.chmod(0o644)
    assert drilled(machine).outcome is Outcome.PASSED
    (said,) = [line for line in machine.said if line.startswith("WARNING")]
    assert said.startswith("WARNING: this is not in the history, and proves nothing to ./dr drills.due: ")
    assert read_result(tmp_path / "result.json").outcome is Outcome.PASSED
