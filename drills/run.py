"""One drill: gate, feed on, fault, recover, feed runs on, drain, compare, verify, restore, verify again, clean up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drills import feed as feeds
from drills import gather, verdict
from drills.compare import Comparison, compare, with_phantom_row
from drills.junit import write_junit
from drills.ledger import read_ledger
from drills.measure import Moments, measure, phases
from drills.ranges import RangeSet
from drills.report import write_report
from drills.result import DrillResult, NegativeTwin, Outcome, write_result
from drills.scenarios import Scenario, Twin
from drills.stage import Stage
from drills.tally import LedgerView, Writing
from inventories.errors import BadInput, DrError, Refused, TimedOut
from lab import state as lab_state
from runbooks import hosts
from runbooks.engine import outcome as engine_outcome
from runbooks.engine.budgets import budget
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.verify import EVERYTHING, verify
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.probes import app, backup, postgres
from runbooks.procedures.rejoin import REJOIN, RejoinOptions


@dataclass(frozen=True)
class Plan:
    """How to drill. Seconds before the fault are drawn between `calm_s` and twice that; `seed` fixes the draw."""

    rate: float = 6000.0
    calm_s: float = 4.0
    after_s: float = 4.0
    seed: int | None = None


def drill(
    scenario: Scenario, lab: str, say: Callable[[str], None], plan: Plan, twin: Twin | None = None
) -> tuple[DrillResult, Path]:
    """Run it and leave its evidence. Returns the judged result and its folder.

    Raises Refused before anything was broken, when the estate is not whole.
    """
    estate = hosts.load("lab")
    primary, standby = gate(estate)
    run_dir = new_run_dir(f"drill-{scenario.name}{f'-{twin.name}' if twin else ''}")
    seed = plan.seed if plan.seed is not None else random.SystemRandom().randrange(2**31)
    stage = Stage(lab, estate, primary, standby, lab_state.load(lab).gateway, run_dir, say)
    result = DrillResult(
        name=run_dir.name, scenario=scenario.name, run_id=str(seed), lab=lab, host=primary.name,
        started_at=datetime.now(UTC), expects_new_timeline=scenario.new_timeline and not (twin and twin.recover),
        objectives=gather.objectives(scenario.promise),
    )  # fmt: skip
    began = stage.mark("normal")
    running = _Drill(scenario, twin, plan, stage, random.Random(seed), result)  # noqa: S311 - a moment, no secret
    try:
        running.go()
    except (DrError, KeyboardInterrupt) as error:
        running.ended_by(error)
    finally:
        clean_up(stage)
        result = running.result
        ended = time.monotonic()
        result = result.model_copy(
            update={
                "duration_s": round(ended - began, 3), "phases": phases(stage.in_order(), ended),
                "steps": gather.steps(stage.results), "versions": gather.versions(estate),
                "fingerprint": gather.machine(), "degraded": gather.degraded(stage.results),
            }
        )  # fmt: skip
        result = verdict.judge(_judged_twin(result, twin))
        gather.logs(estate, run_dir)
        write_result(result, run_dir)
        write_junit(result, run_dir)
        write_report(result, run_dir)
    return result, run_dir


def gate(estate: Estate) -> tuple[hosts.Host, hosts.Host]:
    """(primary, standby) of a whole estate. Raises Refused naming what is not whole."""
    nodes = postgres.survey(estate)
    wrong = [f"{node.name} does not answer: {node.why or 'PostgreSQL is down'}" for node in nodes if not node.online]
    primaries = [node for node in nodes if node.is_primary]
    streaming = [node for node in nodes if node.streams]
    if not wrong and (len(primaries) != 1 or not streaming):
        wrong = [f"{len(primaries)} primaries and {len(streaming)} streaming standbys"]
    if not wrong and not any(standby.sync == "sync" for standby in primaries[0].standbys):
        wrong = ["no standby is synchronous"]
    mode = None if wrong else backup.replication_mode(estate.backup)
    if not wrong and not (mode and mode.synchronous):
        wrong = [f"the backup host records the mode as {mode.mode if mode else 'unknown'}"]
    if not wrong and (box := app.outbox(estate.app)).pending_records:
        wrong = [f"{box.pending_rows} rows wait in the outbox"]
    if wrong:
        raise Refused(
            f"the estate is not whole, so a drill would prove nothing: {'; '.join(wrong)}",
            "./dr status; then ./dr rejoin --yes or ./dr deploy",
        )
    return primaries[0].host, streaming[0].host


@dataclass
class _Drill:
    scenario: Scenario
    twin: Twin | None
    plan: Plan
    stage: Stage
    chance: random.Random
    result: DrillResult  # grows, so that what was measured outlives what goes wrong later

    def go(self) -> None:
        stage, scenario = self.stage, self.scenario
        with feeds.running(stage.estate.app, self.plan.rate, self.chance.randrange(2**31), stage.run_dir) as feed:
            stage.say("the feed writes; waiting for a random moment")
            self._sleep(feed, self.plan.calm_s * (1 + self.chance.random()))
            fault = stage.mark("fault")
            stage.say(f"fault: {scenario.summary}")
            scenario.fault(stage)
            detected = self._detect(feed) if scenario.detects else None
            recovered = (self.twin.recover if self.twin and self.twin.recover else scenario.recover)(stage)
            stage.heal(stage.primary)  # a partition that nobody ended by power
            if recovered.outcome is not self._wanted(0):
                clean_up(stage)
            self._runs_on(feed)
            stop = stage.mark("drain")
            feed.stop()
        view = feed.ledger.view()
        moments = Moments(
            stage.marks[0].at, fault, detected, stage.failover_started if scenario.detects else None, stop
        )
        events = read_ledger(stage.run_dir / "ledger.jsonl")
        self.result = self.result.with_feed(view).with_measured(measure(events, moments))
        until(
            lambda: app.outbox(stage.estate.app),
            "outbox.drain",
            what="an empty outbox",
            accept=lambda box: not box.pending_records,
        )
        stage.mark("compare")
        self.result = self.result.with_comparison(
            self._compare(view, feed.ledger.acked_ids()), {t: len(ids) for t, ids in feed.ledger.replayed_ids().items()}
        )
        stage.mark("restore")
        if recovered.outcome is engine_outcome.Outcome.PASSED:
            scenario.restore(stage)
        else:
            _verify_whole(stage)
        self.result = self.result.with_checks(gather.checks(stage.run_dir)).with_checks(gather.whole(stage.estate))
        self._outcome()

    def _detect(self, feed: feeds.Feed) -> float:
        """An operator's alarm: the feed has stopped being acknowledged by the store."""
        feed.ledger.wait_for(
            lambda view: view.writing is Writing.OUTBOX, budget("feed.start"), "the feed to notice the fault"
        )
        at = self.stage.mark("detected")
        self.stage.say("detected: rows go to the outbox; recovery begins")
        return at

    def _runs_on(self, feed: feeds.Feed) -> None:
        self.stage.say("writing goes on; waiting for the outbox to drain")
        feed.ledger.wait_for(
            lambda view: view.writing is Writing.STORE and view.awaiting_replay == 0,
            budget("outbox.drain"),
            "rows to go to the store again",
        )
        self._sleep(feed, self.plan.after_s)

    def _sleep(self, feed: feeds.Feed, seconds: float) -> None:
        """Let the feed run; its death ends the drill at once."""
        try:
            feed.ledger.wait_for(lambda view: view.feed.value == "died", seconds, "time to pass")
        except TimedOut:
            return
        raise BadInput("the feed died", f"see {self.stage.run_dir}/logs/feed.log")

    def _compare(self, view: LedgerView, acked: dict[str, RangeSet]) -> Comparison:
        self.stage.say(f"comparing {view.acked:,} acknowledged rows with the tables")
        assert view.run is not None
        now = postgres.the_primary(postgres.survey(self.stage.estate)).host
        if self.twin and self.twin.forge_ledger:
            acked, _ = with_phantom_row(acked)
        return compare(acked, gather.finder(now, self.stage.estate.data["database"], view.run))

    def _outcome(self) -> None:
        """How the procedures ended, against how they were expected to."""
        reasons = list(self.result.reasons)
        for nr, (name, ran) in enumerate(self.stage.results):
            wanted = self._wanted(nr)
            if ran.outcome is not wanted or (self.twin and ran.outcome is engine_outcome.Outcome.FAILED):
                reasons.append(ran.error or f"{name} ended {ran.outcome.value}; {wanted.value} was expected.")
        if not self.stage.results:
            reasons.append("No runbook was run, so nothing was recovered.")
        outcome = Outcome.FAILED if reasons else Outcome.PASSED
        self.result = self.result.model_copy(update={"outcome": outcome, "reasons": tuple(reasons)})

    def _wanted(self, nr: int) -> engine_outcome.Outcome:
        """How the runbook of this number should end: the first may have to refuse, or, in a twin, to fail."""
        if nr == 0 and self.twin and self.twin.recover:
            return engine_outcome.Outcome.FAILED
        return engine_outcome.Outcome.REFUSED if nr == 0 and self.scenario.refused else engine_outcome.Outcome.PASSED

    def ended_by(self, error: BaseException) -> None:
        """What stopped the drill becomes its first reason."""
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "The drill was interrupted." if interrupted else str(error)
        self.result = self.result.model_copy(
            update={
                "outcome": Outcome.INTERRUPTED if interrupted else Outcome.FAILED,
                "reasons": (reason, *self.result.reasons),
                "hint": error.hint if isinstance(error, DrError) else "",
            }
        )


def _judged_twin(result: DrillResult, twin: Twin | None) -> DrillResult:
    """A twin holds when the drill fails and its first reason is the one it was built for."""
    if twin is None:
        return result
    judged = verdict.judge(result)
    first = judged.reasons[0] if judged.reasons else "it passed"
    held = judged.outcome is Outcome.FAILED and first.startswith(twin.reason) and len(judged.reasons) == 1
    return result.model_copy(
        update={"negative_twin": NegativeTwin(name=twin.name, held=held, reason="; ".join(judged.reasons) or first)}
    )


def _verify_whole(stage: Stage) -> None:
    """The specification of a healthy estate, where no runbook's last step has checked it."""
    folder = stage.run_dir / "runbooks" / "verify"
    folder.mkdir(parents=True)
    verify(
        EVERYTHING,
        run_dir=folder,
        budget="verify",
        env={"DR_INVENTORY": stage.estate.inventory},
        report="verify-whole.xml",
    )


def clean_up(stage: Stage) -> None:
    """Undo the fault and bring back what is out, saying what could not be."""
    nodes = postgres.survey(stage.estate)
    if all(node.streams or node.is_primary for node in nodes) and any(node.is_primary for node in nodes):
        return
    stage.say("cleaning up")
    for host in stage.estate.postgres:
        try:
            stage.power_on(host)
            stage.heal(host)
        except DrError as error:
            stage.say(f"WARNING: {host.name}: {error}")
    try:
        if not all(node.streams or node.is_primary for node in postgres.survey(stage.estate)):
            stage.run(REJOIN, RejoinOptions(yes=True))
    except DrError as error:
        stage.say(f"WARNING: the estate is not whole: {error}; ./dr status")


__all__ = ["Plan", "drill", "gate"]
