"""What the page is made of: everybody is asked, and whoever does not answer takes nothing else away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drills.benches import page as bench_page
from drills.board import facts
from drills.board.answer import Colour, answer
from drills.judging.result import Outcome
from inventories.errors import BadInput, Unreachable
from tests.unit import board_kit as kit
from tests.unit.evidence_kit import VERSIONS, History, history, told

ESTATE: Any = SimpleNamespace(
    name="lab-lab", inventory="lab", data={}, groups={}, candidates=("pg1", "pg2"), delayed=()
)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """An estate of which everybody answers."""
    monkeypatch.setenv("DR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(facts.calendar.gather, "versions", lambda _: dict(VERSIONS))
    monkeypatch.setattr(facts.status, "look", lambda _: kit.status())
    monkeypatch.setattr(facts.planning, "answers", lambda *_: kit.plan())
    monkeypatch.setattr(facts, "backups", lambda _: iter(kit.backups()))
    return history(tmp_path)


def test_everybody_is_asked(kept: History) -> None:
    kept.add(*kit.every_drill(kept))
    found = facts.gather(ESTATE, kept.files)
    assert found.now and found.now.loss.wal_bytes == 0
    assert found.backups and found.plan and found.due.rows
    assert (found.estate, found.stale_s, found.max_gap_s) == ("lab-lab", 1800, 26 * 3600)
    assert (found.why_not_seen, found.why_no_plan, found.why_no_backups) == ("", "", "")
    assert found.records == len(found.told) > 20


@pytest.mark.parametrize(
    ("silent", "part", "why"),
    [
        (("status", "look"), "now", "why_not_seen"),
        (("planning", "answers"), "plan", "why_no_plan"),
        (("backups",), "backups", "why_no_backups"),
    ],
)
def test_who_is_away_takes_nothing_else_away(
    kept: History, monkeypatch: pytest.MonkeyPatch, silent: tuple[str, ...], part: str, why: str
) -> None:
    def away(*_: object) -> None:
        raise Unreachable("backup1 does not answer at 192.0.2.31")

    monkeypatch.setattr(".".join(("drills.board.facts", *silent)), away)
    found = facts.gather(ESTATE, kept.files)
    assert getattr(found, part) is None and getattr(found, why) == "backup1 does not answer at 192.0.2.31"
    others = {"now", "plan", "backups"} - {part}
    assert all(getattr(found, other) is not None for other in others)


def test_a_bug_is_no_silence(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(facts.status, "look", broken)
    with pytest.raises(KeyError):
        facts.gather(ESTATE, kept.files)


def test_only_drills_of_this_estate_that_passed_say_how_long_it_takes(kept: History) -> None:
    kept.add(
        told(days_ago=3, rto_s=1.0), told(days_ago=2, rto_s=2.0), told(days_ago=1, rto_s=9.0, outcome=Outcome.FAILED),
        told(rto_s=8.0, twin="leaky-fence", held=True), told(rto_s=7.0, estate="lab-other"), told(rto_s=None),
    )  # fmt: skip
    results = facts.gather(ESTATE, kept.files).told
    assert facts._rtos(results, "lab-lab") == {"primary-power-loss": [2.0, 1.0]}


def test_without_an_estate_nobody_is_asked(kept: History) -> None:
    found = facts.gather(None, kept.files)
    assert found.now is found.plan is found.backups is None
    assert answer(found).colour is Colour.BAD, "what was never drilled is bad, whoever answers"


def test_a_year_of_drills_is_fresh_and_measured(tmp_path: Path) -> None:
    year = kit.year(tmp_path, 200)
    assert not year.due.troubles and len(year.told) == 200
    promises = [row for row in year.due.rows if not row.wanted.twin]
    assert all(row.rtos for row in promises)
    assert answer(replace(year, due=replace(year.due, rows=tuple(row for row in promises if row.good)))).causes == ()


def test_the_bench_measures_every_part_and_refuses_a_history_that_is_none() -> None:
    found = bench_page.bench(120, 1, lambda _: None)
    figures = {figure.name: figure for figure in found.figures}
    assert len(figures["one drill recorded, signed and on disk"].values) == 120
    assert figures["size of the page"].met and figures["the page, all of it"].target == 1.0
    parts = ("every signature checked", "the calendar held against it", "journals of runs read", "the page drawn")
    whole = figures["the page, all of it"].median
    assert abs(sum(figures[name].median for name in parts) - whole) < 0.01
    with pytest.raises(BadInput, match="would measure nothing"):
        bench_page.bench(5, 1, lambda _: None)
