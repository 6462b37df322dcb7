"""What only a backup can bring back: a dropped table, an UPDATE without WHERE, hosts that are gone with their disks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from drills.archive_faults import run_job, switch_wal
from drills.scenario import Result, Scenario, Twin
from drills.stage import Stage
from inventories.errors import VerificationFailed
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes import pgbackrest
from runbooks.procedures.restore_cluster import RESTORE_CLUSTER, RestoreCluster, RestoreClusterOptions

# A long recovery under a full-speed feed would be a drill of the outbox.
RATE = 2000.0
DROPPED, SPOILED = "order_records", "position_records"
# Every batch writes this table too, so its lock is a border between batches.
_BORDER = "order_records"


def _psql(stage: Stage, script: str) -> list[str]:
    """What a script printed, line by line, on the primary."""
    ran = stage.primary.run(
        "psql -qAtX -v ON_ERROR_STOP=1 -d %s", stage.database, user="postgres", stdin=script, timeout=120
    )
    return [line for line in ran.stdout.splitlines() if line]


# ---- hosts that are gone


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


def _remove(stage: Stage, *hosts: Host) -> None:
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(stage.remove, hosts))


def _restore_cluster(stage: Stage, procedure: Procedure[RestoreCluster] = RESTORE_CLUSTER) -> Result:
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
        fault=lambda stage: _remove(stage, stage.primary, stage.standby),
        recover=_restore_cluster,
    ),
    Scenario(
        name="offsite-only",
        summary="Both database hosts and the backup host are gone with their disks; the off-site copy is left.",
        rate=RATE,
        prepare=_copied_offsite,
        fault=lambda stage: _remove(stage, stage.primary, stage.standby, stage.estate.backup),
        recover=_restore_cluster,
    ),
)

TWINS = (
    Twin(
        name="forgotten-shadow",
        says="What the application host kept is not queued again: rows that were never archived must be missed.",
        reason=r"[\d,]+ of [\d,]+ acknowledged rows (is|are) lost in",
        scenario="cluster-loss",
        recover=lambda stage: _restore_cluster(stage, FORGETFUL),
        runbook_passes=True,
    ),
)

