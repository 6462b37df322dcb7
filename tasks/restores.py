"""The runbooks that bring data back, as tasks."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from tasks.runbooks import HELP, run_procedure
from tasks.support import door


@task(
    help={
        **HELP,
        "replace": "move data directories aside that lie in the way; nothing is deleted",
        "set": "restore this backup (default: the newest sound one)",
        "from_offsite": "take the off-site copy although the backup host has a repository",
        "accept_loss": "promote before a gap in the archive, although more WAL lies behind it",
    }
)
@door
def restore_cluster(
    c: Context, plan: bool = False, resume: bool = False, yes: bool = False, replace: bool = False,
    set: str = "",
    from_offsite: bool = False, accept_loss: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Restore the lost cluster onto blank hosts."""
    from runbooks.procedures.restore_cluster import RestoreClusterOptions

    options = RestoreClusterOptions(
        yes=yes, replace=replace, backup_set=set, from_offsite=from_offsite, accept_loss=accept_loss
    )
    run_procedure("restore-cluster", options, plan, resume, json, inventory)


TOP_LEVEL = (restore_cluster,)
