"""The runner: order, evidence, undo, refusal, consent, budgets, interruption."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, ExitCode, Refused, TargetFailed, VerificationFailed
from runbooks.engine import journal
from runbooks.engine.context import Context, Options
from runbooks.engine.history import open_run
from runbooks.engine.lock import break_local
from runbooks.engine.outcome import Outcome, StepOutcome
from runbooks.engine.plan import plan_rows
from runbooks.engine.procedure import replace_step
from runbooks.engine.result import RunResult
from runbooks.engine.runner import run
from runbooks.engine.step import Evidence
from tests.unit.engine_kit import BUDGETS, NAMES, Bench, Trail, World, acts, procedure, step


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    return Bench(World(tmp_path / "world"), tmp_path / "runs")


def go(bench: Bench, wanted: Any = None, options: Options | None = None) -> RunResult[Trail]:
    wanted = wanted or procedure()
    run_dir = open_run(wanted, "toy", runs=bench.runs)
    return run(wanted, bench.context(run_dir, options), budgets=BUDGETS)


def events(result: RunResult[Trail]) -> list[str]:
    return [record.event for record in journal.read(result.run_dir).records]


def fails(_context: Context[Any, Any], _state: Trail) -> Trail:
    raise TargetFailed("pg2 answered: no", "ask it again")


def test_a_run_passes_its_steps_in_order_and_returns_the_last_state(bench: Bench) -> None:
    result = go(bench)
    assert (result.outcome, result.exit_code) == (Outcome.PASSED, ExitCode.PASSED)
    assert bench.world.words == list(NAMES) == list(result.state.done)
    assert [phase.name for phase in result.phases] == ["gate", *NAMES]


def test_each_step_is_recorded_before_and_after(bench: Bench) -> None:
    each = ["step_started", "step_done"] * 3
    assert events(go(bench)) == ["opened", "gate_started", "gate_passed", *each, "finished"]


def test_step_started_is_on_disk_before_the_action_runs(bench: Bench) -> None:
    seen: list[str] = []

    def action(context: Context[Any, Any], state: Trail) -> Trail:
        seen.append(journal.read(context.run_dir).records[-1].event)
        return state

    assert (
        go(bench, procedure(step("look", action=action, evidence=Evidence("itself")))).outcome
        is Outcome.PASSED
    )
    assert seen == ["step_started"]


def test_a_failing_gate_touches_nothing(bench: Bench) -> None:
    bench.world = replace(bench.world, closed=True)
    result = go(bench)
    assert (result.outcome, result.exit_code) == (Outcome.REFUSED, ExitCode.REFUSED)
    assert result.render() == "the world is closed\nHINT: open it"
    assert bench.world.words == []
    assert "step_started" not in events(result)


def test_a_failing_action_stops_the_run(bench: Bench) -> None:
    result = go(bench, replace_step(procedure(), "fence", action=fails))
    assert result.outcome is Outcome.FAILED
    assert result.error == "pg2 answered: no"
    assert bench.world.words == ["assess"]
    assert [found.outcome for found in result.steps] == [StepOutcome.PASSED, StepOutcome.FAILED]


def test_evidence_that_fails_after_a_good_action_is_a_failure(bench: Bench) -> None:
    def denies(_context: Context[Any, Any], _state: Trail) -> None:
        raise VerificationFailed("a write to the old primary went through")

    result = go(bench, replace_step(procedure(), "fence", evidence=Evidence("writes fail", denies)))
    assert result.outcome is Outcome.FAILED
    assert bench.world.words == ["assess", "fence"]
    assert "went through" in result.error


def test_evidence_that_answers_instead_of_raising_is_a_failure(bench: Bench) -> None:
    told: Any = lambda _context, _state: False  # noqa: E731
    result = go(bench, replace_step(procedure(), "fence", evidence=Evidence("writes fail", told)))
    assert result.outcome is Outcome.FAILED
    assert "nothing would be checked" in result.error


def test_an_action_that_forgets_the_state_is_a_failure(bench: Bench) -> None:
    forgets: Any = lambda _context, _state: None  # noqa: E731
    assert "instead of the state" in go(bench, replace_step(procedure(), "fence", action=forgets)).error


def test_an_unexpected_exception_is_a_failure_with_its_traceback_in_the_journal(bench: Bench) -> None:
    def breaks(_context: Context[Any, Any], _state: Trail) -> Trail:
        raise KeyError("timeline")

    result = go(bench, replace_step(procedure(), "fence", action=breaks))
    failed = next(record for record in journal.read(result.run_dir).records if record.event == "step_failed")
    assert result.error == "KeyError: 'timeline'"
    assert "in breaks" in failed.data["traceback"]


def undoing(**changes: Any) -> Any:
    def undo(context: Context[Any, Any], _state: Trail) -> None:
        context.estate.add("undone")

    return procedure(step("assess"), step("fence", undo=undo, undo_says="Start it again.", **changes))


def test_only_the_failed_step_is_undone(bench: Bench) -> None:
    result = go(bench, undoing(action=fails))
    assert bench.world.words == ["assess", "undone"]
    assert events(result)[-4:] == ["step_failed", "undo_started", "undo_done", "finished"]
    assert result.error == "pg2 answered: no"


def test_a_step_that_refuses_is_not_undone(bench: Bench) -> None:
    def refuses(_context: Context[Any, Any], _state: Trail) -> Trail:
        raise Refused("3 MB would be lost", "--accept-loss")

    result = go(bench, undoing(action=refuses))
    assert result.outcome is Outcome.REFUSED
    assert "undone" not in bench.world.words


def test_a_run_whose_lock_was_broken_undoes_nothing_beside_whoever_acts_now(bench: Bench) -> None:
    """Its step failed, perhaps for what the other one did; an undo would start what that one has just stopped."""

    def broken(context: Context[Any, Any], state: Trail) -> Trail:
        assert context.owner and context.held
        assert break_local("toy", context.owner.token)
        return fails(context, state)

    result = go(bench, undoing(action=broken))
    assert bench.world.words == ["assess"]
    assert events(result)[-3:] == ["undo_started", "undo_failed", "finished"]
    assert any("the undo of fence failed: the lock of this run was broken" in line for line in bench.heard)


def test_a_failing_undo_does_not_hide_the_failure(bench: Bench) -> None:
    def undo(_context: Context[Any, Any], _state: Trail) -> None:
        raise TargetFailed("still no")

    result = go(bench, procedure(step("fence", action=fails, undo=undo, undo_says="Start it again.")))
    assert result.error == "pg2 answered: no"
    assert "undo_failed" in events(result)
    assert "the undo of fence failed: still no" in bench.heard


def test_a_destructive_step_without_consent_is_refused_before_anything_is_touched(bench: Bench) -> None:
    wanted = procedure(step("assess"), step("fence", destructive=True))
    with pytest.raises(Refused, match="fence") as refusal:
        go(bench, wanted, Options())
    assert "--yes" in refusal.value.hint
    assert bench.world.words == []
    assert list(bench.runs.iterdir()) == [], "a refused run must not leave an empty folder"


class Switched(Options):
    swap: bool = False


def test_a_step_behind_a_switch_runs_and_asks_for_consent_only_when_it_was_given(bench: Bench) -> None:
    wanted = procedure(step("assess"), step("fence", destructive=True, option="swap"))
    result = go(bench, wanted, Switched())
    assert result.outcome is Outcome.PASSED
    assert bench.world.words == ["assess"]
    assert result.steps[-1].says == "skipped: only when --swap was given"
    with pytest.raises(Refused, match="fence"):
        go(bench, wanted, Switched(swap=True))
    assert go(bench, wanted, Switched(swap=True, yes=True)).outcome is Outcome.PASSED
    assert bench.world.words == ["assess", "assess", "fence"]
    assert plan_rows(wanted, budgets=BUDGETS)[-1].only_when == "--swap was given"


def test_an_unknown_budget_is_bad_input_before_anything_is_touched(bench: Bench) -> None:
    with pytest.raises(BadInput, match="quik") as error:
        go(bench, procedure(step("assess"), step("fence", budget="quik")))
    assert "quick" in error.value.hint
    assert bench.world.words == []


def test_a_step_that_overruns_its_budget_fails_and_says_so(bench: Bench) -> None:
    result = go(bench, procedure(step("assess"), step("fence", budget="none")))
    assert result.outcome is Outcome.FAILED
    assert "over its budget none of 0 s" in result.error
    assert bench.world.words == ["assess", "fence"], "nothing is cut short"


def test_an_action_that_is_its_own_evidence_is_held_to_its_budget_too(bench: Bench) -> None:
    result = go(bench, procedure(step("fence", budget="none", evidence=Evidence("itself"))))
    assert "over its budget none" in result.error


def test_an_action_sees_what_is_left_of_its_budget(bench: Bench) -> None:
    left: list[float] = []

    def action(context: Context[Any, Any], state: Trail) -> Trail:
        left.append(context.remaining())
        return acts("look")(context, state)

    go(bench, procedure(step("look", action=action)))
    assert 4 < left[0] <= 5


def test_a_step_whose_condition_does_not_hold_is_skipped_and_journalled(bench: Bench) -> None:
    skipped = step("fence", when=lambda _context, _state: False, when_says="the old primary answers")
    result = go(bench, procedure(step("assess"), skipped, step("promote")))
    assert result.outcome is Outcome.PASSED
    assert bench.world.words == ["assess", "promote"]
    assert result.steps[1].outcome is StepOutcome.SKIPPED
    assert "step_skipped" in events(result)


@pytest.fixture
def no_signal_ignored() -> Iterator[None]:
    """A test run under nohup, or in the background, inherits signals that are ignored, and the engine respects that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("no_signal_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_the_run_so_that_it_can_be_resumed(bench: Bench, number: signal.Signals) -> None:
    def action(_context: Context[Any, Any], _state: Trail) -> Trail:
        os.kill(os.getpid(), number)
        raise AssertionError("the signal did not stop the action")

    before = signal.getsignal(number)
    result = go(bench, replace_step(procedure(), "fence", action=action))
    assert (result.outcome, result.exit_code) == (Outcome.INTERRUPTED, ExitCode.INTERRUPTED)
    assert number.name in result.error
    assert signal.getsignal(number) is before
    run_dir = open_run(procedure(), "toy", resume=True, runs=bench.runs)
    assert run_dir == result.run_dir
    assert run(procedure(), bench.context(run_dir), resume=True, budgets=BUDGETS).outcome is Outcome.PASSED


def test_a_folder_that_already_holds_a_run_is_not_written_over(bench: Bench) -> None:
    result = go(bench)
    with pytest.raises(BadInput, match="already holds a run"):
        run(procedure(), bench.context(result.run_dir), budgets=BUDGETS)


def test_a_journal_that_cannot_be_written_stops_the_run_before_the_next_action(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        if "assess" in bench.world.words:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = go(bench)
    monkeypatch.undo()
    assert result.outcome is Outcome.FAILED
    assert "No space left on device" in result.error
    assert bench.world.words == ["assess"]
    assert events(result)[-1] == "step_started", "the record that could not be made durable is taken back"
