"""The calendar as it stands: every promise of recovery.yaml, what the history says of it, and what runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from drills import gather
from drills.calendar.judge import Now, Row, State, Wanted, row
from drills.calendar.place import place_of
from drills.calendar.ways import Way, twins, ways
from drills.evidence import basis
from drills.evidence.checking import Checked
from drills.evidence.files import Files
from drills.evidence.results import read
from drills.scenarios.parts import PACKAGE
from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import LAB, Drilled, Drills
from inventories.inventory import HERE
from runbooks.hosts import Estate

_TWO = 2  # PostgreSQL hosts of a lab that nobody wanted otherwise


@dataclass(frozen=True)
class Ground:
    """What the calendar is held against. `places`: those that are here; `nodes`: PostgreSQL hosts that may be primary;
    `ticks`: TDengine is deployed; `behind`: a standby is delayed; `versions`: None where nobody says, and
    `versions_says` from where they are if not from the hosts.
    """

    places: tuple[str, ...]
    nodes: int
    ticks: bool
    versions: Mapping[str, str] | None
    versions_says: str
    behind: bool = False


@dataclass(frozen=True)
class Due:
    """`rows`: promises, then twins; `notes`: what is left out, and why; `troubles`: what is wrong with the history."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    troubles: tuple[str, ...]
    at: datetime

    @property
    def bad(self) -> tuple[Row, ...]:
        return tuple(one for one in self.rows if not one.good)

    @property
    def grown(self) -> tuple[Row, ...]:
        return tuple(one for one in self.rows if one.grown)

    @property
    def kept(self) -> bool:
        """A calendar without a row proves nothing."""
        return bool(self.rows) and not self.bad and not self.troubles

    def count(self, state: State) -> int:
        return sum(one.state is state for one in self.rows)


def due(checked: Checked, kept: Files, ground: Ground, at: datetime) -> Due:
    """Hold recovery.yaml against a history that was read."""
    told = [one for record in checked.records if (one := read(record))]
    drills = load_recovery().drills
    now = Now(at, cache(_changes(kept)), ground.versions, drills.trend)
    wanted, notes = _wanted(drills, ground)
    rows = tuple(row(one, told, now) for one in wanted)
    return Due(rows, (*notes, ground.versions_says), checked.troubles, at)


def look(estate: Estate | None, checked: Checked) -> Ground:
    """What is here now; hosts that are away are not waited for, and what they last ran is read from the history."""
    says = ""
    versions: Mapping[str, str] = gather.versions(estate) if estate else {}
    if not versions:
        versions, says = _last_known(place_of(estate) if estate else LAB, checked)
    asked = os.environ.get("DR_LAB_POSTGRES", "")
    nodes = len(estate.candidates) if estate else int(asked) if asked.isdigit() else _TWO
    ticks = bool(estate.groups.get("tdengine")) if estate else bool(os.environ.get(PACKAGE))
    behind = bool(estate.delayed) if estate else bool(os.environ.get("DR_LAB_DELAY"))
    return Ground(_places(estate), nodes, ticks, versions or None, says, behind)


def worst_first(found: Due) -> list[Row]:
    """What is due; promises before twins, and what was never shown before what was."""
    order = [State.FAILED, State.NEVER, State.OVERDUE, State.UNKNOWN, State.STALE]
    return sorted(found.bad, key=lambda one: (one.wanted.twin, order.index(one.state)))


def as_json(found: Due) -> dict[str, Any]:
    """Rows with everything that the table shows, for another program."""
    return {
        "at": found.at.isoformat(),
        "kept": found.kept,
        "drills": [_row_json(one) for one in found.rows],
        "troubles": list(found.troubles),
        "notes": [note for note in found.notes if note],
    }


def _row_json(one: Row) -> dict[str, Any]:
    wanted, last = one.wanted, one.last
    return {
        "promise": wanted.promise, "scenario": wanted.scenario, "place": wanted.place, "twin": wanted.twin,
        "every_s": wanted.every_s, "state": one.state.value, "why": list(one.why), "age_s": one.age_s,
        "last": last.model_dump(mode="json") if last else None, "grown": one.grown, "command": wanted.command,
    }  # fmt: skip


def _changes(kept: Files) -> Callable[[str], tuple[str, ...] | None]:
    here = basis.Here()

    def changes(name: str) -> tuple[str, ...] | None:
        found = basis.load(kept.basis(name), name) if name else None
        return basis.changes(found, here) if found else None

    return changes


def _last_known(place: str, checked: Checked) -> tuple[Mapping[str, str], str]:
    for record in reversed(checked.records):
        told = read(record)
        if told and told.place == place and told.versions:
            return told.versions, f"No host answers: versions are those of the newest drill in {place}, {told.run}."
    return {}, "No host answers, and no drill says which versions run."


def _places(estate: Estate | None) -> tuple[str, ...]:
    here = [place for place in ("staging", "production") if (HERE / f"{place}.py").is_file()]
    own = [place_of(estate)] if estate else []
    return tuple(dict.fromkeys((LAB, *here, *own)))


def _wanted(drills: Drills, ground: Ground) -> tuple[list[Wanted], list[str]]:
    """Cells that are to be held, and sentences for those that are not."""
    cells: list[Wanted] = []
    elsewhere: dict[str, int] = {}
    absent: list[str] = []
    for promise, places in drills.calendar.items():
        possible = [way for way in ways(promise) if way.fits(ground.nodes, ground.behind)]
        fitting = [way for way in possible if ground.ticks or not way.ticks]
        if not fitting and ways(promise):
            absent.append(promise)
            continue
        for place, drilled in places.items():
            if place in ground.places:
                cells += _cells(promise, place, drilled, fitting)
            else:
                elsewhere[place] = elsewhere.get(place, 0) + 1
    cells += [
        Wanted(name, name, LAB, drills.twins_s, command, twin=True)
        for name, command in twins(ticks=ground.ticks, nodes=ground.nodes, behind=ground.behind)
    ]
    return cells, list(_left_out(absent, elsewhere))


def _cells(promise: str, place: str, drilled: Drilled, fitting: Sequence[Way]) -> list[Wanted]:
    if place != LAB:
        return [Wanted(promise, drilled.by, place, drilled.every_s, _recording(promise, place, drilled))]
    if not fitting:
        return [Wanted(promise, promise, place, drilled.every_s, "")]
    return [Wanted(promise, way.scenario, place, drilled.every_s, way.command) for way in fitting]


def _recording(promise: str, place: str, drilled: Drilled) -> str:
    consent = ' --consent "WHO: WHY"' if drilled.consent else ""
    inventory = f" --inventory {place}"
    return f"./dr {drilled.by}{inventory}, then ./dr drills.record --promise {promise}{inventory}{consent}"


def _left_out(absent: Sequence[str], elsewhere: Mapping[str, int]) -> Iterator[str]:
    if absent:
        yield f"Left out, because this estate has not what they need: {', '.join(absent)}."
    for place, number in elsewhere.items():
        drills = "1 drill of it is" if number == 1 else f"{number} drills of it are"
        yield f"There is no inventory {place} here, so {drills} left out."


