"""The gate: headline figures as ratios, held to the record of `docs/figures.yaml`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from drills import gather, prepare
from drills.benches import figures, pages
from drills.benches.figures import TOLERANCE, Judged, Measured, Record, Verdict
from drills.benches.headlines import SIZES, Headlines
from inventories.catalog.load import shown
from inventories.errors import BadInput
from lab import containers, down
from lab.containers import ContainerState
from lab.machine import ensure_engine
from lab.spec import HOSTS, container_name, lab_name
from runbooks import hosts
from runbooks.engine.rundir import REPOSITORY

Say = Callable[[str], None]
RECORD = REPOSITORY / "docs" / "figures.yaml"
README = REPOSITORY / "README.md"
_PACKAGES = ("postgresql-", "timescaledb", "pgbackrest")


@dataclass(frozen=True)
class Gate:
    """What was asked of it. Raises BadInput for what cannot be."""

    names: tuple[str, ...]
    tolerance: float = TOLERANCE
    tries: int = 1
    record: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 10:
            raise BadInput(f"a tolerance of {self.tolerance:g} holds nothing", "--tolerance 0.5 lets half more pass")
        if not 1 <= self.tries <= 5:
            raise BadInput(f"{self.tries} tries judge nothing", "--tries 2 fails only when two in a row are worse")
        if self.reason and not self.record:
            raise BadInput("--reason is for a record and none is asked for", "--record --reason TEXT")


@dataclass(frozen=True)
class Passed:
    """What a gate found: the newest judgement of each figure, and what the hosts ran."""

    judged: tuple[Judged, ...]
    versions: Mapping[str, str]

    @property
    def worse(self) -> tuple[Judged, ...]:
        return tuple(one for one in self.judged if one.verdict is Verdict.WORSE)


def read(wanted: Gate, path: Path = RECORD) -> Record:
    """The record that the gate holds to; none is needed where one is made. Raises BadInput."""
    if wanted.record:
        _require_writable(path)
    if wanted.record and not path.exists():
        return Record(version=1, figures={})
    record = figures.load(path)
    if not wanted.record:
        figures.require(record, wanted.names, path)
    return record


def _require_writable(path: Path) -> None:
    """Before minutes are spent on measuring what could not be kept."""
    target = path.resolve()
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise BadInput(f"{shown(path)} cannot be written, so nothing could be recorded", f"ls -ld {target}")


def run(wanted: Gate, record: Record, lab: str, say: Say) -> Passed:
    """Measure in this lab, or in one that is made for it and removed. Raises BadInput for a lab that lacks a host."""
    with _lab(lab, say):
        prepare.estate(lab, say)
        headlines = Headlines(lab, hosts.load("lab"), say)
        judged = judge_again(wanted, record, headlines.measure, say)
        return Passed(judged, gather.versions(headlines.estate))


def judge_again(
    wanted: Gate, record: Record, measure: Callable[[tuple[str, ...]], tuple[Measured, ...]], say: Say
) -> tuple[Judged, ...]:
    """Judge every figure. One that is worse is measured again, up to so many tries; it fails when all of them are."""
    judged = {one.name: one for one in figures.judge(measure(wanted.names), record, wanted.tolerance)}
    for _ in range(wanted.tries - 1):
        again = tuple(name for name, one in judged.items() if one.verdict is Verdict.WORSE)
        if not again:
            break
        say(f"{'; '.join(judged[name].sentence() for name in again)}: measured once more")
        judged |= {one.name: one for one in figures.judge(measure(again), record, wanted.tolerance)}
    return tuple(judged.values())


def keep(wanted: Gate, record: Record, found: Passed, path: Path = RECORD, readme: Path = README) -> Record:
    """Write what is better, or worse with a reason, into the record, and the record into the README."""
    machine = gather.machine()
    shown = f"{machine.cores} cores, {machine.memory_gib:g} GiB, Linux {machine.kernel}, {machine.container_engine}"
    packages = (f"{name} {number}" for name, number in sorted(found.versions.items()) if name.startswith(_PACKAGES))
    new = figures.recorded(
        record, found.judged, datetime.now(UTC).date(), ", ".join(packages) or "unknown", shown, SIZES, wanted.reason
    )
    if not new.figures:
        raise BadInput("no figure was measured to its end, so there is nothing to record", "./dr status shows why")
    if new != record:
        figures.write(new, path)
        pages.write(readme, "figures", figures.table(new))
    return new


def as_document(found: Passed) -> dict[str, object]:
    """What bench/<timestamp>.json keeps of it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(gather.machine()),
        "versions": dict(found.versions),
        "gate": [
            asdict(one.measured)
            | {
                "times": one.measured.times if math.isfinite(one.measured.times) else None,
                "record": one.reached and one.reached.times,
                "verdict": one.verdict.value,
            }
            for one in found.judged
        ],
    }


@contextmanager
def _lab(lab: str, say: Say) -> Iterator[None]:
    """The lab as it stands, whole; where nothing of it is there, one of our own for as long as this takes.

    Of a lab whose hosts are all lost (the machine was restarted around it) nothing is there.
    """
    boxes = containers.of_lab(ensure_engine(say), lab_name(lab))
    if any(box.state is not ContainerState.LOST for box in boxes.values()):
        running = {name for name, box in boxes.items() if box.state is ContainerState.RUNNING}
        away = [host.name for host in HOSTS if container_name(lab, host.name) not in running]
        if away:
            raise BadInput(
                f"lab {lab} lacks {', '.join(away)}, so the gate would measure half an estate",
                f"./dr lab.up --lab {lab} completes it; another --lab name makes one for the gate alone",
            )
        yield
        return
    try:
        yield
    finally:
        down.down(lab, say)
