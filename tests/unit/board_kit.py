"""Facts for the page, and pages to look at.

python tests/unit/board_kit.py FOLDER     writes FOLDER/{good,bad,unknown,empty,year}/index.html
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drills.benches import page as bench_page
from drills.board.facts import Facts, Seen
from drills.board.page import write
from drills.calendar import due as calendar
from drills.calendar.due import Ground
from drills.calendar.ways import twins, ways
from drills.evidence import basis
from drills.evidence.checking import check
from drills.evidence.results import Told, keep, read
from drills.history import Entry, What
from drills.judging.result import Outcome
from inventories.catalog.load import load_recovery
from runbooks.judge import objectives
from runbooks.judge.feasibility import Answer, Part, Verdict, Way
from runbooks.look.status import Status
from runbooks.probes.jobs import Job
from tests.unit.evidence_kit import NOW, VERSIONS, History, history, told
from tests.unit.test_objectives import ALONE, JOBS, OFF, OUTBOX, REPOSITORY, WHOLE

LOST = "1 of 165,251 acknowledged rows is lost in order_records"
GROUND = Ground(("lab",), 2, False, VERSIONS, "")
NOTHING = basis.Basis(files={}, catalogue={})  # a proof that rests on nothing that could change
PROVEN = Job("prove", "30 23 * * *", NOW.timestamp() - 7200, "passed", NOW.timestamp() - 7200, None, "proven", "/log")


def status(seen: Status = WHOLE) -> Status:
    """As of NOW."""
    newest = replace(REPOSITORY.backups[0], stopped_at=int(NOW.timestamp()) - 3600)
    jobs = replace(JOBS, jobs=(*JOBS.jobs, PROVEN))
    return replace(seen, at=NOW.timestamp(), repository=replace(REPOSITORY, backups=(newest,)), jobs=jobs)


def seen(what: Status) -> Seen:
    limits = load_recovery().limits
    return Seen(what, objectives.findings(what, limits), objectives.degraded(what), objectives.possible_loss(what))


def promised() -> list[tuple[str, float, str]]:
    """(promise, its RTO, scenario) of what this estate can drill."""
    return [
        (promise, one.rto_s, way.scenario)
        for promise, one in load_recovery().scenarios.items()
        for way in ways(promise)
        if way.fits(GROUND.nodes) and not way.ticks
    ]


def every_drill(kept: History, days_ago: float = 1, **other: object) -> list[Told]:
    """One that passed of each promise and each twin that this estate has."""
    rests_on = keep(kept.files, NOTHING)
    fits = [
        told(name, days_ago, promise=promise, basis=rests_on, promised_rto_s=rto_s, **other)
        for promise, rto_s, name in promised()
    ]
    held = {"held": True, "outcome": Outcome.FAILED}
    return fits + [told(twin=name, days_ago=days_ago, **held) for name, _ in twins(ticks=False, nodes=GROUND.nodes)]


def backups(days: int = 12, missing: Sequence[int] = ()) -> tuple[Entry, ...]:
    """A full one a week and an incremental a day, up to an hour before NOW."""
    return tuple(
        Entry(
            NOW - timedelta(days=day, hours=1), What.BACKUPS, f"postgresql {'full' if day % 7 == 5 else 'incr'}",
            "lab-lab", "passed", 4.0, f"2026-{day}: " + ("never proven" if day < 2 else "proven 2026-11-27 23:40"),
        )
        for day in range(days) if day not in missing
    )  # fmt: skip


def plan(verdict: Verdict = Verdict.FITS, names: Sequence[str] = ("primary-crash", "bad-update")) -> tuple[Answer, ...]:
    seconds = {Verdict.FITS: 3.0, Verdict.TOO_SLOW: 300.0, Verdict.UNKNOWN: None}[verdict]
    part = (Part("restore", seconds, "said so"),)
    return tuple(Answer(name, 60, Way.SIDE, part, verdict, "faster disks") for name in names)


def facts(kept: History, what: Status | None = None, **changes: object) -> Facts:
    """What the history has, of a whole estate unless another was seen."""
    checked = check(kept.files)
    results = tuple(one for record in checked.records if (one := read(record)))
    made = Facts(
        estate="lab-lab", at=NOW, stale_s=1800, now=seen(what or status()),
        due=calendar.due(checked, kept.files, GROUND, NOW), told=results, records=len(checked.records),
        keys=checked.keys, plan=plan(), backups=backups(), max_gap_s=26 * 3600,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def good(root: Path) -> Facts:
    kept = history(root)
    chance = random.Random(7)
    for days in range(8, 0, -1):
        for one in every_drill(kept, days):
            kept.add(one.model_copy(update={"rto_s": round(chance.uniform(1.3, 1.9), 2)}))
    return facts(kept)


def bad(root: Path) -> Facts:
    """The standby is out, a drill failed, one is overdue, one was never run, one grew slower, backups have a gap."""
    kept = history(root)
    drills = [one for one in every_drill(kept, 1) if one.scenario != "disk-full"]
    for days in range(20, 8, -1):
        kept.add(*(one.model_copy(update={"started_at": NOW - timedelta(days=days)}) for one in drills))
    late = {"site-power-loss", "app-disk-loss"}
    kept.add(*(one for one in drills if one.scenario not in {*late, "bad-update", "primary-crash"}))
    kept.add(told("bad-update", 0.5, outcome=Outcome.FAILED, reason=LOST))
    kept.add(told("primary-crash", 0.5, rto_s=4.4, basis=keep(kept.files, NOTHING)))
    lone = replace(status(WHOLE), nodes=(ALONE, OFF), outbox=replace(OUTBOX, pending_rows=1234, oldest_age_s=90.0))
    lone = replace(lone, tracker_outbox=replace(OUTBOX, pending_rows=77))
    return facts(
        kept, lone, backups=backups(missing=(3, 4, 5)), plan=(*plan(Verdict.TOO_SLOW, ["cluster-loss"]), *plan()),
    )  # fmt: skip


def unknown(root: Path) -> Facts:
    """Every proof is of other versions, and the backup host does not answer."""
    kept = history(root)
    kept.add(*every_drill(kept, 1, versions={"postgresql-17": "17.11-1"}))
    why = "backup1 does not answer at 192.0.2.31"
    return facts(kept, backups=None, plan=None, why_no_backups=why, why_no_plan=why)


def empty(root: Path) -> Facts:
    """A machine on which nothing was ever run."""
    why = "there is no lab, and no inventory was named"
    none = {"now": None, "backups": None, "plan": None}
    return facts(history(root), estate="", **none, why_not_seen=why, why_no_backups=why, why_no_plan=why)


def year(root: Path, runs: int = 1000) -> Facts:
    """A thousand drills."""
    kept = history(root)
    kept.add(*bench_page.year(kept.files, runs, NOW))
    return facts(kept, backups=backups(days=365))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for kind in (good, bad, unknown, empty, year):
            shown = replace(kind(Path(scratch) / kind.__name__), at=datetime.now(UTC))
            write(shown, Path(sys.argv[1]) / kind.__name__)
