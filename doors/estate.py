"""The estate as a whole: look at it, prove it, bring it to its declared state, show what differs."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door, progress
from inventories.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from doors.status_watch import Look
    from runbooks.hosts import Estate

LIMIT_HELP = "only these hosts, such as pg1,pg2 (default: all)"


@task(
    help={
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
        "json": "print JSON instead of a screen; with --watch one line a look",
        "watch": "look again and again, until ctrl-c",
        "every": "with --watch: seconds from one look to the next (default: 2)",
    }
)
@door
def status(
    c: Context, inventory: str = "", lab: str = "", json: bool = False, watch: bool = False, every: str = ""
) -> None:
    """Show roles, lag, backups, outbox and possible loss.

    Ends with 1 when an objective or limit of inventories/catalog/recovery.yaml is not met, and says what to run.
    """
    from doors import screens, status_watch
    from runbooks import hosts

    if every and not watch:
        raise BadInput("--every belongs to --watch", f"./dr status --watch --every {every}")
    every_s = status_watch.seconds(every)
    estate = hosts.load(inventory or None)
    if watch:
        failed = status_watch.watch(lambda: _look(estate, None), every_s, json)
    else:
        seen = _look(estate, 2)
        if json:
            print(seen.line)
        else:
            screens.show(seen.shown)
        failed = seen.failed
    if failed:
        raise Exit(code=int(ExitCode.FAILED))


def _look(estate: Estate, indent: int | None) -> Look:
    from doors import screens
    from doors.status_watch import Look
    from inventories.catalog import load_recovery
    from runbooks.judge import objectives
    from runbooks.look.status import as_json, look

    seen = look(estate)
    found = objectives.findings(seen, load_recovery().limits)
    degraded, loss = objectives.degraded(seen), objectives.possible_loss(seen)
    judged = {"findings": [asdict(one) for one in found], "degraded": degraded, "possible_loss": asdict(loss)}
    line = jsonlib.dumps({**as_json(seen), **judged}, indent=indent)
    return Look(screens.status_screen(seen, found, degraded, loss), line, bool(found))


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP, "limit": LIMIT_HELP})
@door
def verify(c: Context, inventory: str = "", lab: str = "", limit: str = "") -> None:
    """Check read-only that every host is what it should be.

    Runs the specifications of tests/verify; DR_VERIFY_EXPECT tells of a state that is not whole.
    """
    from runbooks import hosts
    from runbooks.engine.rundir import new_run_dir
    from runbooks.engine.verify import EVERYTHING
    from runbooks.engine.verify import verify as run_specifications
    from runbooks.expect import from_environment

    estate = hosts.load(inventory or None)
    names, expected = _names(estate, limit), from_environment()
    environment = {"DR_VERIFY_LIMIT": ",".join(names)}
    if inventory:
        environment["DR_INVENTORY"] = inventory
    run_dir = new_run_dir("verify")
    with progress() as say:
        say(f"Checking {', '.join(names or [host.name for host in estate.hosts])}")
        result = run_specifications(EVERYTHING, run_dir=run_dir, budget="verify", env=environment)
    for name in expected.off:
        print(f"left out: {name}, which is expected to be off")
    for failure in result.failures:
        print(f"FAILED {failure}")
    print(f"{result.passed} checks passed, {result.failed} failed, {result.skipped} skipped: {result.report}")
    if result.failed:
        raise Exit(code=int(ExitCode.FAILED))


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP, "limit": LIMIT_HELP})
@door
def deploy(c: Context, inventory: str = "", lab: str = "", limit: str = "") -> None:
    """Bring hosts to their declared state.

    A second run changes nothing. Holds the estate's lock as a runbook does, refuses where the estate record belongs to
    another estate or knows a newer primary, and in the end brings it in line with what the hosts are.
    """
    from deploys.run import deploy as run_deploy
    from doors import screens
    from runbooks import hosts
    from runbooks.acting import acting, while_held
    from runbooks.engine.rundir import new_run_dir
    from runbooks.letting_in import let_in
    from runbooks.probes.tdengine import servers
    from runbooks.record.settle import require_fitting, settle

    estate = hosts.load(inventory or None)
    names = _names(estate, limit)
    run_dir = new_run_dir("deploy")
    log = run_dir / "pyinfra.log"
    with progress() as say, acting(estate, "deploy", run_dir, say) as keeper:
        require_fitting(estate)
        say(f"Connecting to {', '.join(names or [host.name for host in estate.hosts])}")
        changes = run_deploy(inventory or None, names, log, while_held(keeper, say))
        waited_for = let_in(keeper, names)
        recorded = settle(keeper)
    if changes:
        every = names or [host.name for host in estate.hosts]
        screens.show(screens.matrix("what changed", changes.by_operation, every, "changed"))
    said = servers.abilities(servers.survey(estate))
    if said:
        print(said)
    if waited_for:
        print(f"{waited_for}.")
    print(f"Estate record: {recorded.says}.")
    print(f"{changes.operations} operations, {len(changes.by_operation) or 'nothing'} changed. Log: {log}")


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP, "limit": LIMIT_HELP})
@door
def drift(c: Context, inventory: str = "", lab: str = "", limit: str = "") -> None:
    """Show what differs from the declared state.

    Changes nothing. Ends with 1 when anything differs: a file edited by hand, a setting altered, a service stopped,
    a column changed.
    """
    from deploys.run import drift as run_drift
    from deploys.run import require_sound_files
    from doors import screens
    from runbooks import hosts
    from runbooks.engine.rundir import new_run_dir
    from runbooks.look import drift as beyond

    estate = hosts.load(inventory or None)
    every = _names(estate, limit) or [host.name for host in estate.hosts]
    require_sound_files(inventory or None)
    silent = beyond.silent(estate, every)
    awake = [name for name in every if name not in {one.host for one in silent}]
    cells: dict[str, list[str]] = {}
    operations = 0
    if awake:
        with progress() as say:
            say(f"Comparing {', '.join(awake)} with the declared state")
            changes = run_drift(inventory or None, awake, new_run_dir("drift") / "pyinfra.log")
        cells, operations = {name: list(on) for name, on in changes.by_operation.items()}, changes.operations
    further = (*silent, *(beyond.look(estate, awake) if awake else ()))
    for one in further:
        cells.setdefault(one.what, []).append(one.host)
    if not cells:
        print(f"Nothing differs: {operations} operations on {', '.join(every)}.")
        return
    screens.show(screens.matrix("declared state", cells, every, "differs"), *(one.detail for one in further))
    raise Exit(code=int(ExitCode.FAILED))


def _names(estate: Estate, limit: str) -> list[str]:
    """The hosts that `--limit` names. Raises BadInput for one that the inventory lacks."""
    return [estate.host(name.strip()).name for name in limit.split(",") if name.strip()]


TOP_LEVEL = (status, verify, deploy, drift)
