"""Drills: break the lab on purpose, recover it, prove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.table import Column, Table

from doors.drill_screen import drilling
from doors.support import LAB_HELP, door, screen

if TYPE_CHECKING:
    from pathlib import Path

    from drills.judging.result import DrillResult
    from drills.rounds.result import RoundsResult
    from drills.scenarios.parts import Scenario
    from inventories.catalog.recovery import Objectives

_PACKAGE_HINT = "TDENGINE_PACKAGE=PATH-OR-URL, with a file .sha256 beside it, installs TDengine in the lab"


@task(
    help={
        "scenario": "what to break (./dr scenarios lists them); with --rounds one or more, as a,b,c",
        "twin": "run a negative twin, which must fail for its own reason",
        "rounds": "so many drills on one estate, drawn at random, nothing deployed in between",
        "kill": "with --rounds: kill the operator's process in every runbook of every second round, and resume it",
        "by": "watch (nobody is awake; the default where a watch may act) or operator (the drill's own, awake): who "
        "runs the failover; rounds are the operator's unless --by watch is asked for",
        "rate": "rows a second that the feed writes",
        "seed": "repeat the random moment of an earlier drill, or the rounds of an earlier run (its run_id)",
        "json": "print result.json instead of the summary",
        "lab": LAB_HELP,
    }
)
@door
def drill(
    c: Context,
    scenario: str = "",
    twin: str = "",
    rounds: str = "",
    kill: bool = False,
    by: str = "",
    rate: float = 6000.0,
    seed: int = 0,
    json: bool = False,
    lab: str = "",
) -> None:
    """Break a lab under load, recover it, prove it on one page."""
    from drills import prepare
    from drills.run import Plan
    from drills.run import drill as run_drill
    from drills.scenarios import catalogue as scenarios
    from inventories.errors import BadInput

    if by not in ("", "operator", "watch"):
        raise BadInput(f"nobody called {by!r} runs a failover", "--by watch or --by operator")
    if rounds:
        _rounds(lab, rounds, scenario, twin, rate, seed, json, kill, by or "operator")
        return
    if kill:
        raise BadInput("--kill belongs to rounds", "./dr drill --rounds 10 --kill")
    made_to_fail = scenarios.twin(twin) if twin else None
    chosen = scenarios.scenario(scenario or (made_to_fail.scenario if made_to_fail else "primary-power-loss"))
    plan = Plan(rate=rate, seed=seed or None, by=_who(by, chosen, twin))
    if chosen.skipped:
        raise Exit(f"{chosen.skipped}\nHINT: {_PACKAGE_HINT}", code=3)
    with drilling() as shown:
        prepare.estate(lab, shown.say, chosen.stores)
        result, folder = run_drill(chosen, lab, shown.say, plan, made_to_fail, begun=shown.begun)
    if json:
        print(result.model_dump_json(indent=2))
    else:
        _summary(result, folder)
    _ends(result, folder)


def _who(by: str, chosen: Scenario, twin: str) -> str:
    """Nobody is awake where nobody says otherwise. Raises BadInput for what no watch acts on."""
    from drills.scenarios.catalogue import SCENARIOS
    from inventories.errors import BadInput

    acts = chosen.by_itself and not twin
    if by == "watch" and not acts:
        acts_on = ", ".join(name for name, one in SCENARIOS.items() if one.by_itself)
        raise BadInput(
            f"no watch acts on {chosen.name}{f' with the twin {twin}' if twin else ''}: it needs a person",
            f"--by watch goes with {acts_on}",
        )
    return by or ("watch" if acts else "operator")


def _rounds(
    lab: str, rounds: str, scenario: str, twin: str, rate: float, seed: int, json: bool, kill: bool, by: str
) -> None:  # fmt: skip
    from drills import prepare
    from drills.rounds import course as trips

    plan = trips.plan(rounds, scenario, twin, rate, seed or None, kill=kill, by=by)
    with drilling() as shown:
        prepare.estate(lab, shown.say)
        result, folder = trips.run(plan, lab, shown.say, shown.begun)
    if json:
        print(result.model_dump_json(indent=2))
    else:
        _rounds_summary(result, folder)
    _ends(result, folder)


def _ends(result: DrillResult | RoundsResult, folder: Path) -> None:
    """With the exit code of the outcome; a negative twin is judged by whether it failed for its own reason."""
    if twin := result.negative_twin:
        if not twin.held:
            raise Exit(f"the negative twin {twin.name} did not fail for its reason: {twin.reason}", code=1)
        return
    exit_unless_passed(result, folder)


@task
@door
def scenarios(c: Context) -> None:
    """List what a drill can break, and the negative twins."""
    from drills.scenarios.catalogue import ROUND_TWINS, SCENARIOS, TWINS
    from inventories.catalog.load import load_recovery

    promises = load_recovery().scenarios
    table = Table("scenario", "what happens", "RTO", "RPO", "alarm")
    for name, scenario in SCENARIOS.items():
        promise = promises[scenario.promise]
        skipped = " [dim](skipped here: TDENGINE_PACKAGE names no package)[/]" if scenario.skipped else ""
        table.add_row(name, scenario.summary + skipped, f"{promise.rto_s:g} s", _rpo(promise), _alarm(promise))
    for name, twin in TWINS.items():
        table.add_row(f"--twin {name}", twin.says, "", "", "")
    for name, says in ROUND_TWINS.items():
        table.add_row(f"--rounds 2 --twin {name}", says, "", "", "")
    screen().print(table)


def _rpo(promise: Objectives) -> str:
    since = f" older than {promise.rpo_s:g} s" if promise.rpo_s else ""
    return f"{promise.rpo_rows} rows{since}"


def _alarm(promise: Objectives) -> str:
    return f"{promise.detect_s:g} s" if promise.detect_s else ""


@task
@door
def runs(c: Context) -> None:
    """List past drills with their verdicts."""
    from drills.judging.summary import HEADINGS, past_runs, row
    from runbooks.engine.rundir import runs_dir

    found = past_runs(runs_dir())
    table = Table(*HEADINGS, box=None, padding=(0, 1, 0, 0))
    for run in found.runs:
        table.add_row(*row(run))
    screen().print(table)
    if found.runs:
        print(f"newest: {found.runs[0].folder}/report.html")
    for note in found.notes:
        print(note)


def _summary(result: DrillResult, folder: Path) -> None:
    from drills.page.report import headline

    console = screen(highlight=False)
    console.print(f"{_word(result)} {headline(result)}", soft_wrap=True)
    for sentence in result.degraded:
        console.print(f"[yellow]while degraded:[/] {sentence}")
    console.print(f"report: {folder}/report.html", soft_wrap=True)  # a path is copied whole, or not at all


def _rounds_summary(result: RoundsResult, folder: Path) -> None:
    from drills.page.report import seconds
    from drills.rounds.report import headline

    console = screen(highlight=False)
    kinds = result.kinds()
    name = Column("scenario", min_width=max((len(kind.scenario) for kind in kinds), default=0))
    table = Table(name, "rounds", "passed", "RTO, median", "worst", "promised", "a round took", box=None)
    for kind in kinds:
        times = (kind.rto_median_s, kind.rto_worst_s, kind.promised_s, kind.duration_median_s)
        table.add_row(kind.scenario, str(kind.rounds), str(kind.passed), *map(seconds, times))
    console.print(table)
    for one in result.missed:
        still = f" (the machine stood still: {one.stood_still})" if one.stood_still else ""
        console.print(f"[yellow]round {one.nr} missed its objective[/]{still}", soft_wrap=True)
    console.print(f"{_word(result)} {headline(result)}", soft_wrap=True)
    console.print(f"report: {folder}/report.html", soft_wrap=True)


def _word(result: DrillResult | RoundsResult) -> str:
    twin = result.negative_twin
    word = ("twin held" if twin.held else "twin broken") if twin else result.outcome.value
    colour = "green" if word in ("passed", "twin held") else "red"
    return f"[bold {colour}]{word.upper()}[/]"


def exit_unless_passed(result: DrillResult | RoundsResult, folder: Path) -> None:
    """End with the code of the outcome, its first reason and a hint."""
    code = {"passed": 0, "failed": 1, "refused": 3, "interrupted": 4}[result.outcome.value]
    if code:
        hint = result.hint or f"the report is {folder}/report.html"
        raise Exit(f"{result.reasons[0] if result.reasons else result.outcome}\nHINT: {hint}", code=code)


TOP_LEVEL = (drill, scenarios, runs)
