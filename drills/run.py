"""One drill, from the gate to its evidence: what `./dr drill` and the tests call."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from drills import gather
from drills.course import Course, Plan
from drills.evidence import basis, results
from drills.gate import clean_up, gate
from drills.judging import verdict
from drills.judging.junit import write_junit
from drills.judging.result import DrillResult, NegativeTwin, Objectives, Outcome, write_result
from drills.live.course import Writer
from drills.measuring import pressure
from drills.measuring.measure import phases
from drills.page.report import write_report
from drills.scenarios.parts import Scenario, Twin
from drills.stage import Stage
from drills.stores import POSTGRESQL
from inventories.errors import DrError
from lab import state as lab_state
from runbooks import hosts
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.signals import held_back, interruptible
from runbooks.probes.tdengine import servers

Begun = Callable[[Stage, Writer], object]


def nobody(_stage: Stage, _writer: Writer) -> None:
    """Nobody looks on."""


def drill(
    scenario: Scenario, lab: str, say: Callable[[str], None], plan: Plan, twin: Twin | None = None,
    runs: Path | None = None, begun: Begun = nobody,
) -> tuple[DrillResult, Path]:  # fmt: skip
    """Run it and leave its evidence in a folder of its own below `runs`. Returns the judged result and that folder.
    `begun` is given what it goes on with, for whoever shows how it does.

    Raises Refused before anything was broken, when the estate is not whole.
    """
    estate = hosts.load("lab")
    scenario = scenario.fitting(estate)
    primary, standby = gate(estate, scenario.stores)
    run_dir = new_run_dir(f"drill-{scenario.name}{f'-{twin.name}' if twin else ''}", runs)
    seed = plan.seed if plan.seed is not None else random.SystemRandom().randrange(2**31)
    live = Writer(run_dir, scenario.name, scenario.summary, twin.name if twin else "")
    heard, gateway = live.hearing(even_unheard(say)), lab_state.load(lab).gateway
    stage = Stage(lab, estate, primary, standby, gateway, run_dir, heard, reclone=plan.reclone, marked=live.mark)
    begun(stage, live)
    code = basis.before()
    if plan.kill:
        stage.killed = random.Random(seed)  # noqa: S311 - moments, no secret
    result = DrillResult(
        name=run_dir.name,
        scenario=scenario.name,
        run_id=str(seed),
        lab=lab,
        host=primary.name if POSTGRESQL in scenario.stores else servers.hosts(estate)[0].name,
        started_at=datetime.now(UTC),
        summary=scenario.summary,
        promise=scenario.promise,
        expects_new_timeline=scenario.new_timeline and not (twin and twin.runbook_fails),
        objectives=_promised(scenario, plan),
    )
    course = Course(scenario, twin, plan, stage, random.Random(seed), result)  # noqa: S311 - a moment, no secret
    began = stage.mark("normal")
    with interruptible():  # in every phase: a terminal that is closed must leave no fault in place and no feed running
        try:
            with pressure.watched() as stage.watch:
                course.go()
        except (DrError, KeyboardInterrupt) as error:
            course.ended_by(error)
        finally:
            _make_whole(course)
            with held_back() as came:
                result = _with_surroundings(course.result, stage, began, twin)
                write_result(result, run_dir)
                write_junit(result, run_dir)
                write_report(result, run_dir)
                results.kept(lambda: results.record_drill(result, run_dir, code, plan.by), heard)
                live.close()
    if came and result.outcome is not Outcome.INTERRUPTED:
        raise KeyboardInterrupt(came[0])
    return result, run_dir


def even_unheard(say: Callable[[str], None]) -> Callable[[str], None]:
    """A terminal that is closed ends a drill by its signal; what is said on the way out must not lose the report."""

    def aloud(sentence: str) -> None:
        with suppress(OSError):
            say(sentence)

    return aloud


def _promised(scenario: Scenario, plan: Plan) -> Objectives:
    """Rows whatever happens; seconds only where nobody kills the operator's process."""
    promised = gather.objectives(scenario.promise)
    return promised.model_copy(update={"rto_s": None, "detection_s": None}) if plan.kill else promised


def _make_whole(course: Course) -> None:
    """Clean up; one who interrupts that as well is told so, and the evidence is written all the same."""
    try:
        clean_up(course.stage)
    except KeyboardInterrupt as error:
        course.stage.say("WARNING: the clean-up was interrupted, so the estate may not be whole; ./dr status")
        course.ended_by(error)


def _with_surroundings(result: DrillResult, stage: Stage, began: float, twin: Twin | None) -> DrillResult:
    """Phases, steps, versions, machine and the hosts' logs; then the verdict."""
    ended = time.monotonic()
    gather.logs(stage.estate, stage.run_dir)
    result = result.with_checks(gather.panics(stage.run_dir, result.started_at)).model_copy(
        update={
            "duration_s": round(ended - began, 3),
            "phases": phases(stage.in_order(), ended),
            "steps": gather.steps(stage.results),
            "versions": gather.versions(stage.estate),
            "fingerprint": gather.machine(),
            "degraded": gather.degraded(stage.results),
            "facts": tuple(stage.facts),
        }
    )
    result = _with_pressure(result, stage, ended)
    return verdict.judge(with_twin(result, twin))


def _with_pressure(result: DrillResult, stage: Stage, ended: float) -> DrillResult:
    """How busy the machine was before the fault, and from the fault until the store took rows again."""
    fault = next((mark.at for mark in stage.marks if mark.name == "fault"), None)
    if fault is None:
        return result
    before = stage.watch.between(stage.marks[0].at, fault)
    until = result.marks.recovered
    during = stage.watch.between(fault, ended if until is None else stage.marks[0].at + until)
    return result.model_copy(update={"pressure": during, "pressure_before": before})


def with_twin(result: DrillResult, twin: Twin | None) -> DrillResult:
    """A twin holds when its fault happened and the drill fails for the reason it was built for.

    Seconds that were missed may stand beside that reason. Anything else that is wrong was not asked for.
    """
    if twin is None:
        return result
    judged = verdict.judge(result)
    told = "; ".join(judged.reasons) or "it passed"
    slow = verdict.slow(judged)
    wrong = [reason for reason in judged.reasons if reason not in slow]
    held = judged.outcome is Outcome.FAILED and judged.fault_at is not None and twin.is_why(wrong)
    return result.model_copy(update={"negative_twin": NegativeTwin(name=twin.name, held=held, reason=told)})


__all__ = ["Begun", "Plan", "drill", "even_unheard", "nobody"]
