"""The monitoring database: ship what this machine has to tell it, and see what waits."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door, utc
from inventories.errors import BadInput, DrError, ExitCode, Refused

if TYPE_CHECKING:
    from runbooks.hosts import Estate, Host
    from runbooks.monitoring.shipping import Gather

_NONE = "give the inventory a monitoring_port, then ./dr deploy"


@task(help={"json": "print JSON", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def ship(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Ship runs, drills, alarms and backups to the database.

    What has happened on this machine since the last time is laid into its spool, and leaves it when the database has
    it. For cron, and by itself before each `./dr history`. Ends with 1 while the database takes nothing: it waits.
    """
    from runbooks import hosts
    from runbooks.monitoring import shipping

    estate = hosts.load(inventory or None)
    done = shipping.ship(estate, _host(estate), sources(estate))
    if json:
        print(jsonlib.dumps(asdict(done)))
        return
    anew = " It is another database than last time, or was restored: all was told again." if done.began_anew else ""
    refused = f", {done.rejected} that no table takes (./dr monitor.status)" if done.rejected else ""
    print(f"{done.lines:,} lines shipped, {done.new:,} of them new{refused}.{anew}")


@task(help={"json": "print JSON", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def status(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Show what waits here, and what was never taken in.

    Ends with 1 when the database does not answer, has rejected a line, could not be had back whole from its own backup,
    or a spool has let lines go unshipped.
    """
    from runbooks import hosts
    from runbooks.monitoring import shipping, where

    estate = hosts.load(inventory or None)
    there = _host(estate)
    depth = where.spool(estate.name).depth()
    try:
        told, why = shipping.past(estate, there, ("drills",), None), ""
    except DrError as error:
        told, why = {"rejected": None, "losses": []}, str(error)
    backup, safe = _own_backup(estate, there)
    if json:
        known = {"losses": told["losses"], "rejected": told["rejected"], "backup": backup, "safe": safe}
        print(jsonlib.dumps({"waiting": asdict(depth), "database": why or "answers", **known}))
    else:
        since = f", the oldest since {utc(depth.oldest_at)} UTC" if depth.oldest_at else ""
        print(f"{depth.segments} segments ({depth.size_bytes:,} bytes) wait on this machine{since}.")
        print(why or f"The monitoring database on {there} answers; {told['rejected']} lines were rejected.")
        for sentence in (backup, *told["losses"]):
            print(f"{sentence}.")
    if why or told["rejected"] or told["losses"] or not safe:
        raise Exit(code=int(ExitCode.FAILED))


@task(help={"yes": "do it", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def restore(c: Context, yes: bool = False, inventory: str = "", lab: str = "") -> None:
    """Restore the lost monitoring database from its own backup.

    Into an empty cluster (./dr deploy makes one): the newest backup that counts. What was written since then is told
    again by every host and machine that keeps it, as soon as each ships. What is there stays: it adds what is missing.
    """
    from runbooks import hosts
    from runbooks.monitoring import shipping

    estate = hosts.load(inventory or None)
    there = _host(estate)
    if not yes:
        raise Refused(f"the monitoring database on {there} would be restored from its backup", "say so with --yes")
    told = shipping.restored(estate, there)
    done = shipping.ship(estate, there, sources(estate))
    added = f" {told['added']:,} rows were added to what was there." if told["added"] else ""
    print(f"Restored from {told['label']}; this machine told it {done.new:,} lines that it lacked.{added}")


def _own_backup(estate: Estate, there: Host) -> tuple[str, bool]:
    """What is known of it, and whether a loss of the database would cost no history; what nobody can tell is not."""
    from runbooks.engine.budgets import budget
    from runbooks.judge import monitoring as judge
    from runbooks.probes import monitoring

    try:
        there.must_answer()
        seen = monitoring.look(there, estate, budget("monitor.history"))
    except DrError as error:
        return f"Whether it has a backup of its own is unknown: {error}", False
    return f"The database {judge.sentence(seen)}", not list(judge.findings(seen))


def sources(estate: Estate) -> list[Gather]:
    """What this machine knows; an alarming host has no drills."""
    from runbooks.alarms.spool import path_of
    from runbooks.engine.rundir import runs_dir
    from runbooks.monitoring import alarms, backups, runs

    found: list[Gather] = [
        partial(runs.gather, runs_dir(), estate.name),
        partial(alarms.gather, path_of(estate.name), estate.name),
        partial(backups.gather, estate),
    ]
    if find_spec("drills") is None:
        return found
    from drills import telling
    from drills.evidence.files import files

    return [*found, partial(telling.gather, files(), estate.name)]


def _host(estate: Estate) -> Host:
    from runbooks.monitoring import where

    there = where.host(estate)
    if there is None:
        raise BadInput(f"{estate.name} has no monitoring database", _NONE)
    return there


collection = Collection("monitor", ship, status, restore)
