"""Measure what restores take with a database of a given size, beside what the bare tools take in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from drills import gather, prepare
from drills.benches import bare, beside, filling, moments
from drills.benches.headline import Bench, Figure
from drills.benches.own_lab import own_lab
from drills.judging.result import DrillResult, Outcome
from drills.measuring import memory
from drills.run import Plan, drill
from drills.scenarios.catalogue import scenario
from drills.scenarios.parts import Scenario
from drills.scenarios.postgresql.restores import restore_cluster
from drills.stage import Stage
from inventories.errors import BadInput
from lab.engine import find_engine
from runbooks import hosts
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import server

Say = Callable[[str], None]
_TO_THE_FIRST_WRITE = ("assess", "prepare", "restore", "replay", "promote")
# The recoveries are measured, not the feed.
_PLAN = Plan(rate=500.0, calm_s=2.0, after_s=2.0)


def bench(lab: str, gib: float, targets: int, say: Say) -> Bench:
    """In a lab of its own that is removed afterwards. Raises BadInput, Refused."""
    if not 0 < gib <= 1000:
        raise BadInput(f"{gib:g} GiB would measure nothing", "--gib 5 is the default")
    if targets < 1:
        raise BadInput(f"{targets} points in time would measure nothing", "--targets 20 is the default")
    found: list[Figure] = []

    def take(figures: Sequence[Figure]) -> None:
        """Said at once: what comes later may fail, and the hour before it should not be lost."""
        found.extend(figures)
        for figure in figures:
            say(f"measured: {figure.name}: {_text(figure, figure.median)}")

    with own_lab(find_engine(), lab, say):
        prepare.estate(lab, say)
        estate = hosts.load("lab")
        say(f"writing {gib:g} GiB")
        orders = filling.fill(estate, gib, say)
        say("the bare tools: full backup, restore, recovery, plain copy")
        tools = bare.measure(estate)
        with memory.watched(estate) as peak:
            take(_bare(tools, gib))
            take(_beside(say))
            take(_clusters(lab, tools, say))
            take(_table(lab, orders, say))
            take(_pitr(targets, say))
        where = peak.host or "the operator's machine"
        take([Figure(f"largest process of ours, agent or tool ({where})", "MiB", (peak.mib,), 200, every=True)])
        versions = gather.versions(estate)
    return Bench(tuple(found), versions)


def _bare(tools: bare.Bare, gib: float) -> list[Figure]:
    return [
        Figure("data in the database", "GiB", (gib,)),
        Figure("bare: pgbackrest backup, full", "s", (tools.backup_s,)),
        Figure("bare: pgbackrest restore", "s", (tools.restore_s,)),
        Figure("bare: start and recovery to the first write", "s", (tools.recovery_s,)),
        Figure("bare: plain copy with sync", "s", (tools.copy_s,)),
    ]


def _clusters(lab: str, tools: bare.Bare, say: Say) -> list[Figure]:
    """Both database hosts lost: first with packages and configuration still there, then blank."""
    say("restore-cluster on provisioned hosts")
    lost = scenario("cluster-loss")
    wiped = replace(lost, fault=_wipe, recover=lambda stage: restore_cluster(stage, blank=False))
    provisioned = _drill(wiped, lab, say)
    say("restore-cluster on blank hosts")
    blank = _drill(lost, lab, say)
    bare_s = tools.restore_s + tools.recovery_s
    first, first_blank = _known(provisioned.rto_from_failover_s), _known(blank.rto_from_failover_s)
    losses = (_known(provisioned.lost), _known(blank.lost))
    return [
        Figure("restore-cluster, hosts provisioned: to the first acknowledged write", "s", (first,), 30),
        Figure("of which more than bare restore and recovery", "s", (first - bare_s,), 3),
        *_where_it_goes(provisioned),
        Figure("restore-cluster, hosts provisioned: verified and streaming", "s", (_took(provisioned),)),
        Figure("restore-cluster, hosts blank: to the first acknowledged write", "s", (first_blank,)),
        Figure("restore-cluster, hosts blank: verified and streaming", "s", (_took(blank),), 120),
        Figure("rows lost with both database hosts", "rows", losses, 0, every=True),
    ]


def _beside(say: Say) -> list[Figure]:
    say("commits of production, without a restore beside them and with one")
    found = beside.measure(hosts.load("lab"))
    return [
        Figure(f"p99 of {beside.RATE} commits a second", "ms", (found.calm_ms,)),
        Figure("p99 of them while a backup is restored beside the primary", "ms", (found.beside_ms,)),
        Figure("of the p99 without", "times", (found.times,), 1.25),
    ]


def _where_it_goes(result: DrillResult) -> list[Figure]:
    """Each step up to the one after which the application writes; the bare tools take what restore and replay do."""
    took = {step.name: step.seconds for step in result.steps if step.procedure == "restore-cluster"}
    return [Figure(f"restore-cluster: {name}", "s", (took[name],)) for name in _TO_THE_FIRST_WRITE if name in took]


def _wipe(stage: Stage) -> None:
    """Both data directories are gone; packages and configuration are there."""
    layout = Layout(server.version(stage.estate))

    def wipe(host: Host) -> None:
        host.run(f"systemctl kill --signal=KILL {layout.unit}; systemctl stop {layout.unit}; rm -rf %s", layout.data)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(wipe, (stage.primary, *stage.standbys)))


def _table(lab: str, orders: int, say: Say) -> list[Figure]:
    say(f"restore-table of {orders:,} rows")
    result = _drill(scenario("dropped-table"), lab, say)
    target_s = 70 * max(1.0, orders / 5_000_000)
    return [
        Figure(f"restore-table, a dropped hypertable of {orders:,} rows", "s", (_took(result),), target_s),
        Figure("rows lost with it", "rows", (_known(result.lost),), 0, every=True),
    ]


def _pitr(count: int, say: Say) -> list[Figure]:
    """Random points in time under load, each restored beside the primary and compared with the primary's own WAL."""
    say(f"{count} random points in time")
    hits = moments.shoot(hosts.load("lab"), count, int(time.time()), new_run_dir("bench-pitr"), say)
    reached = float(sum(not hit.wrong for hit in hits))
    return [
        Figure(f"of {count} random points in time under load, reached exactly", "", (reached,), count, at_least=True),
        Figure("restore-pitr beside the primary", "s", tuple(hit.seconds for hit in hits)),
    ]


def _drill(what: Scenario, lab: str, say: Say) -> DrillResult:
    """One drill, whose evidence stays. What it was promised is not judged here, what it lost is."""
    result, folder = drill(what, lab, say, _PLAN)
    say(f"{what.name}: {result.outcome.value}, {'; '.join(result.reasons) or 'no reason against it'}; {folder.name}")
    if result.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt
    return result


def _took(result: DrillResult) -> float:
    """Seconds of the first runbook from its first step to its last, infinite when it did not end well."""
    first = [step for step in result.steps if step.procedure == result.steps[0].procedure] if result.steps else []
    good = bool(first) and all(step.outcome in ("passed", "skipped") for step in first)
    return sum(step.seconds for step in first) if good else float("inf")


def _known(value: float | None) -> float:
    return float("inf") if value is None else float(value)


def _text(figure: Figure, value: float) -> str:
    digits = 1 if figure.unit in ("s", "GiB") else 0
    return f"{value:,.{digits}f} {figure.unit}".strip()
