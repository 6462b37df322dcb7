"""Earlier runs as their journals tell them, and which of them --resume goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from inventories.errors import BadInput, Refused
from runbooks.engine import journal, rundir
from runbooks.engine.context import Options
from runbooks.engine.journal import Event, Record
from runbooks.engine.masking import MASK, secrets_in
from runbooks.engine.outcome import Outcome, StepOutcome
from runbooks.engine.procedure import Procedure
from runbooks.engine.result import StepResult

S = TypeVar("S", bound=BaseModel)
O = TypeVar("O", bound=Options)  # noqa: E741 - a type variable, not a number
_AFRESH = "start it afresh, without --resume"


@dataclass(frozen=True)
class History:
    """One run so far. `state` is the JSON after the last step done, None before the first."""

    run_dir: Path
    procedure: str
    estate: str
    steps: tuple[str, ...]
    opened_at: str  # UTC, ISO 8601: sorts by time
    gate_passed: bool
    touched: bool  # a step was started that changes something
    done: tuple[StepResult, ...]
    state: Mapping[str, Any] | None
    outcome: Outcome | None  # None: killed, or resumed and not finished since
    options: Mapping[str, Any] = field(default_factory=dict)  # what the operator said

    @property
    def over(self) -> bool:
        """Nothing is left to resume: it passed, or it was refused before anything was touched."""
        return self.outcome is Outcome.PASSED or (self.outcome is Outcome.REFUSED and not self.touched)


def open_run(
    procedure: Procedure[Any], estate: str, *, resume: bool = False, runs: Path | None = None
) -> Path:
    """The folder for this run: a new one, or with `resume` that of the run to go on with."""
    if resume:
        return find_resumable(procedure.name, estate, runs).run_dir
    return rundir.new_run_dir(procedure.name, runs)


def find_resumable(procedure: str, estate: str, runs: Path | None = None) -> History:
    """The newest run of this procedure on this estate, if it is not over.

    Raises BadInput when there is none or the newest has passed, and Refused when another procedure has acted
    on the estate since: the state in the journal is no longer that of the hosts.
    """
    since: History | None = None
    for past in _newest_first(estate, runs or rundir.runs_dir()):
        if past.procedure == procedure and past.outcome is Outcome.PASSED:
            raise BadInput(
                f"there is nothing to resume: the last {procedure} on {estate} passed ({past.run_dir.name})",
                _AFRESH,
            )
        if past.procedure != procedure:
            since = since or (past if past.touched else None)
        elif not past.over:
            if since:
                raise Refused(
                    f"{since.procedure} has acted on {estate} since {past.run_dir.name} stopped", _AFRESH
                )
            return past
    raise BadInput(f"there is nothing to resume: no unfinished {procedure} on {estate}", _AFRESH)


def read_history(run_dir: Path) -> History | None:
    """The run in this folder; None when its journal is missing, empty, or not a procedure's."""
    if not (run_dir / journal.FILE_NAME).exists():
        return None
    records = journal.read(run_dir).records
    if not records or records[0].event != Event.OPENED or "procedure" not in records[0].data:
        return None
    opened = records[0].data
    states = [record.data["state"] for record in records if record.event == Event.STEP_DONE]
    return History(
        run_dir=run_dir,
        procedure=opened["procedure"],
        estate=opened["estate"],
        steps=tuple(opened["steps"]),
        opened_at=records[0].at,
        gate_passed=any(record.event == Event.GATE_PASSED for record in records),
        touched=any(record.event == Event.STEP_STARTED and not record.data.get("observes") for record in records),
        done=tuple(_done(records)),
        state=states[-1] if states else None,
        outcome=_outcome(records),
        options=next((record.data["options"] for record in reversed(records) if "options" in record.data), {}),
    )


def check_version(past: History, procedure: Procedure[Any]) -> None:
    """Raise Refused when the journal was written by another procedure, or one with other steps."""
    if (past.procedure, past.steps) != (procedure.name, procedure.step_names):
        raise Refused(
            f"the journal in {past.run_dir} belongs to another version of {procedure.name}: "
            f"its steps were {', '.join(past.steps)}",
            _AFRESH,
        )


def reload_options(past: History, given: O) -> O:
    """What the operator says now, and for the rest what they said when the run began: a resumed run keeps its words.

    Consent is not kept: `yes` is only what is given now.
    """
    said = {name: value for name, value in past.options.items() if name in type(given).model_fields}
    now = {name: value for name, value in given if value != type(given).model_fields[name].default}
    try:
        return type(given).model_validate({**said, **now, "yes": given.yes})
    except ValidationError:
        return given  # of another version, or masked


def reload_state(past: History, initial: S) -> S:
    """The state after the last step done, else `initial`; secrets, which no journal keeps, from `initial`."""
    if past.state is None:
        return initial
    fresh = {name: value for name, value in initial if isinstance(value, SecretStr | SecretBytes)}
    try:
        state = type(initial).model_validate_json(json.dumps(past.state)).model_copy(update=fresh)
    except ValidationError as error:
        raise Refused(
            f"the journal in {past.run_dir} holds a state that this version of {past.procedure} cannot read: "
            f"{error.error_count()} fields differ",
            _AFRESH,
        ) from error
    if MASK in secrets_in(state):
        raise Refused(f"the state in {past.run_dir} needs a secret, which no journal keeps", _AFRESH)
    return state


def _newest_first(estate: str, runs: Path) -> Iterator[History]:
    found = []
    # A drill keeps the journals of its runbooks in folders of its own, below runbooks/.
    for path in (*runs.glob(f"*/{journal.FILE_NAME}"), *runs.glob(f"*/runbooks/*/{journal.FILE_NAME}")):
        # A damaged journal of some other run must not keep this one from being resumed.
        with suppress(BadInput, KeyError, ValueError):
            past = read_history(path.parent)
            if past and past.estate == estate:
                found.append(past)
    yield from sorted(found, key=lambda past: past.opened_at, reverse=True)


def _done(records: tuple[Record, ...]) -> Iterator[StepResult]:
    ends = {Event.STEP_DONE: StepOutcome.PASSED, Event.STEP_SKIPPED: StepOutcome.SKIPPED}
    for record in records:
        ended = ends.get(Event(record.event)) if record.event in set(Event) else None
        if ended and record.step:
            yield StepResult(
                record.step, ended, record.data["started"], record.data["seconds"], record.data["says"]
            )


def _outcome(records: tuple[Record, ...]) -> Outcome | None:
    last = records[-1]
    return Outcome(last.data["outcome"]) if last.event == Event.FINISHED else None
