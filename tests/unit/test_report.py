from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from drills.judging.result import DrillResult, Outcome, StoreResult
from drills.measuring.events import Event
from drills.measuring.measure import Moments, Phase, measure
from drills.measuring.tally import tally
from drills.page.charts import close_view, overview, phase_chart
from drills.page.report import headline, render, seconds, write_report
from drills.page.shapes import Scale, ceiling, markers, rate_ticks, stepped_area, tick_step, time_ticks
from tests.unit.sample_drill import (
    CLOCK,
    FAULT,
    begun,
    events_of,
    failed,
    interrupted,
    lost_with_hosts,
    power_loss,
    power_loss_ledger,
    refused,
    restored,
    standby,
)

Drill = tuple[DrillResult, tuple[Event, ...]]


class Balance(HTMLParser):
    """Every tag that opens is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass


@pytest.fixture(scope="module")
def passed() -> Drill:
    result, lines = power_loss()
    return result, events_of(lines)


def test_the_verdict_is_one_sentence(passed: Drill) -> None:
    rows, _, writing = headline(passed[0]).partition("; ")
    assert rows == "330,500 rows acknowledged, none lost, none duplicated"
    assert writing == "writing resumed on the new primary after 2.44 s."
    assert headline(standby()[0]).endswith("the store never paused for longer than 0.76 s.")
    assert headline(failed()[0]).startswith("1 of 165,251 acknowledged rows is lost in order_records")
    assert headline(failed()[0]).endswith("3 more reasons below.")
    reasons = ("rejoin was interrupted (SIGTERM)", "The drill was interrupted.")
    ended = interrupted().model_copy(update={"reasons": reasons})
    assert headline(ended) == "rejoin was interrupted (SIGTERM). 1 more reason below."


def test_what_a_restore_took_back_and_what_went_with_the_hosts_is_said_in_the_first_sentence() -> None:
    result, lines = restored()
    assert (result.outcome, result.reasons, result.lost, result.returned) == (Outcome.PASSED, (), 0, 0)
    assert result.rolled_back
    assert f"{result.rolled_back:,} acknowledged after the restore's target were rolled back" in headline(result)
    page = render(result, events_of(lines))
    assert "to just before transaction 91,204" in page and "rolled back" in page
    result, lines = lost_with_hosts()
    assert (result.outcome, result.reasons, result.lost) == (Outcome.PASSED, (), 0)
    assert f"{result.excused:,} of the last 1.98 s before the fault went with the hosts" in headline(result)
    assert "lost as promised" in render(result, events_of(lines))


@pytest.mark.parametrize("make", [lambda: power_loss()[0], lambda: failed()[0], refused, interrupted, begun])
def test_every_outcome_has_a_page_with_its_reason_first(make: object) -> None:
    result: DrillResult = make()  # type: ignore[operator]
    page = render(result, events_of(power_loss_ledger()))
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert page.index(result.outcome.value.capitalize() + "</div>") < page.index("<h2>")
    for reason in result.reasons:
        assert reason in page


def test_what_others_wrote_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    result = refused().model_copy(
        update={"reasons": (evil, evil), "hint": evil, "degraded": (evil,), "lab": evil, "scenario": evil}
    )
    page = render(result.model_copy(update={"versions": {evil: evil}}))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_nothing_is_fetched_from_anywhere(passed: Drill) -> None:
    page = render(*passed)
    assert not re.search(r"https?:|@import|url\(|src=|<link|<script", page)
    assert {"Whole drill", "Around the fault", "Phases"} <= set(re.findall(r"<h[23]>([^<]*)", page))


def test_links_lead_only_to_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "result.json").touch()
    (tmp_path / "logs").mkdir()
    page = write_report(refused(), tmp_path).read_text()
    assert re.findall(r'href="([^"]*)"', page) == ["result.json", "logs"]


def test_no_coordinate_is_broken_or_off_the_drawing(passed: Drill) -> None:
    for chart in (overview(*passed), close_view(*passed)):
        assert chart is not None
        marks = [marker.kind for marker in chart.markers]
        assert marks == ["fault", "failover", "resumed"]
        numbers = [float(x) for x in re.findall(r"-?\d+\.?\d*", chart.store + chart.outbox)]
        assert min(numbers) >= 0 and max(numbers) <= 1000
        assert chart.store and chart.outbox
        assert chart.silence and chart.silence.label == "2.44 s"
    assert "nan" not in render(*passed)


def test_the_close_view_holds_the_fault_and_the_resumption(
    passed: Drill,
) -> None:
    chart = close_view(*passed)
    assert chart and [lane.kind for lane in chart.lanes] == ["store", "outbox", "replayed"]
    assert all(lane.xs for lane in chart.lanes)
    assert "0 s" in [tick.label for tick in chart.ticks]


def test_a_store_that_never_came_back_is_still_drawn() -> None:
    lines = power_loss_ledger()
    events = tuple(event for event in events_of(lines) if event.at < CLOCK + FAULT + 2)
    moments = Moments(CLOCK, CLOCK + FAULT, stop_asked=CLOCK + FAULT + 2)
    result = begun().with_feed(tally(events).view).with_measured(measure(events, moments))
    assert "The store acknowledged nothing after the fault: writing never resumed." in result.reasons
    assert "Around the fault" in render(result.model_copy(update={"outcome": Outcome.FAILED}), events)


def test_phases_of_the_recovery_get_the_width(passed: Drill) -> None:
    chart = phase_chart(passed[0])
    assert chart is not None
    names = ["fault", "detect", "gate", "assess", "fence", "prove fence", "promote", "first write"]
    assert [bar.name for bar in chart.bars] == names
    assert [bar.kind for bar in chart.bars] == ["fault"] * 2 + ["recovery"] * 6
    assert {bar.kind for bar in chart.strip if bar.name in ("drain", "rejoin")} == {"after"}
    assert all(bar.x + bar.width <= chart.width for bar in (*chart.bars, *chart.strip))


def test_phases_without_a_fault_are_only_a_strip() -> None:
    chart = phase_chart(begun().model_copy(update={"phases": (Phase("gate", 1.0, 0.0),)}))
    assert chart and (len(chart.strip), chart.bars) == (1, ())
    assert phase_chart(begun()) is None


def test_labels_of_close_moments_take_rows_of_their_own() -> None:
    placed = markers(
        Scale(0, 10, 0, 1000),
        ((9.9, "one", "a"), (9.95, "two", "b"), (None, "c", "c"), (11, "d", "d")),
        17,
        0,
    )
    assert [marker.label for marker in placed] == ["one", "two"]
    assert placed[1].label_y - placed[0].label_y == 17
    assert {marker.anchor for marker in placed} == {"end"}


def test_ticks_are_round_and_zero_is_one_of_them() -> None:
    assert [tick.label for tick in time_ticks(Scale(-1.4, 3.1, 0, 100), 0.0, 5)] == [
        "−1 s",
        "0 s",
        "+1 s",
        "+2 s",
        "+3 s",
    ]
    assert [tick.label for tick in rate_ticks(Scale(0, 8000, 100, 0))] == [
        "0",
        "2,000",
        "4,000",
        "6,000",
        "8,000",
    ]
    assert (tick_step(7, 4), ceiling([6100, 10]), ceiling([])) == (2.0, 8000, 1.0)


def test_an_area_leaves_out_what_is_empty() -> None:
    assert stepped_area([0, 1, 2, 3], [9, 9, 9], [5, 9, 7]) == "M0 9H0V5H1V9H0ZM2 9H2V7H3V9H2Z"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0.00 s"),
        (2.4351, "2.44 s"),
        (9.996, "10.0 s"),
        (83.4, "83.4 s"),
        (125, "2 min 05 s"),
    ],
)
def test_durations_read_naturally(value: float | None, text: str) -> None:
    assert seconds(value) == text


def store(name: str, pause: float) -> StoreResult:
    return StoreResult(
        store=name, acked=100, acked_by_store=80, acked_by_outbox=20, replayed=20, rto_s=pause, lost=0, duplicated=0
    )


def test_a_page_of_two_stores_speaks_of_each(passed: Drill) -> None:
    stores = (store("PostgreSQL", 2.4), store("TDengine", 1.3))
    result = passed[0].model_copy(update={"stores": stores, "scenario": "both-stores-down"})
    assert headline(result).endswith("PostgreSQL took rows again after 2.40 s, TDengine took rows again after 1.30 s.")
    page = render(result, passed[1])
    assert "Each store by itself" in page
    assert "by a synchronously replicated commit of PostgreSQL; by TDengine, which syncs its write-ahead log" in page


def test_a_page_of_tdengine_alone_says_what_its_acknowledgement_means(passed: Drill) -> None:
    result = passed[0].model_copy(update={"stores": (store("TDengine", 1.3),), "scenario": "tdengine-crash"})
    assert "TDengine took rows again after" in headline(result)
    page = render(result, passed[1])
    assert "<h1>TDengine crash</h1>" in page
    assert "Each store by itself" not in page and "commit of PostgreSQL" not in page


def test_the_page_reads_the_ledger_of_every_store(passed: Drill, tmp_path: Path) -> None:
    lines = power_loss_ledger()
    for name in ("ledger.jsonl", "ledger-tdengine.jsonl"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    both = write_report(passed[0], tmp_path).read_text()
    (tmp_path / "ledger-tdengine.jsonl").unlink()
    assert both != write_report(passed[0], tmp_path).read_text()
    assert "every acknowledgement of TDengine" in both
