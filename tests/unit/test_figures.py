"""The gate's record and its judgement: what is worse, what may be written, what a spoilt record is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from drills.benches import bench_gate, figures
from drills.benches.bench_gate import Gate, judge_again
from drills.benches.figures import HEADLINES, Judged, Measured, Reached, Record, Verdict
from inventories.errors import BadInput
from lab.containers import Container, ContainerState
from lab.spec import LABEL_LAB

DAY = date(2026, 11, 27)


def quiet(_: str) -> None:
    """Nobody watches."""


def measured(name: str, times: float, why: str = "") -> Measured:
    return Measured(name, (2 * times, 2 * times, 99.0), (2.0, 2.0, 0.1), why)


def record(**times: float) -> Record:
    kept = {
        name: Reached(times=value, ours_s=2 * value, yardstick_s=2, day=DAY, versions="postgresql-17 17.7", machine="m")
        for name, value in times.items()
    }
    return Record(version=1, figures=kept)


def judged(times: float, against: float | None = 3.0, tolerance: float = 1 / 3, why: str = "") -> Judged:
    kept = record() if against is None else record(failover=against)
    return figures.judge([measured("failover", times, why)], kept, tolerance)[0]


def keep(before: Record, found: Sequence[Judged], reason: str = "") -> Record:
    return figures.recorded(before, found, DAY, "postgresql-17 17.7", "two cores", {"store": "40,000 rows"}, reason)


@pytest.mark.parametrize(
    ("times", "verdict"),
    [(2.9, Verdict.BETTER), (3.0, Verdict.AS_BEFORE), (3.99, Verdict.AS_BEFORE), (4.01, Verdict.WORSE)],
)
def test_worse_by_more_than_a_third_is_worse(times: float, verdict: Verdict) -> None:
    assert judged(times).verdict is verdict


def test_one_slow_run_of_either_side_moves_nothing() -> None:
    assert Measured("failover", (3.0, 3.0, 50.0), (1.0, 40.0, 1.0)).times == 3.0


def test_a_tolerance_of_half_lets_more_pass() -> None:
    assert judged(4.4, tolerance=0.5).verdict is Verdict.AS_BEFORE
    assert judged(4.6, tolerance=0.5).verdict is Verdict.WORSE


def test_what_broke_off_or_went_wrong_on_the_way_is_worse_whatever_the_record_says() -> None:
    assert judged(math.inf, against=None, why="broke off: x").verdict is Verdict.WORSE
    assert judged(0.1, why="failover ended failed: x").verdict is Verdict.WORSE


def test_the_sentence_names_the_figure_and_writes_both_numbers() -> None:
    said = judged(12.5).sentence()
    assert said.startswith("failover takes 12.50 times as long as its yardstick, the record is 3.00, the limit 4.00")
    assert "25.00 s" in said
    assert "2.00 s" in said
    assert judged(math.inf, why="broke off: no standby").sentence() == "failover broke off: no standby"
    assert judged(9, why="failover ended failed: x").sentence().endswith(", and failover ended failed: x")


def test_a_better_figure_is_recorded_and_a_worse_one_is_not() -> None:
    before = record(failover=3.0)
    assert keep(before, [judged(2.0)]).figures["failover"].times == 2.0
    assert keep(before, [judged(3.1)]) == before
    assert keep(before, [judged(30.0)]) == before


def test_a_worse_figure_is_recorded_with_its_reason_and_the_reason_stays() -> None:
    once = keep(record(failover=3.0), [judged(9.0)], "the fence is proved from three hosts now")
    (worse,) = once.figures["failover"].worse
    assert (worse.was, worse.became, worse.reason) == (3.0, 9.0, "the fence is proved from three hosts now")
    better = keep(once, [judged(2.0, against=9.0)])
    again = figures.recorded(once, figures.judge([measured("failover", 2.0)], once, 1 / 3), DAY, "v", "m", {})
    assert better.figures["failover"].times == again.figures["failover"].times == 2.0
    assert again.figures["failover"].worse == (worse,)


def test_what_went_wrong_is_never_recorded() -> None:
    assert keep(record(failover=3.0), [judged(1.0, why="failover ended failed: x")], "because") == record(failover=3.0)


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.yaml"
    kept = keep(record(failover=3.0, store=2.0), [judged(9.0)], "a reason: with a colon, 中文")
    figures.write(kept, path)
    assert figures.load(path) == kept


GOOD = """version: 1
figures:
  store: {times: 1.9, ours_s: 1.52, yardstick_s: 0.8, day: 2026-11-27, versions: v, machine: m}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("times: 1.9", "tiems: 1.9", ["figures.store.times is missing"]),
        ("machine: m", "machine: m, colour: red", ["figures.store.colour is 'red'", "nothing reads such a key"]),
        ("times: 1.9", "times: fast", ["figures.store.times is 'fast'"]),
        ("times: 1.9", "times: -2", ["figures.store.times is -2"]),
        ("times: 1.9", "times: .inf", ["figures.store.times is inf"]),
        ("times: 1.9", "times: .nan", ["figures.store.times is nan"]),
        ("times: 1.9", "times: yes", ["figures.store.times is True", "a number"]),
        ("times: 1.9", "times: '1.9'", ["figures.store.times is '1.9'", "a number"]),
        ("times: 1.9", "times: 19", ["figures.store.times is 19.0", "1.52 s of ours", "are 1.900"]),
        ("day: 2026-11-27", "day: yesterday", ["figures.store.day is 'yesterday'"]),
        ("  store:", "  stroe:", ["figures.stroe", "no figure of the gate"]),
        ("version: 1", "version: 7", ["version is 7"]),
        ("version: 1", "version: [", ["line"]),
        (GOOD, "[]", ["not a mapping"]),
        (
            "machine: m",
            "machine: m, worse: [{day: 2026-11-27, was: 1, became: 2, reason: ''}]",
            ["figures.store.worse.0.reason"],
        ),
    ],
)
def test_a_record_that_was_edited_badly_is_told_with_file_path_and_value(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    path = tmp_path / "figures.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(BadInput) as told:
        figures.load(path)
    assert not [word for word in ("figures.yaml", *words) if word not in str(told.value)], told.value
    assert told.value.hint


def test_a_record_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figures.yaml"
    path.symlink_to(tmp_path / "away" / "figures.yaml")
    with pytest.raises(BadInput, match="cannot be written, so nothing could be recorded"):
        bench_gate.read(Gate(("store",), record=True), path)
    path.unlink()
    path.write_text(GOOD)
    assert bench_gate.read(Gate(("store",), record=True), path).figures
    monkeypatch.setattr("os.access", lambda *_: False)  # as on a disk that is mounted read-only
    with pytest.raises(BadInput, match="cannot be written"):
        bench_gate.read(Gate(("store",), record=True), path)
    assert bench_gate.read(Gate(("store",)), path).figures


def test_the_record_that_is_committed_can_be_held_to() -> None:
    assert set(figures.load(bench_gate.RECORD).figures) == set(HEADLINES)


@pytest.mark.parametrize("yardstick", [0.0014, 0.0146, 0.12, 9.4784])
def test_what_was_rounded_when_it_was_written_is_no_edit(tmp_path: Path, yardstick: float) -> None:
    found = figures.judge([Measured("store", (yardstick * 14.607,), (yardstick,))], record(), 1 / 3)
    figures.write(keep(record(), found), tmp_path / "figures.yaml")
    assert figures.load(tmp_path / "figures.yaml").figures["store"].times == 14.607


def test_a_figure_without_a_record_has_nothing_to_be_held_to(tmp_path: Path) -> None:
    path = tmp_path / "figures.yaml"
    path.write_text(GOOD)
    assert bench_gate.read(Gate(("store",)), path).figures
    with pytest.raises(BadInput, match=r"figures\.failover is missing"):
        bench_gate.read(Gate(("store", "failover")), path)
    assert bench_gate.read(Gate(("store", "failover"), record=True), path).figures


def test_without_any_record_only_recording_makes_sense(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        bench_gate.read(Gate(("store",)), tmp_path / "none.yaml")
    assert bench_gate.read(Gate(("store",), record=True), tmp_path / "none.yaml").figures == {}


def test_figures_are_chosen_by_name_in_the_gates_own_order() -> None:
    assert figures.chosen("") == tuple(HEADLINES)
    assert figures.chosen("failover, store") == ("store", "failover")
    with pytest.raises(BadInput, match="'speed'"):
        figures.chosen("store,speed")


@pytest.mark.parametrize(
    "wrong", [{"tolerance": 0.0}, {"tolerance": math.nan}, {"tries": 0}, {"tries": 6}, {"reason": "x"}]
)
def test_a_gate_that_could_judge_nothing_is_bad_input(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Gate(("store",), **wrong)  # type: ignore[arg-type]


def tries(*rounds: dict[str, float], allowed: int) -> tuple[dict[str, Verdict], list[tuple[str, ...]]]:
    """Verdicts, and which figures each gate measured."""
    asked: list[tuple[str, ...]] = []
    coming = iter(rounds)

    def measure(names: tuple[str, ...]) -> tuple[Measured, ...]:
        asked.append(names)
        found = next(coming)
        return tuple(measured(name, found[name]) for name in names)

    wanted = Gate(("store", "failover"), tolerance=0.5, tries=allowed)
    found = judge_again(wanted, record(store=2.0, failover=3.0), measure, quiet)
    return {one.name: one.verdict for one in found}, asked


def test_two_gates_in_a_row_must_find_a_figure_worse() -> None:
    once, asked = tries({"store": 2.0, "failover": 9.0}, {"failover": 3.0}, allowed=2)
    assert once == {"store": Verdict.AS_BEFORE, "failover": Verdict.AS_BEFORE}
    assert asked == [("store", "failover"), ("failover",)]
    twice, _ = tries({"store": 2.0, "failover": 9.0}, {"failover": 9.0}, allowed=2)
    assert twice["failover"] is Verdict.WORSE


def test_one_try_judges_at_once_and_a_good_gate_is_not_repeated() -> None:
    worse, asked = tries({"store": 2.0, "failover": 9.0}, allowed=1)
    assert (worse["failover"], len(asked)) == (Verdict.WORSE, 1)
    _, asked = tries({"store": 2.0, "failover": 3.0}, allowed=2)
    assert len(asked) == 1


@pytest.mark.parametrize("state", [None, ContainerState.OFF])
def test_a_gate_on_a_lab_that_lacks_a_host_names_it(
    monkeypatch: pytest.MonkeyPatch, state: ContainerState | None
) -> None:
    names = [host for host in ("app1", "pg1", "pg2", "backup1", "offsite1") if state or host != "pg2"]
    boxes = {
        f"half-{host}": Container(
            f"half-{host}", {LABEL_LAB: "half"}, state if host == "pg2" and state else ContainerState.RUNNING, ""
        )
        for host in names
    }
    monkeypatch.setattr(bench_gate, "ensure_engine", lambda say: None)
    monkeypatch.setattr(bench_gate.containers, "of_lab", lambda engine, lab: boxes)
    with pytest.raises(BadInput, match="lab half lacks pg2") as told:
        bench_gate.run(Gate(("store",)), record(store=2.0), "half", quiet)
    assert "./dr lab.up --lab half" in told.value.hint


def test_a_lab_whose_hosts_are_all_lost_is_not_there_for_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = {"gone-pg1": Container("gone-pg1", {LABEL_LAB: "gone"}, ContainerState.LOST, "Up 3 minutes")}
    removed: list[str] = []
    monkeypatch.setattr(bench_gate, "ensure_engine", lambda say: None)
    monkeypatch.setattr(bench_gate.containers, "of_lab", lambda engine, lab: boxes)
    monkeypatch.setattr(bench_gate.down, "down", lambda lab, say: removed.append(lab))
    with bench_gate._lab("gone", quiet):
        assert removed == []
    assert removed == ["gone"]


# ---- our own record ----


def test_our_record_holds_every_figure() -> None:
    assert tuple(figures.load(bench_gate.RECORD).figures) == tuple(HEADLINES)


def test_the_readme_shows_our_record() -> None:
    assert figures.table(figures.load(bench_gate.RECORD)) in bench_gate.README.read_text()
