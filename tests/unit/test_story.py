"""The demonstration's story: the drill's own sentences in plain words, and no number but the result's."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from doors.demo import Page
from drills.judging.result import Outcome
from drills.page import story
from drills.scenarios.catalogue import SCENARIOS
from runbooks.procedures.postgresql.failover import FAILOVER
from runbooks.procedures.postgresql.rejoin import REJOIN
from tests.unit import sample_drill
from tests.unit.engine_kit import Bench, World, procedure
from tests.unit.test_engine_runner import go

CAST = story.Cast("app1", "pg1", "pg2", "backup1")


def test_every_step_that_the_story_tells_is_one_of_its_runbooks() -> None:
    there = {step.name for runbook in (FAILOVER, REJOIN) for step in runbook.steps}
    assert set(story.STEPS) <= there
    assert {"fence", "promote", "write-path", "drain-outbox", "synchronous"} <= set(story.STEPS)
    assert story.SCENARIO in SCENARIOS


def test_what_the_runbook_engine_says_is_told_when_it_happened(tmp_path: Path) -> None:
    bench = Bench(World(tmp_path / "world"), tmp_path)
    go(bench, procedure())
    told = [words for sentence in bench.heard if (words := story.tell(sentence, CAST))]
    assert [words.split(":")[0] for words in told] == ["pg1 is fenced", "Proven", "pg2 is promoted"]


def test_a_step_that_was_skipped_is_not_told_as_done() -> None:
    assert story.tell("drain-outbox: skipped: only when there is one (0.0 s)", CAST) == ""


def test_the_course_of_a_drill_is_told_from_the_plug_to_the_proof() -> None:
    assert story.is_fault(f"fault: {SCENARIOS[story.SCENARIO].summary}")
    assert story.tell("fault: The primary's host loses power.", CAST) == "The plug is pulled: pg1 is off."
    assert "outbox" in story.tell("detected: rows go to the outbox: no answer; recovery begins", CAST)
    assert "197,400 acknowledged rows" in story.tell("comparing 197,400 acknowledged rows with the tables", CAST)
    assert story.tell("WARNING: the estate is not whole: x", CAST) == "WARNING: the estate is not whole: x"
    assert story.tell("cleaning up", CAST) == ""


def test_the_ending_has_the_numbers_of_the_result() -> None:
    result, _ = sample_drill.power_loss()
    text = " ".join(story.ending(result, CAST))
    assert text.startswith(f"PASSED. {result.acked:,} rows were acknowledged, {result.acked_by_outbox:,} of them")
    assert "Rows lost: 0. Rows written twice: 0." in text
    assert f"{result.rto_s:.2f} s after its last one" in text
    other = result.model_copy(update={"lost": 7, "duplicated": 2, "rto_s": 3.21})
    assert "Rows lost: 7. Rows written twice: 2." in " ".join(story.ending(other, CAST))
    assert "3.21 s" in " ".join(story.ending(other, CAST))


@pytest.mark.parametrize("result", [sample_drill.failed()[0], sample_drill.refused(), sample_drill.interrupted()])
def test_a_demonstration_that_did_not_pass_says_so_first_and_why(result: sample_drill.DrillResult) -> None:
    assert result.outcome is not Outcome.PASSED
    (sentence,) = story.ending(result, CAST)
    assert sentence.startswith(f"{result.outcome.value.upper()}. {result.reasons[0]}")


def test_a_promise_that_was_missed_or_not_measured_is_not_called_kept() -> None:
    result, _ = sample_drill.power_loss()
    heading, *rows = story.promises(result)
    assert heading == ("promised", "measured", "what")
    assert {kept.rsplit(", ")[-1] for _, kept, _ in rows} == {"kept"}
    slow = result.model_copy(update={"rto_s": 9.5, "max_ack_gap_s": None})
    by_label = {label: measured for _, measured, label in story.promises(slow)}
    assert by_label["Longest pause of the store (RTO)"] == "9.50 s, MISSED"
    assert by_label["Longest wait for any acknowledgement"] == "not measured"


def test_nothing_but_a_path_is_wider_than_a_terminal_of_eighty_columns() -> None:
    screen = io.StringIO()
    page = Page(Console(file=screen, width=80))
    result, _ = sample_drill.power_loss()
    for paragraph in (*story.opening(CAST, 6000.0), *story.ending(result, CAST)):
        page.line(paragraph)
    for step in story.STEPS:
        page.event(story.tell(f"1/9 {step}: x", CAST) or story.tell(f"{step}: x (0.1 s)", CAST))
    page.columns(story.promises(result))
    page.columns(story.NEXT)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 30
    assert any(line.split() == ["promised", "measured", "what"] for line in lines)
    assert [line for line in lines if len(line) > 80] == []
    path = "/" + "long/" * 30
    page.line(f"The page:\n{path}")
    assert path in screen.getvalue().splitlines()


def test_a_terminal_that_knows_no_width_ends_no_drill() -> None:
    screen = io.StringIO()
    page = Page(Console(file=screen, width=0))
    with page.narrator(CAST) as narrate:
        narrate("a sentence that is longer than the terminal is wide, as most of what a drill says is")
        page.event("so is this one")
    page.columns(story.NEXT)
    assert "so is this one" in screen.getvalue()
