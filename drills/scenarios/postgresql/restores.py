"""Hosts that are gone with their disks: only the repository, or the copy of it elsewhere, brings them back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from drills.scenarios.common import RATE, run_job, switch_wal
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.errors import VerificationFailed
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes.postgresql import pgbackrest, server
from runbooks.procedures.postgresql.restore_cluster import RESTORE_CLUSTER, RestoreCluster, RestoreClusterOptions


def _archived(stage: Stage) -> None:
    """From here on everything older is in the repository, and a restore has no excuse for losing it."""
    stage.safe_at = time.monotonic()
    switch_wal(stage)
    until(
        lambda: pgbackrest.archiving(stage.primary),
        "archive.catch_up",
        what="an archive that has everything",
        accept=lambda archiver: not archiver.waiting,
    )


def _copied_offsite(stage: Stage) -> None:
    """The same, and the copy elsewhere has it too."""
    _archived(stage)
    state = run_job(stage, "offsite")
    if state["outcome"] != "passed":
        raise VerificationFailed(f"the off-site copy could not be made: {state['sentence']}")
    stage.fact("off-site copy", str(state["sentence"]))


def _rescue(stage: Stage) -> None:
    """Leave a cluster behind, whatever the drill came to: nothing where one is."""
    if any(node.is_primary for node in server.survey(stage.estate)):
        return
    stage.replace_hosts()
    stage.run(RESTORE_CLUSTER, RestoreClusterOptions(yes=True, replace=True))


def _remove(stage: Stage, *hosts: Host) -> None:
    stage.later("the restore of the cluster", lambda: _rescue(stage))
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(stage.remove, hosts))


def restore_cluster(
    stage: Stage, procedure: Procedure[RestoreCluster] = RESTORE_CLUSTER, *, blank: bool = True
) -> Result:
    """Onto blank hosts in the place of those that were removed, or onto the same hosts without their data."""
    if blank:
        stage.replace_hosts()
    result = stage.run(procedure, RestoreClusterOptions(yes=True))
    where = ", out of the off-site copy" if result.state.offsite else ""
    stage.fact("restored from", f"backup {result.state.label}{where}")
    return result


def _forget(context: object, state: RestoreCluster) -> RestoreCluster:
    """The negative twin's requeue: what was committed after the last archived WAL stays away."""
    return state


FORGETFUL = replace_step(RESTORE_CLUSTER, "requeue", action=_forget)

SCENARIOS = (
    Scenario(
        name="cluster-loss",
        summary="Both database hosts are gone, and their disks with them; blank hosts take their places.",
        rate=RATE,
        prepare=_archived,
        fault=lambda stage: _remove(stage, stage.primary, *stage.standbys),
        recover=restore_cluster,
    ),
    Scenario(
        name="offsite-only",
        summary="Both database hosts and the backup host are gone with their disks; the off-site copy is left.",
        rate=RATE,
        prepare=_copied_offsite,
        fault=lambda stage: _remove(stage, stage.primary, *stage.standbys, stage.estate.backup),
        recover=restore_cluster,
    ),
)

TWINS = (
    Twin(
        name="forgotten-shadow",
        says="What the application host kept is not queued again: rows that were never archived must be missed.",
        reason=r"[\d,]+ of [\d,]+ acknowledged rows (is|are) lost in",
        scenario="cluster-loss",
        recover=lambda stage: restore_cluster(stage, FORGETFUL),
        runbook_passes=True,
    ),
)

