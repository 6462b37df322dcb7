"""Every procedure there is, by its name: what the tasks and the drills both call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inventories.errors import BadInput
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.executing import execute
from runbooks.procedures.postgresql.abandon import ABANDON, AbandonOptions
from runbooks.procedures.postgresql.detach import DETACH, DetachOptions
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.mend_archive import MEND_ARCHIVE, MendArchiveOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.procedures.postgresql.restore_cluster import RESTORE_CLUSTER, RestoreClusterOptions
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, RestorePitrOptions
from runbooks.procedures.postgresql.restore_table import RESTORE_TABLE, RestoreTableOptions
from runbooks.procedures.postgresql.start_cluster import START_CLUSTER, StartClusterOptions
from runbooks.procedures.postgresql.switchover import SWITCHOVER, SwitchoverOptions
from runbooks.procedures.reconcile import RECONCILE, ReconcileOptions
from runbooks.procedures.replay_outbox import REPLAY_OUTBOX, ReplayOutboxOptions
from runbooks.procedures.sqlite.restore import SQLITE_RESTORE, SqliteRestoreOptions
from runbooks.procedures.tdengine.rebuild import TDENGINE_REBUILD, TdengineRebuildOptions
from runbooks.procedures.tdengine.rejoin import TDENGINE_REJOIN, TdengineRejoinOptions
from runbooks.procedures.tdengine.restart import TDENGINE_RESTART, TdengineRestartOptions
from runbooks.procedures.tdengine.restore import TDENGINE_RESTORE, TdengineRestoreOptions
from runbooks.procedures.tracker.migrate import TRACKER_MIGRATE, TrackerMigrateOptions


@dataclass(frozen=True)
class Known:
    """A procedure and what the operator may say to it."""

    procedure: Procedure[Any]
    options: type[Options]


PROCEDURES: Mapping[str, Known] = {
    known.procedure.name: known
    for known in (
        Known(FAILOVER, FailoverOptions),
        Known(REJOIN, RejoinOptions),
        Known(SWITCHOVER, SwitchoverOptions),
        Known(DETACH, DetachOptions),
        Known(START_CLUSTER, StartClusterOptions),
        Known(RESTORE_TABLE, RestoreTableOptions),
        Known(RESTORE_PITR, RestorePitrOptions),
        Known(RESTORE_CLUSTER, RestoreClusterOptions),
        Known(ABANDON, AbandonOptions),
        Known(MEND_ARCHIVE, MendArchiveOptions),
        Known(REPLAY_OUTBOX, ReplayOutboxOptions),
        Known(RECONCILE, ReconcileOptions),
        Known(SQLITE_RESTORE, SqliteRestoreOptions),
        Known(TDENGINE_RESTART, TdengineRestartOptions),
        Known(TDENGINE_REJOIN, TdengineRejoinOptions),
        Known(TDENGINE_RESTORE, TdengineRestoreOptions),
        Known(TDENGINE_REBUILD, TdengineRebuildOptions),
        Known(TRACKER_MIGRATE, TrackerMigrateOptions),
    )
}


def known(name: str) -> Known:
    """Raises BadInput naming the procedures there are."""
    if name not in PROCEDURES:
        raise BadInput(f"there is no runbook {name!r}", f"the runbooks are {', '.join(PROCEDURES)}")
    return PROCEDURES[name]


__all__ = ["PROCEDURES", "Known", "execute", "known"]
