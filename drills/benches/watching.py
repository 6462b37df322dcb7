"""Measure the watch: from the crash of the primary's host to the first row on the new one, with nobody awake."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from drills import by_watch, gather, prepare
from drills.benches import noise
from drills.benches.headline import Bench, Figure, of_drills
from drills.judging.result import DrillResult, Outcome
from drills.run import Plan, drill
from drills.scenarios.catalogue import scenario
from inventories.errors import BadInput, VerificationFailed
from runbooks import hosts
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate

_LOOKS_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


def bench(lab: str, runs: int, say: Callable[[str], None]) -> Bench:
    """So many drills with the watch acting, on one lab that stays. Raises BadInput."""
    if runs < 1:
        raise BadInput(f"{runs} drills would measure nothing", "./dr bench --watch --runs 5")
    prepare.estate(lab, say)
    estate = hosts.load("lab")
    cost = _cost(estate, say)
    results: list[DrillResult] = []
    for nr in range(1, runs + 1):
        say(f"drill {nr} of {runs}, by the watch")
        prepare.settled(hosts.load("lab"))
        result, folder = drill(scenario("primary-power-loss"), lab, lambda _: None, Plan(by=by_watch.WATCH))
        told = f"first row {result.rto_from_fault_s} s after the crash, seen after {result.detection_s} s"
        say(f"drill {nr}: {result.outcome.value}, {told}, lost {result.lost}; {folder.name}")
        if result.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        results.append(result)
    found = (
        of_drills(results, "drills that did not pass", "", lambda r: float(r.outcome.value != "passed"), 0, every=True),
        of_drills(results, "rows lost", "rows", lambda r: r.lost, 0, every=True),
        of_drills(results, "rows duplicated", "rows", lambda r: r.duplicated, 0, every=True),
        of_drills(results, "host crash to the first row on the new primary", "s", lambda r: r.rto_from_fault_s, 4),
        of_drills(results, "the same, each of them", "s", lambda r: r.rto_from_fault_s, 8, every=True),
        of_drills(results, "of that, until the watch acted", "s", lambda r: r.detection_s),
        of_drills(results, "RTO, longest pause of the store", "s", lambda r: r.rto_s),
    )
    return Bench((*found, *cost), gather.versions(estate))


def noisy(lab: str, episodes: int, hasty: bool, say: Callable[[str], None]) -> Bench:
    """Episodes of noise. The twin `hasty` has to act on one. Raises VerificationFailed where it comes otherwise."""
    prepare.estate(lab, say)
    estate = hosts.load("lab")
    prepare.settled(estate)
    found = noise.bench(lab, estate, episodes, say, hasty=hasty)
    for kind in found.skipped:
        say(f"WARNING: {kind} is left out: this machine's kernel cannot do it")
    if hasty and not found.acted:
        raise VerificationFailed("the watch without patience acted on nothing, so that the noise proves nothing")
    if found.acted and not hasty:
        raise VerificationFailed(f"a watch acted while the primary served: {'; '.join(found.acted)}")
    return Bench(found.figures, gather.versions(estate))


def _cost(estate: Estate, say: Callable[[str], None]) -> tuple[Figure, ...]:
    """Of a quiet watch: processor and memory of its own process and of what it started."""
    say("what a quiet watch costs")
    with by_watch.running(estate.backup, new_run_dir("bench-watch")) as watcher:
        family = noise.family(watcher.process.pid)
        before, began = _seconds(family), time.monotonic()
        noise.wait(_LOOKS_S)
        spent = _seconds(family) - before
        share = 100 * spent / (time.monotonic() - began)
        memory = sum(_memory(pid) for pid in family)
    return (
        Figure("the watch, of one core", "%", (share,), 2),
        Figure("the watch, memory", "MiB", (memory,), 60),
    )


def _seconds(family: list[int]) -> float:
    spent = 0
    for pid in family:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / _TICKS


def _memory(pid: int) -> float:
    """MiB that are its own, and its part of what it shares."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
