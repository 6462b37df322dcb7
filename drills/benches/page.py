"""Measure the page of a year of drills: made up here, signed, read, held against the calendar, drawn. No lab."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drills.benches.headline import Bench, Figure
from drills.board import page
from drills.board.facts import Facts
from drills.calendar import due as calendar
from drills.calendar.due import Ground
from drills.calendar.ways import ways
from drills.evidence import checking, results
from drills.evidence.basis import Basis
from drills.evidence.files import Files
from drills.evidence.results import Kind, Told
from drills.history import Entry, What
from drills.judging.result import Outcome
from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import LAB
from inventories.errors import BadInput
from runbooks.engine import journal
from runbooks.judge.feasibility import RUNBOOKS
from runbooks.look import measurements

LEAST = 100  # drills, below which it is no history
TARGET_S, TARGET_KIB = 1.0, 300.0
_AT = "2026-01-01T00:00:00+00:00"
_ESTATE, _NODES, _DAYS = "lab-bench", 2, 365
VERSIONS = {"postgresql-17": "17.12-1", "pgbackrest": "2.55.1-1"}


def bench(runs: int, rounds: int, say: Callable[[str], None]) -> Bench:
    """Of a history of so many drills. Raises BadInput."""
    if runs < LEAST or rounds < 1:
        raise BadInput(f"a history of {runs} drills in {rounds} rounds would measure nothing", "--rows 1000 --runs 5")
    with tempfile.TemporaryDirectory() as scratch:
        kept = Files(Path(scratch) / "runs", Path(scratch) / "state", Path(scratch) / "runs" / "evidence")
        say(f"making up a year of {runs:,} drills")
        at, written = datetime.now(UTC), []
        for one in year(kept, runs, at):
            started = time.perf_counter()
            results.add(one, kept)
            written.append(time.perf_counter() - started)
        _journals(kept.runs, runs)
        each = [_round(kept, at, Path(scratch) / "page", say, number + 1) for number in range(rounds)]
    names = list(each[0])
    targets = {"the page, all of it": TARGET_S, "size of the page": TARGET_KIB}
    units = {"size of the page": "KiB"}
    recorded = Figure("one drill recorded, signed and on disk", "ms", tuple(seconds * 1000 for seconds in written))
    timed = (
        Figure(name, units.get(name, "s"), tuple(one[name] for one in each), targets.get(name), every=True)
        for name in names
    )
    return Bench((recorded, *timed), VERSIONS)


def year(kept: Files, runs: int, at: datetime) -> Iterator[Told]:
    """So many drills that passed, over a year up to `at`, of every promise that two PostgreSQL hosts have."""
    rests_on = results.keep(kept, Basis(files={}, catalogue={}))
    promised = load_recovery().scenarios
    drilled = [(promise, way.scenario) for promise in promised for way in ways(promise) if _here(promise, way.scenario)]
    for nr in range(runs):
        promise, scenario = drilled[nr % len(drilled)]
        began = at - timedelta(days=_DAYS * (runs - nr) / runs)
        yield Told(
            kind=Kind.DRILL, run=f"{began:%Y%m%dT%H%M%SZ}-drill-{scenario}", file=results.RESULT, sha256="0" * 64,
            estate=_ESTATE, place=LAB, promise=promise, scenario=scenario, started_at=began, duration_s=90.0,
            outcome=Outcome.PASSED, rto_s=1.5 + nr % 7 / 10, promised_rto_s=promised[promise].rto_s, acked=180_000,
            lost=0, duplicated=0, checks_passed=150, versions=VERSIONS, basis=rests_on, by="bench", acted="operator",
        )  # fmt: skip


def _here(promise: str, scenario: str) -> bool:
    return any(way.scenario == scenario and way.fits(_NODES) and not way.ticks for way in ways(promise))


def _journals(runs: Path, number: int) -> None:
    """Of the runbooks that those drills ran: every one is there, and few are read."""
    names = (*sorted(set(RUNBOOKS.values())), "failover", "rejoin")
    for nr in range(number):
        name = names[nr % len(names)]
        folder = runs / f"2026{nr:04}T000000Z-drill" / "runbooks" / f"2026{nr:04}T000000Z-{name}"
        folder.mkdir(parents=True)
        opened = {"procedure": name, "estate": _ESTATE, "steps": ["assess"]}
        done = {"started": 0.0, "seconds": 1.0, "says": "done", "state": {"bytes": 1}}
        events = [("opened", None, opened), *[("step_done", "assess", done)] * 30]
        lines = [
            json.dumps({"seq": seq, "at": _AT, "mono": 0.0, "event": event, "step": step, "data": data})
            for seq, (event, step, data) in enumerate(events, 1)
        ]
        (folder / journal.FILE_NAME).write_text("\n".join(lines) + "\n")


def _round(kept: Files, at: datetime, out: Path, say: Callable[[str], None], number: int) -> dict[str, float]:
    """Seconds of each part, as `./dr page` does them, without the hosts that it asks meanwhile."""
    say(f"round {number}")
    marks = [time.perf_counter()]
    checked = checking.check(kept)
    told = tuple(one for record in checked.records if (one := results.read(record)))
    marks.append(time.perf_counter())
    due = calendar.due(checked, kept, Ground((LAB,), _NODES, False, VERSIONS, ""), at)
    marks.append(time.perf_counter())
    measurements.ran(_ESTATE, kept.runs)
    marks.append(time.perf_counter())
    drawn = Facts(
        estate=_ESTATE, at=at, stale_s=1800, now=None, due=due, told=told, records=len(told), keys=checked.keys,
        plan=(), backups=tuple(_backups(at)), max_gap_s=26 * 3600, why_not_seen="nobody was asked",
    )  # fmt: skip
    path = page.write(drawn, out)
    marks.append(time.perf_counter())
    names = ("every signature checked", "the calendar held against it", "journals of runs read", "the page drawn")
    parts = {name: after - before for name, before, after in zip(names, marks, marks[1:], strict=False)}
    return {**parts, "the page, all of it": marks[-1] - marks[0], "size of the page": path.stat().st_size / 1024}


def _backups(at: datetime) -> Iterator[Entry]:
    for day in range(_DAYS):
        kind = "full" if day % 7 == 0 else "incr"
        yield Entry(at - timedelta(days=day), What.BACKUPS, f"postgresql {kind}", _ESTATE, "passed", 4.0, "proven")
