"""The course of one drill: feed on, fault, recover, feed runs on, drain, compare, restore, verify."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from drills import feed as feeds
from drills import gather
from drills.compare import Comparison, compare, with_phantom_row
from drills.events import Event
from drills.fate import Fate, Window, fate, oldest_ack
from drills.gate import clean_up
from drills.ledger import Ledger, read_ledger
from drills.measure import Moments, measure
from drills.result import Check, CheckOutcome, DrillResult, Outcome
from drills.scenario import Result, Scenario, Twin
from drills.stage import Stage
from drills.tally import Feed, Writing
from inventories.errors import BadInput, DrError, TargetFailed, TimedOut, VerificationFailed
from runbooks.engine import outcome as ended
from runbooks.engine.budgets import budget
from runbooks.engine.verify import EVERYTHING, verify
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes import app, postgres


@dataclass(frozen=True)
class Plan:
    """How to drill. Seconds before the fault are drawn between `calm_s` and twice that; `seed` fixes the draw."""

    rate: float = 6000.0
    calm_s: float = 4.0
    after_s: float = 4.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Raises BadInput for a rate that no feed can have."""
        if not 0 < self.rate < math.inf:
            raise BadInput(f"a feed cannot write {self.rate:g} rows a second", "--rate 6000 is the default")


@dataclass
class Course:
    """One drill on its way. `result` grows, so that what was measured outlives what goes wrong later."""

    scenario: Scenario
    twin: Twin | None
    plan: Plan
    stage: Stage
    chance: random.Random
    result: DrillResult

    def go(self) -> None:
        """Run it to its end. Raises what stops it before that."""
        ledger, moments, recovered = self._break_and_recover()
        events = read_ledger(self.stage.run_dir / "ledger.jsonl")
        self.result = self.result.with_feed(ledger.view()).with_measured(measure(events, moments))
        expected = self._expected(events, moments)
        self._compare(ledger, events, expected, moments)
        self._restore(recovered, expected)
        self._conclude()

    def _break_and_recover(self) -> tuple[Ledger, Moments, Result]:
        stage, scenario = self.stage, self.scenario
        rate = min(self.plan.rate, scenario.rate or self.plan.rate)
        with feeds.running(stage.estate.app, rate, self.chance.randrange(2**31), stage.run_dir) as feed:
            stage.running = feed
            stage.say("the feed writes; waiting for a random moment")
            self._sleep(feed, self.plan.calm_s)
            self._prepare()
            self._sleep(feed, self.plan.calm_s * self.chance.random())
            fault = stage.mark("fault")
            stage.say(f"fault: {scenario.summary}")
            scenario.fault(stage)
            detected = self._detect()
            recovered = (self.twin.recover if self.twin and self.twin.recover else scenario.recover)(stage)
            stage.heal(stage.primary)  # a partition that nobody ended by power
            if recovered.outcome is not self._wanted(0):
                clean_up(stage)
            self._run_on(feed)
            stop = stage.mark("drain")
            feed.stop()
        failover = stage.failover_started if scenario.detect else None
        return feed.ledger, Moments(stage.marks[0].at, fault, detected, failover, stop), recovered

    def _prepare(self) -> None:
        """Set the scene, as a phase of its own."""
        if self.scenario.prepare is None:
            return
        self.stage.mark("prepare")
        self.scenario.prepare(self.stage)
        self.stage.mark("normal")

    def _detect(self) -> float | None:
        """Wait for the alarm. One that stays away is recorded, and judged, where an alarm was promised."""
        detect = (self.twin and self.twin.detect) or self.scenario.detect
        if detect is None:
            return None
        try:
            alarm = detect(self.stage)
        except (TimedOut, VerificationFailed) as silent:
            if self.result.objectives.detection_s is None:
                raise
            self.stage.fact("no alarm", str(silent))
            self.stage.mark("undetected")
            return None
        at = self.stage.mark("detected")
        self.stage.say(f"detected: {alarm}; recovery begins")
        self.result = self.result.model_copy(update={"alarm": alarm})
        return at

    def _run_on(self, feed: feeds.Feed) -> None:
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
            feed.ledger.wait_for(lambda view: view.feed is Feed.DIED, seconds, "time to pass")
        except TimedOut:
            return
        raise TargetFailed("the feed died", f"see {self.stage.run_dir}/logs/feed.log")

    def _expected(self, events: tuple[Event, ...], moments: Moments) -> Fate:
        """What must be there of what was acknowledged, what must not, and what the promise excuses."""
        promised, window = self.result.objectives.rpo_s, None
        if promised is not None:
            if self.stage.safe_at is None:
                raise VerificationFailed("nothing was known to be in the repository, so no loss would be found")
            since = max(moments.fault - promised, self.stage.safe_at)
            window = Window(self.result.timeline_before or 0, since)
        expected = fate(events, self.stage.target, window)
        return with_phantom_row(expected)[0] if self.twin and self.twin.forge_ledger else expected

    def _compare(self, ledger: Ledger, events: tuple[Event, ...], expected: Fate, moments: Moments) -> None:
        stage, view = self.stage, ledger.view()
        until(
            lambda: app.outbox(stage.estate.app),
            "outbox.drain",
            what="an empty outbox",
            accept=lambda box: not box.pending_records,
        )
        stage.mark("compare")
        stage.say(f"comparing {view.acked:,} acknowledged rows with the tables")
        replayed = {table: len(ids) for table, ids in ledger.replayed_ids().items()}
        primary = postgres.the_primary(postgres.survey(stage.estate)).host
        found = self._against(primary, expected)
        oldest = oldest_ack(events, found.missing)
        age = None if oldest is None else moments.fault - oldest
        self.result = self.result.with_comparison(found, replayed, oldest_missing_s=age)

    def _against(self, host: Host, expected: Fate) -> Comparison:
        return compare(expected, gather.finder(host, self.stage.database, self.stage.run_number))

    def _restore(self, recovered: Result, expected: Fate) -> None:
        """Make the estate whole, and hold the standby to the ledger too: two copies were promised."""
        stage = self.stage
        stage.mark("restore")
        if recovered.outcome is ended.Outcome.PASSED:
            self.scenario.restore(stage)
            stage.undo_all()
        verified = gather.checks(stage.run_dir)
        if recovered.outcome is not ended.Outcome.PASSED or not verified:
            self._verify_whole()
            verified = gather.checks(stage.run_dir)
        stage.mark("second copy")
        checks = (*verified, *gather.whole(stage.estate), *self.scenario.check(stage), self._second_copy(expected))
        self.result = self.result.with_checks(checks)

    def _verify_whole(self) -> None:
        """The specification of a healthy estate, where no runbook's last step has checked it."""
        folder = self.stage.run_dir / "runbooks" / "verify"
        folder.mkdir(parents=True)
        env = {"DR_INVENTORY": self.stage.estate.inventory}
        verify(EVERYTHING, run_dir=folder, budget="verify", env=env, report="verify-whole.xml")

    def _second_copy(self, expected: Fate) -> Check:
        """The standby, once it has replayed what the primary has written, holds what the primary holds as well."""
        name = "the standby holds every acknowledged row"
        try:
            written = postgres.the_primary(postgres.survey(self.stage.estate)).written or 0
            node = until(
                lambda: next((node for node in postgres.survey(self.stage.estate) if node.streams), None),
                "standby.catch_up",
                what="a standby that has replayed everything",
                accept=lambda node: node is not None and (node.replayed or 0) >= written,
            )
            assert node is not None
            found = self._against(node.host, expected)
        except DrError as error:
            return Check(name=name, outcome=CheckOutcome.FAILED, detail=str(error))
        # What is wrong on the primary is told once, by the comparison itself.
        first = self.result
        good = found.lost == first.lost and found.duplicated == first.duplicated
        required = sum(map(len, expected.required.values()))
        detail = f"{required - sum(map(len, found.missing.values())):,} of {required:,} on {node.name}"
        return Check(
            name=name, host=node.name, outcome=CheckOutcome.PASSED if good else CheckOutcome.FAILED, detail=detail
        )

    def _conclude(self) -> None:
        """How the procedures ended, against how they were expected to."""
        reasons = list(self.result.reasons)
        for nr, (name, ran) in enumerate(self.stage.results):
            wanted = self._wanted(nr)
            if ran.outcome is not wanted or ran.outcome is ended.Outcome.FAILED:
                reasons.append(ran.error or f"{name} ended {ran.outcome.value}; {wanted.value} was expected.")
        if not self.stage.results:
            reasons.append("No runbook was run, so nothing was recovered.")
        outcome = Outcome.FAILED if reasons else Outcome.PASSED
        self.result = self.result.model_copy(update={"outcome": outcome, "reasons": tuple(reasons)})

    def _wanted(self, nr: int) -> ended.Outcome:
        """How the runbook of this number should end: the first may have to refuse, or, in a twin, to fail."""
        if nr == 0 and self.twin and self.twin.runbook_fails:
            return ended.Outcome.FAILED
        return ended.Outcome.REFUSED if nr == 0 and self.scenario.refused else ended.Outcome.PASSED

    def ended_by(self, error: BaseException) -> None:
        """What stopped the drill becomes its first reason, unless a runbook had failed before: that is why."""
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "The drill was interrupted." if interrupted else str(error)
        ran = enumerate(result for _, result in self.stage.results)
        failed = [result.error for nr, result in ran if result.outcome is not self._wanted(nr)]
        self.result = self.result.model_copy(
            update={
                "outcome": Outcome.INTERRUPTED if interrupted else Outcome.FAILED,
                "reasons": tuple(dict.fromkeys((*filter(None, failed), reason, *self.result.reasons))),
                "hint": error.hint if isinstance(error, DrError) else "",
            }
        )
