"""Earlier runs as their journals tell them, and which of them --resume goes on with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
_CLOCKS_S = 60.0  # by how much a clock may be corrected between two runs
NO_RUNS = ("lock-break",)  # journalled, but nothing on a host is other than before


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
    run: str = ""  # tells it from every other, of whatever machine
    last_at: str = ""  # UTC, of the newest record
    begun: frozenset[str] = frozenset()  # steps that were started, whether or not they ended
    abandoned: bool = False

    @property
    def name(self) -> str:
        return self.run_dir.name

    @property
    def over(self) -> bool:
        """Nothing is left to resume: it passed, was abandoned, or was refused before anything was touched."""
        refused = self.outcome is Outcome.REFUSED and not self.touched
        return self.abandoned or self.outcome is Outcome.PASSED or refused

    @property
    def age_s(self) -> float:
        """Seconds since its newest record, by the clock of this machine, which wrote that too."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.last_at)).total_seconds()


def open_run(
    procedure: Procedure[Any],
    estate: str,
    *,
    resume: bool = False,
    runs: Path | None = None,
    max_age_s: float = math.inf,
) -> Path:
    """The folder for this run: a new one, or with `resume` that of the run to go on with."""
    if resume:
        return find_resumable(procedure.name, estate, runs, max_age_s).run_dir
    return rundir.new_run_dir(procedure.name, runs)


def find_resumable(
    procedure: str, estate: str, runs: Path | None = None, max_age_s: float = math.inf
) -> History:
    """The newest run of this procedure on this estate, if it is not over.

    Raises BadInput when there is none or the newest has ended well or for good, and Refused when a newer run of
    whatever kind and outcome has overtaken it, or may have, or it is too old: the state in its journal is not that of
    the hosts.
    """
    every = list(_newest_first(estate, runs or rundir.runs_dir()))
    past = next((past for past in every if past.procedure == procedure and _decides(past)), None)
    if past is None:
        raise BadInput(f"there is nothing to resume: no unfinished {procedure} on {estate}", _AFRESH)
    if past.over:
        how = "was abandoned" if past.abandoned else "passed"
        raise BadInput(f"there is nothing to resume: the last {procedure} on {estate} {how} ({past.name})", _AFRESH)
    newer = every[0]
    if newer is not past:
        raise Refused(
            f"{newer.procedure} has acted on {estate} since {past.name} stopped ({newer.name}, "
            f"{newer.outcome or 'unfinished'}), and has overtaken it",
            ways_on(procedure),
        )
    if abs(past.age_s) > max_age_s:
        raise Refused(
            f"{past.name} stopped {past.age_s / 3600:.1f} h ago; what it knows of the hosts counts for "
            f"{max_age_s / 3600:g} h",
            ways_on(procedure),
        )
    if past.age_s < -_CLOCKS_S:
        raise Refused(
            f"{past.name} stopped at {past.last_at[:19]} UTC, which is still to come: the clock here was set back, "
            "and nobody can say what has been done since",
            ways_on(procedure),
        )
    return past


def find_unfinished(estate: str, runs: Path | None = None, besides: str = "") -> History | None:
    """The newest run on this estate that has touched it and is not over, of another procedure than `besides`."""
    every = _newest_first(estate, runs or rundir.runs_dir())
    return next((past for past in every if past.touched and not past.over and past.procedure != besides), None)


def find_run(name: str, estate: str, runs: Path | None = None) -> History | None:
    """The run of that folder's name."""
    return next((past for past in _newest_first(estate, runs or rundir.runs_dir()) if past.name == name), None)


def abandon(run_dir: Path, by: str) -> None:
    """Write into a run's journal that it is never to be resumed. The caller holds the estate's lock."""
    with journal.Journal(run_dir) as ended:
        ended.write(Event.ABANDONED, by=by)


def _decides(past: History) -> bool:
    """One that was refused untouched says nothing of the run before it; that it overtakes it is told apart."""
    return not past.over or past.abandoned or past.outcome is Outcome.PASSED


def ways_on(procedure: str) -> str:
    """What to do instead of resuming a run that cannot be believed any more."""
    return f"start {procedure} afresh, without --resume; ./dr runbook.abandon --yes takes back what it left half done"


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
        run=opened.get("run", ""),
        last_at=records[-1].at,
        begun=frozenset(record.step for record in records if record.event == Event.STEP_STARTED and record.step),
        abandoned=any(record.event == Event.ABANDONED for record in records),
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
    """What they said when the run began, and what may be added later: a resumed run keeps its words.

    Consent is not kept: `yes` is only what is given now. Raises BadInput for a word that is not the run's own.
    """
    said = {name: value for name, value in past.options.items() if name in type(given).model_fields}
    said_now = given.model_fields_set & given.only_if_said
    now = {name: value for name, value in given if name in said_now or value != type(given).model_fields[name].default}
    _same_words(past, given, now.keys() - given.added_later - {"yes"})
    added = {name: value for name, value in now.items() if name in given.added_later}
    try:
        return type(given).model_validate({**said, **added, "yes": given.yes})
    except ValidationError:
        return given  # of another version, or masked


def _same_words(past: History, given: Options, names: Set[str]) -> None:
    plain = given.model_dump(mode="json")
    default = {name: field.default for name, field in type(given).model_fields.items()}
    for name in sorted(names):
        own = past.options.get(name, default[name])
        if own not in (plain[name], MASK):
            raise BadInput(
                f"{past.name} was begun with {name} {_shown(own)}, not with {_shown(plain[name])}",
                "--resume alone keeps the run's own words; for others start it afresh, without --resume",
            )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "empty"
    return str(value) if value not in ("", None) else "empty"


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
            if past and past.estate == estate and past.procedure not in NO_RUNS:
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
