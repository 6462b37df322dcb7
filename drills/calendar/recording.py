"""Take a runbook's run into the history as the drill of a promise, where nothing is broken on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from drills import gather
from drills.calendar.place import place_of
from drills.calendar.ways import ways
from drills.evidence import basis, checking, results
from drills.evidence.chain import Record
from drills.evidence.files import Files
from drills.evidence.imports import ROOT
from drills.evidence.results import Kind, Told
from drills.judging.result import Outcome
from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import LAB, Drilled
from inventories.errors import BadInput, Refused
from runbooks.engine import journal
from runbooks.engine.history import History, read_history
from runbooks.hosts import Estate

_CALENDAR = "the calendar is drills.calendar in inventories/catalog/recovery.yaml"


def record(estate: Estate, promise: str, run: str, consent: str, kept: Files) -> Record:
    """The newest finished run of its runbook on this estate, or that of the name `run`.

    Raises BadInput for what the calendar does not have, a run that is not there or not over, and where consent is
    missing; Refused for a run that is in the history already.
    """
    place = place_of(estate)
    drilled = _entry(promise, place)
    if drilled.consent and not consent.strip():
        raise BadInput(
            f"{promise} is drilled in {place} with somebody's consent only, and none was given",
            '--consent "WHO: WHY" says who agreed, and to what',
        )
    past = _run(estate, drilled.by, run, kept.runs)
    told = _told(estate, place, promise, past, consent.strip(), kept)
    _require_new(told, kept)
    return results.add(told, kept)


def _entry(promise: str, place: str) -> Drilled:
    calendar: Mapping[str, Mapping[str, Drilled]] = load_recovery().drills.calendar  # type: ignore[assignment]
    if place == LAB:
        raise BadInput("what is drilled in a lab is recorded by itself", "./dr drill runs one")
    found = calendar.get(promise, {}).get(place)
    if found is None:
        there = ", ".join(name for name, places in calendar.items() if place in places) or "none"
        raise BadInput(f"the calendar drills no {promise!r} in {place}; there it has {there}", _CALENDAR)
    return found


def _run(estate: Estate, procedure: str, name: str, runs: Path) -> History:
    found = [
        past
        for path in sorted(runs.glob(f"*/{journal.FILE_NAME}"), reverse=True)
        if (not name or path.parent.name == name) and (past := _read(path.parent))
        and (past.procedure, past.estate) == (procedure, estate.name)
    ]  # fmt: skip
    over = [past for past in found if past.outcome is not None]
    if not over:
        what = f"run {name!r}" if name else "finished run"
        raise BadInput(f"there is no {what} of {procedure} on {estate.name}", f"./dr {procedure} runs it")
    return max(over, key=lambda past: past.opened_at)


def _read(folder: Path) -> History | None:
    try:
        return read_history(folder)
    except (BadInput, KeyError, ValueError):
        return None


def _told(estate: Estate, place: str, promise: str, past: History, consent: str, kept: Files) -> Told:
    began = datetime.fromisoformat(past.opened_at)
    lasted = datetime.fromisoformat(past.last_at) - began
    stores = {"tdengine" if way.ticks else "postgresql" for way in ways(promise)}
    rests_on = basis.take({past.procedure}, promise, stores, _since(began))
    return Told(
        kind=Kind.RUN, run=past.name, file=journal.FILE_NAME,
        sha256=results.sha256_of(past.run_dir / journal.FILE_NAME),
        estate=estate.name, place=place, promise=promise, scenario=past.procedure, started_at=began,
        duration_s=round(lasted.total_seconds(), 3), outcome=Outcome(str(past.outcome)),
        checks_passed=len(past.done), versions=gather.versions(estate), basis=results.keep(kept, rests_on),
        by=results.who(), consent=consent,
    )  # fmt: skip


def _since(began: datetime) -> Mapping[str, str]:
    """The code as it was when the run began, as far as its files are not younger: what is, it may not have run with."""
    return {
        name: digest
        for name, digest in basis.before().items()
        if datetime.fromtimestamp((ROOT / name).stat().st_mtime, UTC) <= began
    }


def _require_new(told: Told, kept: Files) -> None:
    for one in checking.check(kept).records:
        if one.told.get("sha256") == told.sha256 and one.told.get("promise") == told.promise:
            raise Refused(f"{told.run} is in the history already, as record {one.seq}", "./dr history --what drills")
