"""What the page is made of, asked of everybody at once: the estate, its backups, the history, the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from drills.calendar import due as calendar
from drills.calendar.due import Due
from drills.evidence.checking import check
from drills.evidence.files import Files
from drills.evidence.results import Told, read
from drills.history import Entry, backups
from inventories.catalog.load import load_recovery
from inventories.errors import DrError
from runbooks.engine.rundir import runs_dir
from runbooks.hosts import Estate
from runbooks.judge import objectives
from runbooks.judge.feasibility import Answer
from runbooks.judge.finding import Finding
from runbooks.judge.objectives import Loss
from runbooks.look import plan as planning
from runbooks.look import status
from runbooks.look.measurements import LATEST
from runbooks.look.status import Status

T = TypeVar("T")
NO_LAB = "there is no lab, and no inventory was named"


@dataclass(frozen=True)
class Seen:
    """The estate as `./dr status` judges it."""

    status: Status
    findings: tuple[Finding, ...]
    degraded: tuple[str, ...]
    loss: Loss


@dataclass(frozen=True)
class Facts:
    """Everything that the page tells, as it was at `at`. What nobody told is None, and a sentence says why.

    `told`: results of drills, oldest first; `stale_s`: how long the page counts.
    """

    estate: str
    at: datetime
    stale_s: float
    now: Seen | None
    due: Due
    told: tuple[Told, ...]
    records: int
    keys: tuple[str, ...]
    plan: tuple[Answer, ...] | None
    backups: tuple[Entry, ...] | None
    max_gap_s: float  # between two backups
    why_not_seen: str = ""
    why_no_plan: str = ""
    why_no_backups: str = ""


def gather(estate: Estate | None, kept: Files) -> Facts:
    """Ask everybody at the same time; nobody who is away is waited for longer than `./dr status` would."""
    checked, recovery = check(kept), load_recovery()
    told = tuple(one for record in checked.records if (one := read(record)))
    with ThreadPoolExecutor(4) as pool:
        ground = pool.submit(calendar.look, estate, checked)
        seen = pool.submit(_asked, estate, _seen)
        plan = pool.submit(_asked, estate, lambda one: planning.answers(one, runs_dir(), _rtos(told, one.name)))
        there = pool.submit(_asked, estate, lambda one: tuple(backups(one)))
        (now, why_not_seen), (answers, why_no_plan) = seen.result(), plan.result()
        listed, why_no_backups = there.result()
        at = datetime.now(UTC)
        due = calendar.due(checked, kept, ground.result(), at)
    return Facts(
        estate=estate.name if estate else "", at=at, stale_s=recovery.page.stale_min * 60, now=now, due=due, told=told,
        records=len(checked.records), keys=checked.keys, plan=answers, backups=listed,
        max_gap_s=recovery.limits.max_backup_age_h * 3600, why_not_seen=why_not_seen, why_no_plan=why_no_plan,
        why_no_backups=why_no_backups,
    )  # fmt: skip


def _asked(estate: Estate | None, ask: Callable[[Estate], T]) -> tuple[T | None, str]:
    """The answer, or why there is none."""
    if estate is None:
        return None, NO_LAB
    try:
        return ask(estate), ""
    except DrError as error:
        return None, str(error)


def _seen(estate: Estate) -> Seen:
    found = status.look(estate)
    limits = load_recovery().limits
    return Seen(
        found, objectives.findings(found, limits), objectives.degraded(found), objectives.possible_loss(found)
    )


def _rtos(told: Sequence[Told], estate: str) -> Mapping[str, Sequence[float]]:
    """Scenario -> RTO of the newest drills of this estate that passed; what was made to fail is none."""
    found: dict[str, list[float]] = {}
    for one in reversed(told):
        mine = one.estate == estate and one.passed and not one.twin and one.scenario
        if mine and one.rto_s is not None and len(found.setdefault(one.scenario, [])) < LATEST:
            found[one.scenario].append(one.rto_s)
    return found
