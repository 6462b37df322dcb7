"""Steps and procedures are checked when made; plan and paper come from them and touch nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, DrError, ExitCode, Interrupted, Refused
from runbooks.engine.outcome import Outcome, exit_code_of, outcome_of
from runbooks.engine.paper import render
from runbooks.engine.plan import plan_rows
from runbooks.engine.procedure import replace_step
from runbooks.engine.rundir import new_run_dir, runs_dir
from runbooks.engine.step import Evidence, Grows
from tests.unit.engine_kit import BUDGETS, NAMES, acts, procedure, step


def test_a_procedure_without_steps_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no steps"):
        procedure(steps=())


def test_two_steps_of_one_name_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="more than one step named fence"):
        procedure(step("fence"), step("fence"))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Fence it"},
        {"says": " "},
        {"role": ""},
        {"budget": ""},
        {"undo": lambda _context, _state: None},
        {"undo_says": "Start it again."},
        {"when": lambda _context, _state: True},
    ],
)
def test_a_step_that_lacks_a_part_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="step"):
        step(**{"name": "fence", **changes})


def test_evidence_must_say_something() -> None:
    with pytest.raises(ValueError, match="evidence"):
        Evidence("")


def test_a_negative_twin_differs_in_one_step_only() -> None:
    original = procedure()
    twin = replace_step(original, "fence", action=acts("leak"))
    assert twin.steps[1].action is not original.steps[1].action
    assert (twin.steps[0], twin.steps[2]) == (original.steps[0], original.steps[2])


def test_a_twin_of_an_unknown_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="no step 'fense'"):
        replace_step(procedure(), "fense", action=acts("leak"))


def test_a_plan_shows_every_step_and_touches_nothing() -> None:
    def explodes(*_args: object) -> Any:
        raise AssertionError("a plan must not act")

    touchy = step(
        "fence", action=explodes, evidence=Evidence("writes fail", explodes), destructive=True,
        undo=explodes, undo_says="Start it.", when=explodes, when_says="it answers",
    )  # fmt: skip
    rows = plan_rows(procedure(touchy, step("promote")), {"pg_primary": "pg1"}, BUDGETS)
    assert [(row.nr, row.step, row.where, row.deadline) for row in rows] == [
        (1, "fence", "pg1 (pg_primary)", 5),
        (2, "promote", "pg1 (pg_primary)", 5),
    ]
    assert rows[0].destructive
    assert (rows[0].undo, rows[0].only_when, rows[0].evidence) == ("Start it.", "it answers", "writes fail")


def test_the_paper_runbook_holds_what_a_human_needs() -> None:
    page = render(procedure(step("assess"), step("fence", destructive=True)), BUDGETS)
    for expected in (
        "# toy-failover: Move the toy",
        "- [ ] **open-world**: The world is open.",
        "### 2. fence (on pg_primary)",
        "**Destructive",
        "```sh\ndo-it fence\n```",
        "- Expect: the world says fence",
        "- Within: 5 s",
        "--resume",
    ):
        assert expected in page
    assert page.count("### ") == 2


def test_a_step_that_grows_says_so_on_paper_and_in_the_plan() -> None:
    grown = procedure(step("restore", grows=Grows.RESTORE))
    budgets = {**BUDGETS, "work.silent": 300.0}
    page = render(grown, budgets)
    assert "- Within: 5 s, and longer while something moves, as it grows with the bytes of the backup; give up" in page
    assert plan_rows(grown, budgets=budgets)[0].grows is Grows.RESTORE
    assert plan_rows(procedure(step("fence")), budgets=budgets)[0].grows is None


def test_outcomes_and_exit_codes_map_both_ways() -> None:
    assert [outcome.exit_code for outcome in Outcome] == [0, 1, 3, 4]
    assert [outcome_of(outcome.exit_code) for outcome in Outcome] == list(Outcome)
    assert outcome_of(ExitCode.BAD_INPUT) is Outcome.FAILED


@pytest.mark.parametrize(
    ("error", "code"),
    [(BadInput("x"), 2), (Refused("x"), 3), (Interrupted("x"), 4), (KeyboardInterrupt(), 4), (OSError(), 1)],
)
def test_an_exception_ends_in_the_exit_code_of_its_family(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_renders_its_hint_last() -> None:
    assert DrError("a is wrong", "make it b").render() == "a is wrong\nHINT: make it b"
    assert DrError("a is wrong").render() == str(DrError("a is wrong")) == "a is wrong"


def test_runs_started_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    assert len({new_run_dir("failover", tmp_path) for _ in range(5)}) == 5


def test_the_folder_of_runs_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_RUNS", str(tmp_path))
    assert runs_dir() == tmp_path


def test_a_folder_of_runs_that_cannot_be_made_is_bad_input() -> None:
    with pytest.raises(BadInput, match="cannot make a run folder"):
        new_run_dir("failover", Path(os.devnull) / "runs")


def test_the_kit_has_the_steps_that_the_tests_count_on() -> None:
    assert procedure().step_names == NAMES
