"""Measure the watch: from the crash of the primary's host to the first row on the new one, with nobody awake."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

from drills import by_watch, gather, looking, prepare
from drills.benches import account, noise
from drills.benches.account import Account
from drills.benches.headline import Bench, Figure, of_drills
from drills.judging.result import DrillResult, Outcome
from drills.run import Plan, drill
from drills.scenarios.catalogue import scenario
from inventories.errors import BadInput, TargetFailed, TimedOut
from runbooks import hosts
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate

_LOOKS_S, _SETTLES_S = 20.0, 2.0


def bench(lab: str, runs: int, say: Callable[[str], None]) -> Bench:
    """So many drills with the watch acting, on one lab that stays. Raises BadInput."""
    if runs < 1:
        raise BadInput(f"{runs} drills would measure nothing", "./dr bench --watch --runs 5")
    prepare.estate(lab, say)
    estate = hosts.load("lab")
    cost, reasons = _cost(estate, say)
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
        if result.outcome is not Outcome.PASSED:
            reasons = (*reasons, f"drill {nr} {result.outcome.value}: {'; '.join(result.reasons) or folder.name}")
    found = (
        of_drills(results, "drills that did not pass", "", lambda r: float(r.outcome.value != "passed"), 0, every=True),
        of_drills(results, "rows lost", "rows", lambda r: r.lost, 0, every=True),
        of_drills(results, "rows duplicated", "rows", lambda r: r.duplicated, 0, every=True),
        of_drills(results, "host crash to the first row on the new primary", "s", lambda r: r.rto_from_fault_s, 4),
        of_drills(results, "the same, each of them", "s", lambda r: r.rto_from_fault_s, 8, every=True),
        of_drills(results, "of that, until the watch acted", "s", lambda r: r.detection_s),
        of_drills(results, "RTO, longest pause of the store", "s", lambda r: r.rto_s),
    )
    return Bench((*found, *cost), gather.versions(estate), reasons)


def noisy(lab: str, episodes: int, hasty: bool, say: Callable[[str], None]) -> Bench:
    """Episodes of noise. The twin `hasty` has to act on one. The bench has failed where it comes otherwise."""
    prepare.estate(lab, say)
    estate = hosts.load("lab")
    prepare.settled(estate)
    found = noise.bench(lab, estate, episodes, say, hasty=hasty)
    for kind in found.skipped:
        say(f"WARNING: {kind} is left out: this machine's kernel cannot do it")
    return Bench(found.figures, gather.versions(estate), found.wrong(hasty))


def _cost(estate: Estate, say: Callable[[str], None]) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Of a quiet watch, with every process that it began; where it is not proven, worse than any target, and why."""
    say("what a quiet watch costs")
    share, memory, why = math.inf, math.inf, ""
    try:
        with account.opened("mystocks-dr-watch") as own:
            share, memory, why = _spent(estate, own)
    except (TargetFailed, TimedOut) as error:
        why = str(error)
    figures = (Figure("the watch, of one core", "%", (share,), 2), Figure("the watch, memory", "MiB", (memory,), 60))
    return figures, (f"the watch's cost is not proven: {why}",) if why else ()


def _spent(estate: Estate, own: Account) -> tuple[float, float, str]:
    """Per cent of a core while it looks, MiB at its peak since it began, and why neither is proven."""
    eyes = by_watch.eyes(estate)
    # With a folder of its own for SSH's shared connections, none of them is somebody else's, who would pay for it.
    with TemporaryDirectory(prefix="dr-") as folder, by_watch.running(
        estate.backup, new_run_dir("bench-watch"), own=by_watch.Own(own.within, {"TMPDIR": folder})
    ) as watcher:  # fmt: skip
        noise.wait(_SETTLES_S)
        before, began = own.seconds(), time.monotonic()
        noise.wait(_LOOKS_S)
        spent, ended = own.seconds() - before, time.monotonic()
        counted = own.programs()
        why = watcher.ended() or looking.blind(watcher.heard(), eyes, began, ended, "while its cost was taken")
        if not why and (watcher.process.pid not in own.processes() or counted.count("ssh") < 2 * eyes):
            why = f"its control group holds {', '.join(sorted(counted)) or 'nothing'}, and an SSH session takes two"
        peak = own.peak_mib()
    return (math.inf, math.inf, why) if why else (100 * spent / (ended - began), peak, "")
