"""The course of one drill: feed on, fault, recover, feed runs on, drain, compare, restore, verify."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from drills import by_watch, gather
from drills import feed as feeds
from drills.gate import clean_up
from drills.judging.compare import Comparison, TableComparison, compare, with_phantom_row
from drills.judging.fate import Fate, Window, fate, oldest_ack
from drills.judging.result import Check, CheckOutcome, DrillResult, Outcome
from drills.measuring.events import Event
from drills.measuring.ledger import read_ledger
from drills.measuring.measure import Mark, Measured, Moments, longest, measure
from drills.measuring.tally import Feed, Writing
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from drills.stores import POSTGRESQL, Finder, Store
from inventories.errors import BadInput, DrError, Interrupted, TargetFailed, TimedOut, VerificationFailed
from runbooks.engine import outcome as ended
from runbooks.engine.budgets import budget
from runbooks.engine.verify import EVERYTHING, verify
from runbooks.hosts import Host
from runbooks.procedures.outbox import emptied

Events = Mapping[Store, tuple[Event, ...]]
Fates = Mapping[Store, Fate]
# A runbook's own --resume looks for a run of its own, and not below a drill's folder.
SECOND_COPY = "the standby holds every acknowledged row"
_STATUS = "./dr status shows what each host is, and what brings it back"


@dataclass(frozen=True)
class Plan:
    """How to drill. Seconds before the fault are drawn between `calm_s` and twice that; `seed` fixes the draw.

    `reclone` brings a lost host back from the repository, without trying to rewind it. `kill` ends the operator's
    process with SIGKILL in the middle of each runbook, which is resumed: no seconds are promised then. `by` says who
    runs the failover: the drill's own operator as soon as the feed has noticed, or the watch.
    """

    rate: float = 6000.0
    calm_s: float = 4.0
    after_s: float = 4.0
    seed: int | None = None
    reclone: bool = False
    kill: bool = False
    by: str = by_watch.OPERATOR

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
        moments, recovered = self._break_and_recover()
        events = {store: read_ledger(self.stage.run_dir / store.ledger) for store in self.scenario.stores}
        self._measure(events, moments)
        expected = self._expected(events, moments)
        self._compare(events, expected, moments)
        self._restore(recovered, expected)
        self._conclude()

    def _break_and_recover(self) -> tuple[Moments, Result]:
        stage, scenario = self.stage, self.scenario
        rate = min(self.plan.rate, scenario.rate or self.plan.rate)
        with ExitStack() as stack:
            for store in scenario.stores:
                begun = feeds.running(stage.estate.app, rate, self.chance.randrange(2**31), stage.run_dir, store)
                stage.running[store.name] = stack.enter_context(begun)
            watcher = self._watcher(stack)
            stage.say("the feed writes; waiting for a random moment")
            self._sleep(self.plan.calm_s)
            self._prepare()
            self._sleep(self.plan.calm_s * self.chance.random())
            fault = stage.mark("fault")
            stage.say(f"fault: {scenario.summary}")
            stage.outages = {name: feed.ledger.view().outages for name, feed in stage.running.items()}
            scenario.fault(stage)
            detected, recovered = self._by_watch(watcher, fault) if watcher else self._by_operator()
            stage.heal(stage.primary)  # a partition that nobody ended by power
            if recovered.outcome is not self._wanted(0):
                clean_up(stage)
            self._run_on()
            stop = stage.mark("drain")
            for feed in stage.running.values():
                feed.stop()
            if watcher:
                self._proved(watcher, fault, recovered)
        failover = stage.failover_started if scenario.detect else None
        return Moments(stage.marks[0].at, fault, detected, failover, stop), recovered

    def _watcher(self, stack: ExitStack) -> by_watch.Watcher | None:
        if self.plan.by != by_watch.WATCH:
            return None
        self.stage.say("the watch begins to look")
        watch = by_watch.running(self.stage.estate.backup, self.stage.run_dir, "--act", "failover")
        return stack.enter_context(watch)

    def _by_operator(self) -> tuple[float | None, Result]:
        detected = self.detect()
        recover = self.twin.recover if self.twin and self.twin.recover else self.scenario.recover
        return detected, recover(self.stage)

    def _by_watch(self, watcher: by_watch.Watcher, fault: float) -> tuple[float, Result]:
        acts = by_watch.saw(watcher, self.stage, fault)
        self.stage.marks.append(Mark("detected", acts.at))
        self.stage.marked("detected", acts.at)
        self.result = self.result.model_copy(update={"alarm": f"the watch: {acts.says.partition(': ')[2]}"})
        return acts.at, by_watch.recovered(watcher, self.stage, fault)

    def _proved(self, watcher: by_watch.Watcher, fault: float, recovered: Result) -> None:
        """That it was the watch which saw the fault, and that it watches on: else the drill has failed."""
        ended = recovered.started + recovered.seconds
        if why := by_watch.unproven(watcher, self.stage.estate, fault, recovered.started, ended):
            reasons = (*self.result.reasons, f"not proven: {why}")
            self.result = self.result.model_copy(update={"reasons": reasons})

    def _measure(self, events: Events, moments: Moments) -> None:
        """Each store by itself; the one that was silent longest speaks for all."""
        measured: dict[str, Measured] = {}
        for store, told in events.items():
            found = measure(told, moments)
            measured[store.name] = (
                found if store.has_timelines else replace(found, timeline_before=None, timeline_after=None)
            )
        views = {name: feed.ledger.view() for name, feed in self.stage.running.items()}
        worst = longest(tuple(measured.values()))
        self.result = self.result.with_feeds(views).with_stores(views, measured).with_measured(worst)

    def _prepare(self) -> None:
        """Set the scene, as a phase of its own."""
        prepare = (self.twin and self.twin.prepare) or self.scenario.prepare
        if prepare is None:
            return
        self.stage.mark("prepare")
        prepare(self.stage)
        self.stage.mark("normal")

    def detect(self) -> float | None:
        """Wait for the alarm. One that stays away is recorded, and judged, where an alarm was promised.

        What a twin's own waits for is its fault: one that does not show proves nothing. Raises TimedOut.
        """
        detect = (self.twin and self.twin.detect) or self.scenario.detect
        if detect is None:
            return None
        try:
            alarm = detect(self.stage)
        except (TimedOut, VerificationFailed) as silent:
            unseen = isinstance(silent, TimedOut) and self.twin is not None and self.twin.detect is not None
            if unseen or self.result.objectives.detection_s is None:
                raise
            self.stage.fact("no alarm", str(silent))
            self.stage.mark("undetected")
            return None
        at = self.stage.mark("detected")
        self.stage.say(f"detected: {alarm}; recovery begins")
        self.result = self.result.model_copy(update={"alarm": alarm})
        return at

    def _run_on(self) -> None:
        self.stage.say("writing goes on; waiting for the outbox to drain")
        for name, feed in self.stage.running.items():
            feed.ledger.wait_for(
                lambda view: view.writing is Writing.STORE and view.awaiting_replay <= self.stage.gone,
                budget("outbox.drain"),
                f"rows to go to {name} again",
            )
        self._sleep(self.plan.after_s)

    def _sleep(self, seconds: float) -> None:
        """Let the feeds run; the death of one ends the drill at once, or, of the second, when the time is over."""
        try:
            self.stage.feed.ledger.wait_for(lambda view: view.feed is Feed.DIED, seconds, "time to pass")
        except TimedOut:
            if all(feed.ledger.view().feed is not Feed.DIED for feed in self.stage.running.values()):
                return
        raise TargetFailed("the feed died", f"see {self.stage.run_dir}/logs")

    def _expected(self, events: Events, moments: Moments) -> Fates:
        """What must be there in each store of what was acknowledged. A twin forges the ledger of the last."""
        fates = {
            store: self._of_postgresql(told, moments) if store is POSTGRESQL else fate(told)
            for store, told in events.items()
        }
        if self.twin and self.twin.forge_ledger:
            last = self.scenario.stores[-1]
            fates[last] = with_phantom_row(fates[last])[0]
        return fates

    def _of_postgresql(self, events: tuple[Event, ...], moments: Moments) -> Fate:
        """What must be there, what must not be there after a restore to a point, and what the promise excuses."""
        promised, window = self.result.objectives.rpo_s, None
        if promised is not None:
            if self.stage.safe_at is None:
                raise VerificationFailed("nothing was known to be in the repository, so no loss would be found")
            since = max(moments.fault - promised, self.stage.safe_at)
            window = Window(self.result.timeline_before or 0, since)
        return fate(events, self.stage.target, window)

    def _compare(self, events: Events, expected: Fates, moments: Moments) -> None:
        stage = self.stage
        for store in expected:
            emptied(stage.estate.app, "outbox.drain", store.settings, store.name)
        stage.mark("compare")
        stage.say(f"comparing {self.result.acked or 0:,} acknowledged rows with the tables")
        replayed: dict[str, int] = {}
        tables: list[TableComparison] = []
        oldest: list[float] = []
        for store, wanted in expected.items():
            feed = stage.running[store.name]
            replayed |= {table: len(ids) for table, ids in feed.ledger.replayed_ids().items()}
            found = compare(wanted, store.finder(stage.estate, feed.run_number))
            self.result = self.result.with_compared_store(store.name, found)
            tables += found.tables
            at = oldest_ack(events[store], found.missing)
            oldest += [] if at is None else [at]
        age = moments.fault - min(oldest) if oldest else None
        self.result = self.result.with_comparison(Comparison(tuple(tables)), replayed, oldest_missing_s=age)

    def _restore(self, recovered: Result, expected: Fates) -> None:
        """Make the estate whole, and hold the standby to the ledger too: two copies were promised."""
        stage = self.stage
        stage.mark("restore")
        if recovered.outcome is ended.Outcome.PASSED:
            self.scenario.restore(stage)
            stage.undo_all()
        verified = gather.checks(stage.run_dir)
        if recovered.outcome is not ended.Outcome.PASSED or not verified or POSTGRESQL not in expected:
            self._verify_whole()
            verified = gather.checks(stage.run_dir)
        stage.mark("second copy" if POSTGRESQL in expected else "last checks")
        whole = (*gather.whole(stage.estate), *(_whole(store, stage) for store in expected if store is not POSTGRESQL))
        second = self._second_copies(expected[POSTGRESQL]) if POSTGRESQL in expected else ()
        self.result = self.result.with_checks((*verified, *whole, *self.scenario.check(stage), *second))

    def _verify_whole(self) -> None:
        """The specification of a healthy estate, where no runbook's last step has checked it."""
        folder = self.stage.run_dir / "runbooks" / "verify"
        folder.mkdir(parents=True)
        env = {"DR_INVENTORY": self.stage.estate.inventory}
        verify(EVERYTHING, run_dir=folder, budget="verify", env=env, report="verify-whole.xml")

    def _second_copies(self, expected: Fate) -> tuple[Check, ...]:
        """Every standby, once it has replayed what the primary has written, holds what the primary holds as well."""
        try:
            return tuple(self._second_copy(expected, node.host) for node in gather.caught_up(self.stage.estate))
        except DrError as error:
            return (Check(name=SECOND_COPY, outcome=CheckOutcome.FAILED, detail=str(error)),)

    def _second_copy(self, expected: Fate, host: Host) -> Check:
        """Raises DrError when it cannot be asked."""
        found = compare(expected, self._on(host))
        # What is wrong on the primary is told once, by the comparison itself.
        first = next(store for store in self.result.stores if store.store == POSTGRESQL.name)
        good = found.lost == first.lost and found.duplicated == first.duplicated
        required = sum(map(len, expected.required.values()))
        detail = f"{required - sum(map(len, found.missing.values())):,} of {required:,} on {host.name}"
        return Check(
            name=SECOND_COPY, host=host.name, detail=detail,
            outcome=CheckOutcome.PASSED if good else CheckOutcome.FAILED,
        )

    def _on(self, host: Host) -> Finder:
        run = self.stage.running[POSTGRESQL.name].run_number
        return gather.finder(host, self.stage.database, run)

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
        interrupted = isinstance(error, KeyboardInterrupt | Interrupted)
        reason = "The drill was interrupted." if interrupted else str(error)
        ran = enumerate(result for _, result in self.stage.results)
        failed = [result.error for nr, result in ran if result.outcome is not self._wanted(nr)]
        self.result = self.result.model_copy(
            update={
                "outcome": Outcome.INTERRUPTED if interrupted else Outcome.FAILED,
                "reasons": tuple(dict.fromkeys((*filter(None, failed), reason, *self.result.reasons))),
                "hint": _STATUS if interrupted else error.hint if isinstance(error, DrError) else "",
            }
        )


def _whole(store: Store, stage: Stage) -> Check:
    """Whether the store is whole in the end, whatever a runbook believed."""
    wrong = store.wrong(stage.estate)
    outcome = CheckOutcome.FAILED if wrong else CheckOutcome.PASSED
    return Check(name=f"{store.name} is whole again", outcome=outcome, detail=wrong or "every node is ready")
