"""The page of a run of rounds: the verdict, the RTO of each round in order, then the worst round first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.judging import junit
from drills.judging.junit import Case
from drills.judging.result import CheckOutcome, Outcome, write_whole
from drills.measuring.pressure import FIGURES
from drills.page.report import WORDS, Sibling, count, first_of, humane, page, seconds, siblings
from drills.page.shapes import Scale, Tick, ceiling, rate_ticks
from drills.rounds.result import Round, RoundsResult

WIDTH, LEFT, RIGHT, TOP, HEIGHT = 1000.0, 48.0, 12.0, 14.0, 190.0
_MOST_LABELS = 25
_SHOWN_PHASES = 12
_WHOLE = 100.0  # percent


@dataclass(frozen=True, slots=True)
class Dot:
    """One round's RTO, in percent of what was promised for its scenario. `kind`: passed, missed, or missed on a
    machine that stood still.
    """

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class TrendChart:
    """`promised` is where the whole of the promised time was taken; `line` joins the dots."""

    height: float
    bottom: float
    dots: tuple[Dot, ...]
    line: str
    promised: float
    ticks: tuple[Tick, ...]
    labels: tuple[Tick, ...]
    width: float = WIDTH
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP


def write_report(result: RoundsResult, folder: Path) -> Path:
    """Write folder/report.html."""
    return write_whole(folder / "report.html", render(result, siblings(folder)))


def render(result: RoundsResult, files: Sequence[Sibling] = ()) -> str:
    """The page as text. Everything in it is escaped, and nothing in it is fetched from anywhere."""
    return page(
        "rounds.html.j2",
        result=result,
        word=WORDS[result.outcome],
        headline=headline(result),
        chart=trend_chart(result),
        trend=trend(result),
        phases=result.seconds_by_phase()[:_SHOWN_PHASES],
        cpu=next(figure for figure in FIGURES if figure.key == "cpu_some"),
        files=files,
    )


def headline(result: RoundsResult) -> str:
    """The verdict in one sentence."""
    if result.outcome is Outcome.PASSED:
        kept = "none lost, none duplicated, also after the last round"
        # Seconds are promised of no round in which the operator's process was killed.
        worst = next((one for one in result.worst_first() if one.used is not None), None)
        nearest = f"; nearest to its promise was round {worst.nr}, {worst.scenario}" if worst else ""
        took = f"writing resumed after {seconds(result.rto_median_s)} (median), {seconds(result.rto_s)} at worst"
        return (
            f"{_rounds(len(result.rounds))} on one estate: {count(result.acked)} rows acknowledged, {kept}; {took}"
            f"{nearest}."
        )
    return first_of(result.reasons) or "No reason was recorded."


def trend(result: RoundsResult) -> str:
    """Whether failing over grew slower from round to round, in one sentence."""
    found = result.trend()
    if found is None:
        return "Too few rounds were measured to speak of a trend."
    first, last = found
    change = (last / first - 1) * 100
    word = "as long as" if abs(change) < 10 else f"{abs(change):.0f} % {'more' if change > 0 else 'less'} time than"
    return (
        f"Recoveries of the last third took {word} those of the first, each held against the median of its own "
        f"scenario ({first:.2f} and {last:.2f} times the median)."
    )


def trend_chart(result: RoundsResult) -> TrendChart | None:
    """None without a round that was measured."""
    measured = [(one, one.used * 100) for one in result.rounds if one.used is not None]
    if not measured:
        return None
    bottom = TOP + HEIGHT
    top = ceiling([_WHOLE, *(share for _, share in measured)])
    across, up = Scale(0, result.wanted, LEFT, WIDTH - RIGHT), Scale(0, top, bottom, TOP)
    dots = tuple(Dot(across(one.nr - 0.5), up(share), kind_of(one), _title(one)) for one, share in measured)
    every = max(1, -(-result.wanted // _MOST_LABELS))
    labels = tuple(
        Tick(across(nr - 0.5), str(nr)) for nr in range(1, result.wanted + 1) if nr == 1 or nr % every == 0
    )
    return TrendChart(
        height=bottom + 24, bottom=bottom, dots=dots, line="M" + "L".join(f"{dot.x} {dot.y}" for dot in dots),
        promised=up(_WHOLE), ticks=rate_ticks(up), labels=labels,
    )  # fmt: skip


def kind_of(one: Round) -> str:
    if one.passed:
        return "kept"
    return "still" if one.missed and one.stood_still else "failed"


def write_junit(result: RoundsResult, folder: Path) -> Path:
    """Write folder/junit.xml: every round, those that were not run as failures, and the look back."""
    suite = junit.Suite(result.name, "drill.rounds", result.host, result.started_at, result.duration_s)
    return junit.write_suite(suite, cases(result), folder)


def cases(result: RoundsResult) -> tuple[Case, ...]:
    rounds = [
        Case("round", f"{one.nr:03d} {one.scenario}", _held(one.passed), " ".join(one.reasons), one.duration_s)
        for one in result.rounds
    ]
    ran = len(result.rounds)
    left = [
        Case("round", f"{nr:03d} not run", CheckOutcome.FAILED, result.stopped or "it was not run")
        for nr in range(ran + 1, result.wanted + 1)
    ]
    wrong = tuple(result.last_check.reasons()) if result.last_check else ("it was not made",)
    back = Case("rows", "every row of every round is there after the last", _held(not wrong), " ".join(wrong))
    passed = result.outcome is Outcome.PASSED
    verdict = Case("verdict", "all rounds passed", _held(passed), " ".join(result.reasons), result.duration_s)
    return (verdict, *rounds, *left, back)


def _held(held: bool) -> CheckOutcome:
    return CheckOutcome.PASSED if held else CheckOutcome.FAILED


def _title(one: Round) -> str:
    return f"round {one.nr}, {humane(one.scenario)}: {seconds(one.rto_s)} of {seconds(one.promised_s)}"


def _rounds(number: int) -> str:
    return "1 round" if number == 1 else f"{number} rounds"
