"""Run a procedure: lock, journal, gate, then its steps, each recorded before and after.

The journal's `step_done` is written after the evidence. A process killed before that repeats the step when
resumed, so no step is ever taken as done that was not proved; and what a step that is done must still be, a resumed run
asks before it goes on. A step's budget covers action and evidence, less what was spent on work that made progress
(runbooks/engine/moving.py); nothing is killed when it is used up (half an action is worse than a late one), but being
late is a failure and is reported as one.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from inventories.errors import BadInput, DrError, Interrupted, Refused, TimedOut
from runbooks.engine import lock
from runbooks.engine.budgets import budget
from runbooks.engine.context import Context, Granted
from runbooks.engine.history import History, check_version, read_history, reload_options, reload_state, ways_on
from runbooks.engine.journal import FILE_NAME, Event, Journal
from runbooks.engine.masking import Mask
from runbooks.engine.outcome import Outcome, StepOutcome, exit_code_of, outcome_of
from runbooks.engine.procedure import Procedure
from runbooks.engine.result import Phase, RunResult, StepResult
from runbooks.engine.signals import interruptible
from runbooks.engine.step import Step

S = TypeVar("S", bound=BaseModel)


def run(
    procedure: Procedure[S],
    context: Context[Any, Any],
    *,
    resume: bool = False,
    remote_lock: lock.RemoteLock | None = None,
    budgets: Mapping[str, float] | None = None,
) -> RunResult[S]:
    """Run the procedure in `context.run_dir`; with `resume` go on with the run there (history.open_run).

    Raises DrError for what ends it before the journal is open, when nothing was touched: Refused (somebody
    else on this machine holds the lock, --yes is missing, the journal is of another version), BadInput (unknown budget,
    nothing to resume), Interrupted. Whatever happens afterwards is in the result. `budgets` replaces the
    catalogue's table.
    """
    mask = Mask()
    mask.learn(context.secrets, context.options)
    voice = context.say
    context = replace(context, say=lambda sentence: voice(mask.text(sentence)))
    try:
        past = _past(procedure, context, resume)
        if past:
            context = replace(context, options=reload_options(past, context.options))
        initial = procedure.initial(context)
        allowed = {step.name: budget(step.budget, budgets) for step in procedure.steps}
        _require_consent(procedure, context, past)
        run_id, touched = (past.run, past.touched) if past else ("", False)
        owner = lock.this_process(procedure.name, context.run_dir, resumes=resume, run=run_id, touched=touched)
        with interruptible(), lock.held(context.estate.name, owner, context.say, remote_lock) as locks:
            past = _past(procedure, context, resume)  # again: only now nobody else can add to it
            context = replace(context, owner=locks.owner, held=locks)
            with Journal(context.run_dir, mask) as journal:
                return _Run(procedure, context, journal, locks, mask, allowed, past, initial).go()
    except KeyboardInterrupt as signal:
        begun = (context.run_dir / FILE_NAME).exists()
        hint = "repeat with --resume" if begun else "nothing was touched; start it again"
        raise Interrupted(f"{procedure.name} was interrupted ({signal})", hint) from signal
    finally:
        with suppress(OSError):  # a folder in which nothing was recorded is litter
            context.run_dir.rmdir()


def _past(procedure: Procedure[Any], context: Context[Any, Any], resume: bool) -> History | None:
    if not resume:
        if (context.run_dir / FILE_NAME).exists():
            raise BadInput(f"{context.run_dir} already holds a run", "take a new folder, or --resume")
        return None
    past = read_history(context.run_dir)
    if past is None or past.over:
        raise BadInput(
            f"there is nothing to resume in {context.run_dir}", "start it afresh, without --resume"
        )
    if past.estate != context.estate.name:
        raise BadInput(f"the run in {context.run_dir} was of {past.estate}, not of {context.estate.name}")
    check_version(past, procedure)
    return past


def _require_consent(procedure: Procedure[Any], context: Context[Any, Any], past: History | None) -> None:
    """Destructive steps still ahead need --yes, asked for before anything is touched."""
    ahead = procedure.steps[len(past.done) if past else 0 :]
    destructive = [step.name for step in ahead if step.destructive and step.chosen(context.options)]
    if destructive and not context.options.yes:
        steps = "a destructive step that needs" if len(destructive) == 1 else "destructive steps that need"
        raise Refused(
            f"{procedure.name} has {steps} your consent: {', '.join(destructive)}",
            "read them with --plan, then repeat with --yes",
        )


@dataclass
class _Run(Generic[S]):
    """One attempt, from the open journal to the result."""

    procedure: Procedure[S]
    context: Context[Any, Any]
    journal: Journal
    locks: lock.Held
    mask: Mask
    allowed: Mapping[str, float]
    past: History | None
    state: S
    results: list[StepResult] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    def go(self) -> RunResult[S]:
        """Gate and steps; what stops them is the outcome."""
        self.started = self.context.clock()
        stopped: BaseException | None = None
        try:
            self._open()
            if self.past:
                self._prove_again(self.past)
            if not (self.past and self.past.gate_passed):
                self._gate()
            for nr, step in enumerate(self.procedure.steps[len(self.results) :], len(self.results) + 1):
                self._step(nr, step)
        except (Exception, KeyboardInterrupt) as error:
            stopped = error
        return self._finish(stopped)

    def _open(self) -> None:
        self.mask.learn(self.state)
        facts = {
            "procedure": self.procedure.name,
            "estate": self.context.estate.name,
            "steps": self.procedure.step_names,
            "options": self.context.options.model_dump(mode="json"),
            "owner": self.locks.owner.owner,
            "pid": self.locks.owner.pid,
            "run": self.locks.owner.run,
        }
        if not self.past:
            self.journal.write(Event.OPENED, **facts)
            return
        self.state = reload_state(self.past, self.state)
        self.results = list(self.past.done)
        self.journal.write(Event.RESUMED, **facts)
        done = f"{len(self.results)} of {len(self.procedure.steps)} steps are done"
        self.context.say(f"resuming {self.past.run_dir.name} of {self.past.opened_at[:19]} UTC: {done}")

    def _prove_again(self, past: History) -> None:
        """What a step has proved may be so no more: the hosts went on while this run stood still."""
        self.locks.require()
        for step, result in zip(self.procedure.steps, past.done, strict=False):
            if step.still is None or result.outcome is StepOutcome.SKIPPED:
                continue
            deadline = self.context.clock() + self.allowed[step.name]
            try:
                self._ask(step, replace(self.context, deadline=deadline, note=partial(self._noted, step.name)))
            except DrError as error:
                self._note(Event.GUARD_FAILED, step.name, **self._described(error))
                raise Refused(
                    f"{past.name} does not go on, for what {step.name} had proved is not so any more: {error}",
                    error.hint or ways_on(self.procedure.name),
                ) from error
            self.journal.write(Event.GUARD_HELD, step.name, says=step.still.says)
            self.context.say(f"{step.name}: still {step.still.says}")

    def _ask(self, step: Step[S], context: Context[Any, Any]) -> None:
        assert step.still and step.still.holds
        if step.still.holds(context, self.state) is not None:
            raise TypeError(f"the guard of step {step.name!r} answers instead of raising, so nothing would be checked")

    def _gate(self) -> None:
        started = self.context.clock()
        for gate in self.procedure.gate:
            self.journal.write(Event.GATE_STARTED, gate.name)
            self.context.say(f"gate {gate.name}: {gate.says}")
            try:
                if gate.check(self.context) is not None:  # type: ignore[func-returns-value]
                    raise TypeError(
                        f"gate {gate.name!r} answers instead of raising Refused, so nothing would be checked"
                    )
            except (Exception, KeyboardInterrupt) as error:
                self._note(Event.GATE_FAILED, gate.name, **self._described(error))
                raise
        self.journal.write(Event.GATE_PASSED)
        self.phases.append(Phase("gate", self.context.clock() - started))

    def _step(self, nr: int, step: Step[S]) -> None:
        started = self.context.clock()
        note = partial(self._noted, step.name)
        deadline = started + self.allowed[step.name]
        context = replace(self.context, deadline=deadline, granted=Granted(), note=note)
        self.locks.require(observes=step.observes)
        self.journal.write(
            Event.STEP_STARTED,
            step.name,
            budget=step.budget,
            seconds=self.allowed[step.name],
            observes=step.observes,
        )
        self.context.say(f"{nr}/{len(self.procedure.steps)} {step.name}: {step.says}")
        try:
            outcome = self._perform(step, context)
        except (Exception, KeyboardInterrupt) as error:
            self._failed(step, started, error)
            raise
        finally:
            self.phases.append(Phase(step.name, self.context.clock() - started))
        says = f"skipped: only when {step.only_when}" if outcome is StepOutcome.SKIPPED else step.evidence.says
        result = StepResult(step.name, outcome, started, self.phases[-1].seconds, says)
        self.mask.learn(self.state)
        self.journal.write(
            Event.STEP_SKIPPED if outcome is StepOutcome.SKIPPED else Event.STEP_DONE,
            step.name,
            started=result.started,
            seconds=result.seconds,
            says=says,
            state=self.state.model_dump(mode="json"),
        )
        self.results.append(result)
        self.context.say(f"{step.name}: {says} ({result.seconds:.1f} s)")

    def _perform(self, step: Step[S], context: Context[Any, Any]) -> StepOutcome:
        if not step.chosen(context.options) or (step.when and not step.when(context, self.state)):
            return StepOutcome.SKIPPED
        state = step.action(context, self.state)
        if not isinstance(state, type(self.state)):
            raise TypeError(
                f"the action of step {step.name!r} returned {type(state).__name__} instead of the state"
            )
        self.state = state
        self._require_in_time(step, context)
        if step.evidence.holds is None:
            return StepOutcome.PASSED
        if step.evidence.holds(context, state) is not None:
            raise TypeError(
                f"the evidence of step {step.name!r} answers instead of raising, so nothing would be checked"
            )
        self._require_in_time(step, context)
        return StepOutcome.PASSED

    def _require_in_time(self, step: Step[S], context: Context[Any, Any]) -> None:
        allowed = self.allowed[step.name]
        late = context.clock() - (context.deadline or 0.0) - context.granted.seconds
        if late > 0:
            raise TimedOut(
                f"{step.name} took {allowed + late:.1f} s, over its budget {step.budget} of {allowed:g} s",
                "it was not cut short: see what it left, then --resume (DR_SLOW=2 doubles every budget)",
            )

    def _failed(self, step: Step[S], started: float, error: BaseException) -> None:
        told = self._described(error)
        outcome = StepOutcome(outcome_of(exit_code_of(error)).value)
        seconds = self.context.clock() - started
        self.results.append(
            StepResult(step.name, outcome, started, seconds, step.says, told["error"], told["hint"])
        )
        event = Event.STEP_INTERRUPTED if outcome is StepOutcome.INTERRUPTED else Event.STEP_FAILED
        self._note(event, step.name, outcome=outcome.value, seconds=seconds, **told)
        if outcome is StepOutcome.FAILED and step.undo:
            self._undo(step)

    def _undo(self, step: Step[S]) -> None:
        assert step.undo is not None
        self._note(Event.UNDO_STARTED, step.name)
        self.context.say(f"undo {step.name}: {step.undo_says}")
        try:
            deadline = self.context.clock() + self.allowed[step.name]
            note = partial(self._noted, step.name)
            self.locks.require()  # an undo changes hosts, too
            step.undo(replace(self.context, deadline=deadline, granted=Granted(), note=note), self.state)
        except Exception as error:
            told = self._described(error)
            self._note(Event.UNDO_FAILED, step.name, **told)
            self.context.say(f"the undo of {step.name} failed: {told['error']}")
        else:
            self._note(Event.UNDO_DONE, step.name)

    def _finish(self, stopped: BaseException | None) -> RunResult[S]:
        told = self._described(stopped) if stopped else {"error": "", "hint": ""}
        code = exit_code_of(stopped) if stopped else Outcome.PASSED.exit_code
        outcome = outcome_of(code)
        self._note(Event.FINISHED, outcome=outcome.value, error=told["error"], hint=told["hint"])
        return RunResult(
            outcome=outcome,
            exit_code=code,
            steps=tuple(self.results),
            state=self.state,
            phases=tuple(self.phases),
            run_dir=self.context.run_dir,
            started=self.started,
            seconds=self.context.clock() - self.started,
            error=told["error"],
            hint=told["hint"],
        )

    def _noted(self, step: str, what: str, **data: Any) -> None:
        self.journal.write(Event.NOTED, step, what=what, **data)

    def _note(self, event: Event, step: str | None = None, **data: Any) -> None:
        """Record on the way out: a journal that cannot be written must not hide what went wrong before."""
        try:
            self.journal.write(event, step, **data)
        except DrError as error:
            self.context.say(f"WARNING: {error}")

    def _described(self, error: BaseException) -> dict[str, str]:
        resume = f"repeat with --resume; the journal is in {self.context.run_dir}"
        if isinstance(error, DrError):
            told = {"error": str(error), "hint": error.hint or resume}
        elif isinstance(error, KeyboardInterrupt):
            told = {"error": f"{self.procedure.name} was interrupted ({error or 'SIGINT'})", "hint": resume}
        else:
            trace = "".join(traceback.format_exception(error))
            told = {
                "error": f"{type(error).__name__}: {error}",
                "hint": f"unexpected; the traceback is in the journal; {resume}",
                "traceback": trace,
            }
        return {key: self.mask.text(text) for key, text in told.items()}
