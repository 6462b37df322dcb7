"""The runbooks that bring data back, as tasks."""

from __future__ import annotations

import sys
from typing import Any

from invoke.context import Context
from invoke.tasks import task

from doors.mark import TO_MARK_HELP, to_the_mark
from doors.runbooks import HELP, run_procedure
from doors.support import door
from doors.tdengine.restores import names

TARGET_HELP = {
    "to_time": "the moment, with its zone: 2026-11-21 10:00:00+08",
    "to_lsn": "a WAL position: 0/3000060",
    "to_xid": "a transaction id; it is left out unless --inclusive",
    "to_name": "a restore point",
    "to_mark": TO_MARK_HELP,
    "inclusive": "what the target names is restored too (default: it is the first thing that is not)",
    "set": "start from this backup (default: the newest good one that ended before the target)",
    "repo": "number of the repository (default: 1)",
    "timeline": "follow this timeline (default: the primary's own)",
    "hurry": "restore as fast as disk and cores allow; beside a server that takes commits these wait for it",
    "on": "the host to restore on: a database host or the backup host (default: side_host of the inventory)",
}


@task(
    auto_shortflags=False,  # there are more options than letters
    help={
        **HELP,
        **TARGET_HELP,
        "swap": "put what was restored in the primary's place; needs --yes",
        "replace": "drop an open side cluster of another target first",
        "drop_replaced": "delete the replaced data directory after everything was verified",
        "from": "delayed or repository: only a delayed standby, or only a backup (default: a delayed standby that has "
        "the target still before it, else a backup)",
    }
)
@door
def restore_pitr(
    c: Context, to_time: str = "", to_lsn: str = "", to_xid: str = "", to_name: str = "", inclusive: bool = False,
    set: str = "", repo: int = 0, timeline: int = 0, on: str = "", swap: bool = False, replace: bool = False,
    drop_replaced: bool = False, hurry: bool = False, plan: bool = False, resume: bool = False, yes: bool = False,
    json: bool = False, inventory: str = "", lab: str = "", to_mark: str = "", from_: str = "",
) -> None:  # fmt: skip
    """Bring the database back to a point in time.

    Beside the primary first, which goes on untouched; with --swap --yes in its place.
    """
    from runbooks.procedures.postgresql.restore_pitr import RestorePitrOptions

    options = RestorePitrOptions(
        yes=yes, to_time=to_time, to_lsn=to_lsn, to_xid=to_xid, to_name=to_name, inclusive=inclusive, backup_set=set,
        timeline=timeline, on=on, swap=swap, replace=replace, drop_replaced=drop_replaced, hurry=hurry,
        source=from_, **_said(repo=repo),
    )  # fmt: skip
    options = to_the_mark(options, "" if plan else to_mark, inventory, resume)
    run_procedure("restore-pitr", options, plan, resume, json, inventory)
    if swap and not plan:
        _name_migrations(json, inventory)


@task(
    help={
        **HELP,
        "replace": "move data directories aside that lie in the way; nothing is deleted",
        "set": "restore this backup (default: the newest sound one)",
        "from_offsite": "take the off-site copy although the backup host has a repository",
        "accept_loss": "promote before a gap in the archive, although more WAL lies behind it",
        "to_mark": "then bring the new primary to a mark of ./dr mark, as restore-pitr --swap does: a run of its own",
    }
)
@door
def restore_cluster(
    c: Context, plan: bool = False, resume: bool = False, yes: bool = False, replace: bool = False,
    set: str = "",
    from_offsite: bool = False, accept_loss: bool = False, json: bool = False, inventory: str = "", lab: str = "",
    to_mark: str = "",
) -> None:  # fmt: skip
    """Restore the lost cluster onto blank hosts.

    With all that the archive has; with --to-mark it is taken back to the mark after that, in a second run.
    """
    from runbooks.procedures.postgresql.restore_cluster import RestoreClusterOptions
    from runbooks.procedures.postgresql.restore_pitr import RestorePitrOptions

    second = RestorePitrOptions(yes=yes, swap=True)
    if not (plan or resume):  # a mark that nothing leads to is refused before anything is touched
        to_the_mark(second, to_mark, inventory, resume)
    options = RestoreClusterOptions(
        yes=yes, replace=replace, backup_set=set, from_offsite=from_offsite, accept_loss=accept_loss
    )
    run_procedure("restore-cluster", options, plan, resume, json, inventory)
    if to_mark:  # the first run has begun a timeline, along which the mark is looked for anew
        second = to_the_mark(second, "" if plan else to_mark, inventory, False)
        run_procedure("restore-pitr", second, plan, False, json, inventory)
    if not plan:
        _name_migrations(json, inventory)


@task(
    auto_shortflags=False,  # there are more options than letters
    help={
        **HELP,
        **TARGET_HELP,
        "tables": "which tables, with commas between them: NAME, or SCHEMA.NAME",
        "mode": "merge inserts the missing rows (default), replace makes the content the copy's, beside leaves "
        "TABLE_restored",
        "from": "take a side cluster that is open already, such as pitr, instead of a target; with a target: delayed "
        "or repository, for only a delayed standby or only a backup",
        "where": "only rows for which this SQL condition holds",
        "keep_replaced": "keep the old content as TABLE_replaced (with --mode replace)",
        "replace": "drop an open side cluster of another target first",
        "accept_loss": "write although something does not come back, such as values of a column that is gone",
    }
)
@door
def restore_table(
    c: Context, tables: str = "", mode: str = "", to_time: str = "", to_lsn: str = "", to_xid: str = "",
    to_name: str = "", inclusive: bool = False, set: str = "", repo: int = 0, timeline: int = 0, on: str = "",
    from_: str = "", where: str = "", keep_replaced: bool = True, replace: bool = False, accept_loss: bool = False,
    hurry: bool = False, plan: bool = False, resume: bool = False, yes: bool = False, json: bool = False,
    inventory: str = "", lab: str = "", to_mark: str = "",
) -> None:  # fmt: skip
    """Restore tables from a point in time, or lay them beside."""
    from runbooks.procedures.postgresql.restore_table import RestoreTableOptions, mode_of, tables_of

    options = RestoreTableOptions(
        yes=yes, tables=tables_of(tables), to_time=to_time,
        to_lsn=to_lsn, to_xid=to_xid, to_name=to_name, inclusive=inclusive, backup_set=set, timeline=timeline, on=on,
        source=from_, where=where, keep_replaced=keep_replaced, replace=replace,
        accept_loss=accept_loss, hurry=hurry,
        **_said(repo=repo, mode=mode_of(mode) if mode else None),
    )  # fmt: skip
    options = to_the_mark(options, "" if plan else to_mark, inventory, resume)
    run_procedure("restore-table", options, plan, resume, json, inventory)


@task(
    help={
        **HELP,
        "store": "postgresql or tdengine (default: both)",
        "since": "rows acknowledged from this moment on, with its zone (default: all that the shadow keeps)",
        "tables": "only these, with commas between them",
    }
)
@door
def reconcile(
    c: Context, store: str = "", since: str = "", tables: str = "", plan: bool = False, resume: bool = False,
    yes: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Find acknowledged rows that a store lacks; send them.

    After a failover that may have lost rows. Without --yes it names what is lacking and writes nothing.
    """
    from runbooks.procedures.reconcile import ReconcileOptions

    options = ReconcileOptions(yes=yes, store=store, since=since, tables=names(tables))
    run_procedure("reconcile", options, plan, resume, json, inventory)


def _name_migrations(json: bool, inventory: str) -> None:
    """A restore may bring an older revision of the stock tracker's database; `status` tells it too."""
    from runbooks.look import migrations

    said = migrations.way_on(inventory)
    if said:
        print(said, file=sys.stderr if json else sys.stdout)


def _said(**words: Any) -> dict[str, Any]:
    """Those that were said: a resumed run tells a word from a default."""
    return {name: value for name, value in words.items() if value}


TOP_LEVEL = (restore_pitr, restore_cluster, restore_table, reconcile)
