"""How busy the machine was: shares of a window, limits, and unknown, which is never zero."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drills.judging.result import DrillResult, Objectives, Outcome
from drills.judging.verdict import judge
from drills.measuring.pressure import FIGURES, Pressure, Reading, between, known, read, stood_still, watched
from drills.page.report import render
from tests.unit.sample_drill import events_of, power_loss

QUIET = Pressure(2.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.01)
BUSY = replace(QUIET, cpu_some=0.93)


def proc(folder: Path, cpu: int, io: tuple[int, int], steal: int = 0, idle: int = 0) -> Path:
    (folder / "pressure").mkdir(exist_ok=True)
    line = "{} avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
    (folder / "pressure" / "cpu").write_text(line.format("some", cpu) + line.format("full", 0))
    (folder / "pressure" / "io").write_text(line.format("some", io[0]) + line.format("full", io[1]))
    (folder / "stat").write_text(f"cpu  100 0 100 {idle} 0 0 0 {steal} 7 7\ncpu0 1 2 3\n")
    return folder


def test_shares_are_differences_over_the_window(tmp_path: Path) -> None:
    first = read(proc(tmp_path, 1_000_000, (500_000, 0)), at=10.0)
    last = read(proc(tmp_path, 2_500_000, (700_000, 100_000), steal=10, idle=390), at=12.0)
    found = between((first, last), 10.5, 11.5)
    assert found == Pressure(2.0, 0.75, 0.1, 0.05, None, None, 10 / 400, 1.9)


def test_a_window_takes_the_readings_around_it() -> None:
    readings = [Reading(at, {"cpu some": int(at * 1e5)}, None) for at in (0.0, 0.1, 0.2, 0.3, 0.4)]
    found = between(readings, 0.15, 0.25)
    assert found is not None
    assert (found.seconds, found.cpu_some, found.io_some, found.steal, found.late_s) == (0.2, 0.1, None, None, 0.0)


@pytest.mark.parametrize(("start", "end"), [(5.0, 5.0), (6.0, 5.0), (9.0, 12.0), (-3.0, -1.0)])
def test_a_window_in_which_nothing_was_read_is_unknown(start: float, end: float) -> None:
    assert between([Reading(at, {}, None) for at in (0.0, 1.0)], start, end) is None
    assert between([], start, end) is None


def test_a_kernel_that_keeps_no_pressure_is_unknown_and_never_zero(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2\n")
    found = between((read(tmp_path, at=1.0), read(tmp_path, at=1.1)), 1.0, 1.1)
    assert found is not None
    assert {figure.of(found) for figure in FIGURES if figure.key != "late_s"} == {None}
    assert {figure.text(figure.of(None)) for figure in FIGURES} == {"unknown"}
    assert stood_still(None) == ""
    assert not known(None)
    assert known(found), "how late a thread woke up is known without the kernel's help"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"cpu_some": 0.60}, ""),
        ({"cpu_some": 0.61}, "tasks waited for a processor 61 % of the time"),
        ({"io_some": 1.0, "memory_some": 1.0}, ""),
        ({"io_full": 0.4, "steal": 0.2}, "everything waited for disks 40 % of the time, the hypervisor took 20 %"),
        ({"memory_full": 0.2}, "everything waited for memory 20 % of the time"),
        ({"late_s": 1.5}, "a thread that only sleeps woke up 1.50 s late"),
    ],
)
def test_what_is_beyond_its_limit_is_said_in_words(changes: dict[str, float], says: str) -> None:
    assert stood_still(replace(QUIET, **changes)).startswith(says)  # type: ignore[arg-type]
    assert bool(stood_still(replace(QUIET, **changes))) is bool(says)  # type: ignore[arg-type]


def test_this_machine_can_be_read() -> None:
    with watched() as watch:
        pass
    assert len(watch.readings) >= 2
    assert watch.readings[0].ticks is not None


def slow(pressure: Pressure | None) -> DrillResult:
    strict = Objectives(rto_s=1, rpo_rows=0)
    return judge(power_loss()[0].model_copy(update={"objectives": strict, "pressure": pressure}))


def test_an_objective_missed_on_a_machine_that_stood_still_is_missed_and_says_so() -> None:
    still = "Longest pause of the store (RTO) was 2.44 s; promised was at most 1 s, on a machine that stood still: "
    assert slow(BUSY).outcome is Outcome.FAILED
    assert slow(BUSY).reasons == (f"{still}tasks waited for a processor 93 % of the time.",)
    for pressure in (QUIET, None):
        assert slow(pressure).outcome is Outcome.FAILED
        assert slow(pressure).reasons == ("Longest pause of the store (RTO) was 2.44 s; promised was at most 1 s.",)


def test_a_machine_that_stands_still_excuses_no_lost_row() -> None:
    lost = {"rpo_rows": 3, "pressure": BUSY, "objectives": Objectives(rpo_rows=0)}
    judged = judge(power_loss()[0].model_copy(update=lost))
    assert judged.reasons == ("Acknowledged rows lost (RPO) was 3 rows; promised was at most 0 rows.",)


def test_the_page_shows_the_figures_and_says_unknown_where_there_are_none() -> None:
    result, lines = power_loss()
    page = render(result.model_copy(update={"pressure": QUIET, "pressure_before": QUIET}), events_of(lines))
    assert "It did not stand still" in page and "30 %" in page
    assert "Busy beyond its limits" in render(result.model_copy(update={"pressure": BUSY}), events_of(lines))
    assert "It stood still" in render(slow(BUSY), events_of(lines))
    unknown = render(result.model_copy(update={"pressure": None, "pressure_before": None}), events_of(lines))
    assert "nothing of it could be read" in unknown
    half = render(result.model_copy(update={"pressure": replace(QUIET, cpu_some=None)}), events_of(lines))
    assert half.count("unknown") >= 2, "one figure unknown, and all of those before the fault"
