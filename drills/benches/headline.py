"""Measure what the product promises, side by side in one run, on this machine: never a test, always a table."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from deploys import run as deploys
from drills import gather, prepare
from drills.benches import moments
from drills.benches.full_speed import rows_per_s
from drills.benches.own_lab import own_lab
from drills.judging.result import DrillResult, Outcome
from drills.run import Plan, drill
from drills.scenarios.catalogue import scenario
from inventories.errors import BadInput
from lab import image, status, up
from lab.engine import find_engine
from runbooks import hosts
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.verify import EVERYTHING, verify
from runbooks.procedures.postgresql.failover import RECORD_NOTED

T = TypeVar("T")
OTHERS = ("primary-crash", "standby-loss", "primary-partition", "primary-partition-unfenced", "planned-switchover")
PHASES = ("gate", "assess", "fence", "promote", "write-path")


@dataclass(frozen=True)
class Figure:
    """One measured thing. `values` are all runs, in `unit`; `target` is what the issue asks for, None for none."""

    name: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    at_least: bool = False
    every: bool = False  # the target holds for every run, not for the median

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        return min(self.values) if self.at_least or self.unit == "rows/s" else max(self.values)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        judged = self.worst if self.every else self.median
        return judged >= self.target if self.at_least else judged <= self.target


@dataclass(frozen=True)
class Bench:
    """What one benchmark measured, the versions of what ran, and why it has failed, where it has."""

    figures: tuple[Figure, ...]
    versions: Mapping[str, str]
    failed: tuple[str, ...] = ()


def bench(
    lab: str, runs: int, say: Callable[[str], None], *, build_image: bool, rate: float, targets: int = 20
) -> Bench:
    """Bare containers to a drilled estate, in a lab of its own that is removed afterwards."""
    if runs < 1:
        raise BadInput(f"{runs} drills would measure nothing", "--runs 5 is the default")
    if targets < 1:
        raise BadInput(f"{targets} points in time would measure nothing", "--targets 20 is the default")
    Plan(rate=rate)
    engine = find_engine()
    figures: list[Figure] = []
    with own_lab(engine, lab, say):
        if build_image:
            figures.append(_once("image build", "s", lambda: image.build_anew(engine, say)))
        ready = _once("lab up", "s", lambda: up.up(lab, say))
        say("provisioning the bare hosts")
        deployed = _once("first deploy of four hosts", "s", lambda: prepare.estate(lab, say))
        say("verifying")
        verified = _once(
            "verification",
            "s",
            lambda: verify(
                EVERYTHING,
                run_dir=new_run_dir("bench-verify"),
                budget="verify",
                env={"DR_INVENTORY": "lab", "DR_LAB": lab},
            ),
        )
        whole = sum(figure.values[0] for figure in (ready, deployed, verified))
        figures += [ready, deployed, verified, Figure("bare containers to verified estate", "s", (whole,), target=150)]
        figures += _deploys(say)
        figures.append(
            Figure(
                "memory of the whole lab",
                "MiB",
                (sum(host.memory_bytes or 0 for host in status.look(lab)) / 2**20,),
                target=3072,
            )
        )
        figures.append(_feed(lab, rate, say))
        figures += _moments(targets, say)
        figures += _drills(lab, runs, say)
        figures += _others(lab, say)
        versions = gather.versions(hosts.load("lab"))
    return Bench(tuple(figures), versions)


def _deploys(say: Callable[[str], None]) -> list[Figure]:
    """No-change deploys: all hosts, then one, two and three of them, for the price of a host more."""
    say("no-change deploys")
    names = [host.name for host in hosts.load("lab").hosts]
    full = tuple(_seconds(lambda: deploys.deploy("lab")) for _ in range(3))
    fewer = {count: _seconds(lambda count=count: deploys.deploy("lab", limit=names[:count])) for count in (1, 2, 3)}  # type: ignore[misc]
    slope = (statistics.median(full) - fewer[1]) / (len(names) - 1)
    return [
        Figure("no-change deploy of four hosts", "s", full, target=12),
        Figure("no-change deploy, a host more", "s", (slope,)),
    ]


def _feed(lab: str, rate: float, say: Callable[[str], None]) -> Figure:
    """Rows a second that the store acknowledges when the feed is not held back."""
    say("feed at full speed")
    rows = rows_per_s(hosts.load("lab"), rate, 10.0, new_run_dir("bench-feed"), say)
    return Figure("feed, rows acknowledged by the synchronous store", "rows/s", (rows,), target=5000, at_least=True)


def _moments(count: int, say: Callable[[str], None]) -> list[Figure]:
    """Random points in time under load, each restored beside the primary and compared with the primary's own WAL."""
    say(f"{count} random points in time")
    folder = new_run_dir("bench-pitr")
    hits = moments.shoot(hosts.load("lab"), count, int(time.time()), folder, say)
    reached = float(sum(not hit.wrong for hit in hits))
    return [
        Figure(f"of {count} random points in time under load, reached exactly", "", (reached,), count, at_least=True),
        Figure("restore-pitr beside the primary", "s", tuple(hit.seconds for hit in hits)),
    ]


def _drills(lab: str, runs: int, say: Callable[[str], None]) -> list[Figure]:
    """`primary-power-loss`, the kill at a random moment each time."""
    results: list[DrillResult] = []
    waited: list[float] = []
    for nr in range(1, runs + 1):
        say(f"drill {nr} of {runs}")
        result, folder = drill(scenario("primary-power-loss"), lab, lambda _sentence: None, Plan())
        say(f"drill {nr}: {result.outcome.value}, RTO {result.rto_s} s, lost {result.lost}; {folder.name}")
        if result.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        results.append(result)
        waited.append(_waited_for_the_record(folder))
    figures = [
        of_drills(results, "drills that did not pass", "", lambda r: float(r.outcome.value != "passed"), 0, every=True),
        of_drills(results, "rows lost", "rows", lambda r: r.lost, 0, every=True),
        of_drills(results, "rows duplicated", "rows", lambda r: r.duplicated, 0, every=True),
        of_drills(results, "RTO, longest pause of the store", "s", lambda r: r.rto_s, 5),
        of_drills(results, "detection", "s", lambda r: r.detection_s),
        of_drills(results, "failover started to first row on the new primary", "s", lambda r: r.rto_from_failover_s, 1),
        Figure("of that, waited for the estate record", "ms", tuple(waited), 50),
        of_drills(results, "longest wait for any acknowledgement", "s", lambda r: r.max_ack_gap_s, 1, every=True),
        of_drills(
            results,
            "rows acknowledged a second across the fault",
            "rows/s",
            lambda r: r.rows_per_s,
            5000,
            at_least=True,
        ),
    ]
    phases = (of_drills(results, f"phase {name}", "s", partial(_phase, name=name)) for name in PHASES)
    return [*figures, *phases]


def _waited_for_the_record(folder: Path) -> float:
    """Milliseconds, as the failover's journal has it; infinite where it does not say."""
    (journal,) = folder.glob("runbooks/*-failover/journal.jsonl")
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    noted = [one["data"] for one in events if one["event"] == "noted" and one["data"].get("what") == RECORD_NOTED]
    return float(noted[-1]["seconds"]) * 1000 if noted else math.inf


def _others(lab: str, say: Callable[[str], None]) -> list[Figure]:
    """The other drills of PostgreSQL's availability, one each. A refusal that was wanted counts as passed."""
    figures = []
    for name in OTHERS:
        say(f"drill {name}")
        result, folder = drill(scenario(name), lab, lambda _sentence: None, Plan())
        say(f"{name}: {result.outcome.value}, RTO {result.rto_s} s, lost {result.lost}; {folder.name}")
        if result.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        figures += [
            of_drills([result], f"`{name}`, one drill: RTO", "s", lambda r: r.rto_s),
            of_drills([result], f"`{name}`: longest wait for any acknowledgement", "s", lambda r: r.max_ack_gap_s),
            of_drills([result], f"`{name}`: rows lost or duplicated", "rows", _wrong_rows, 0, every=True),
        ]
    return figures


def _wrong_rows(result: DrillResult) -> float | None:
    if result.lost is None or result.duplicated is None:
        return None
    return result.lost + result.duplicated


def _phase(result: DrillResult, name: str) -> float | None:
    return next((phase.seconds for phase in result.phases if phase.name == name), None)


def of_drills(
    results: Iterable[DrillResult], name: str, unit: str, value: Callable[[DrillResult], float | None],
    target: float | None = None, *, at_least: bool = False, every: bool = False,
) -> Figure:  # fmt: skip
    """A figure over every drill; one that was not measured counts as worse than any target."""
    missing = float("-inf") if at_least else float("inf")
    found = tuple(missing if (measured := value(result)) is None else measured for result in results)
    return Figure(name, unit, found, target, at_least, every)


def _once(name: str, unit: str, action: Callable[[], object]) -> Figure:
    return Figure(name, unit, (_seconds(action),))


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def as_document(bench: Bench) -> dict[str, object]:
    """Every value, its median, the machine."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(gather.machine()),
        "versions": dict(bench.versions),
        "failed": list(bench.failed),
        "figures": [
            asdict(figure) | {"median": figure.median, "worst": figure.worst, "met": figure.met}
            for figure in bench.figures
        ],
    }


def write(document: Mapping[str, object], folder: Path) -> Path:
    """bench/<timestamp>.json"""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
