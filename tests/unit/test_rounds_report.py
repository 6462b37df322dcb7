"""The page of rounds: verdict first, worst round first, nothing fetched, everything escaped."""

from __future__ import annotations

import re

import pytest

from drills.rounds.report import headline, render, trend, trend_chart
from drills.rounds.result import RoundsResult, judge
from tests.unit.rounds_kit import begun, failed, interrupted, looked, one_round, passed, witnessed
from tests.unit.test_report import Balance


@pytest.mark.parametrize("result", [passed(), passed(1), passed(50), failed(), interrupted(), begun()])
def test_every_outcome_has_a_page_with_its_reasons(result: RoundsResult) -> None:
    page = render(result)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert page.index(result.outcome.value.capitalize() + "</div>") < page.index("<h2>")
    assert all(reason in page for reason in result.reasons if len(result.reasons) > 1)
    assert not re.search(r"https?:|@import|url\(|src=|<link|<script", page)
    assert "nan" not in page


def test_a_round_of_which_no_seconds_are_promised_is_not_nearest_to_its_promise() -> None:
    plain, killed = one_round(1), one_round(2, killed=True, promised_s=None)
    seen = {"last_check": looked(), "witnessed": witnessed()}
    both = judge(begun(2).with_round(plain).with_round(killed).model_copy(update=seen))
    assert "nearest to its promise was round 1," in headline(both)
    alone = judge(begun(1).with_round(killed).model_copy(update=seen))
    assert "nearest" not in headline(alone) and headline(alone).endswith("at worst.")


def test_the_verdict_is_one_sentence() -> None:
    assert headline(passed()).startswith("12 rounds on one estate: 1,458,000 rows acknowledged, none lost, none dupl")
    assert headline(passed(1)).startswith("1 round on one estate")
    assert headline(failed()).endswith("2 more reasons below.")


def test_the_worst_round_comes_first_and_those_that_failed_before_all() -> None:
    assert [one.nr for one in failed().worst_first()][:2] == [5, 7]
    used = [one.used for one in passed().worst_first()]
    assert used == sorted(used, key=lambda value: -(value or 0))
    unmeasured = passed().with_round(one_round(13, rto_s=None))
    assert unmeasured.worst_first()[0].nr == 13


def test_a_machine_that_stood_still_has_a_colour_of_its_own() -> None:
    chart = trend_chart(failed())
    assert chart is not None
    assert [dot.kind for dot in chart.dots if dot.kind != "kept"] == ["still", "failed"]
    assert len(chart.dots) == 12
    assert [dot.kind for dot in chart.dots if dot.y < chart.promised] == ["still", "failed"], "above the line is beyond"
    assert "1 of them on a machine that stood still" in render(failed())


def test_a_rewind_that_became_a_reclone_is_seen() -> None:
    odd = one_round(2, rejoin="rewind", rejoined="pg1, by re-clone from the repository")
    assert odd.otherwise
    assert "re-clone, not rewind" in render(begun().with_round(odd))
    assert "re-clone, not rewind" not in render(passed())


def test_the_trend_is_a_sentence() -> None:
    assert trend(passed(3)) == "Too few rounds were measured to speak of a trend."
    slower = begun(9)
    for nr in range(1, 10):
        slower = slower.with_round(one_round(nr, "primary-crash", rto_s=1.0 + nr / 10))
    assert "more time than those of the first" in trend(slower)
    assert trend_chart(begun()) is None


def test_what_others_wrote_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    result = begun().model_copy(update={"lab": evil, "pool": (evil,), "stopped": evil, "versions": {evil: evil}})
    assert "<script" not in render(result.with_round(one_round(1, evil, rejoin=evil)))
