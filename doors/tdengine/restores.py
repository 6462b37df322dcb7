"""What brings TDengine's rows back, as tasks."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from doors.mark import backup_at_the_mark
from doors.runbooks import HELP, run_procedure
from doors.support import door
from inventories.errors import BadInput

SELECTION_HELP = {
    "label": "the backup (default: the newest sound one)",
    "into": "a database beside production's, such as market_side (default: the backup's own)",
    "tables": "which tables, with commas between them (default: all)",
    "symbols": "which symbols, with commas between them (default: all)",
    "from": "rows from this moment on, with its zone: 2026-11-21T10:00:00+08:00",
    "to": "rows before this moment",
}


def names(text: str) -> tuple[str, ...]:
    """A list with commas, each name once. Raises BadInput for one that names nothing: without any it would be all."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if text and not found:
        raise BadInput(f"{text!r} names nothing", "leave the option out where all are meant")
    return found


@task(
    auto_shortflags=False,  # there are more options than letters
    name="tdengine-restore",
    help={
        **HELP,
        **SELECTION_HELP,
        "mode": "missing (the default) writes what is not there, overwrite also what is there with other content",
        "jobs": "files of the backup at the same time",
        "to-mark": "the backup that was the newest one at a mark of ./dr mark",
        "accept-lost-columns": "restore rows without columns that have no place in their table any more",
    },
)
@door
def tdengine_restore(
    c: Context, label: str = "", into: str = "", tables: str = "", symbols: str = "", from_: str = "", to: str = "",
    mode: str = "", jobs: int = 2, accept_lost_columns: bool = False, plan: bool = False, resume: bool = False,
    yes: bool = False, json: bool = False, inventory: str = "", lab: str = "", to_mark: str = "",
) -> None:  # fmt: skip
    """Restore TDengine's rows into the same or a side database.

    Without --yes it counts what is missing and writes nothing.
    """
    from runbooks.procedures.tdengine.restore import TdengineRestoreOptions
    from runbooks.tdengine.selection import mode_of

    label = label if plan else backup_at_the_mark(to_mark, label, inventory, resume)
    options = TdengineRestoreOptions(
        yes=yes, label=label, into=into, tables=names(tables), symbols=names(symbols), since=from_, until=to,
        jobs=jobs, accept_lost_columns=accept_lost_columns, **({"mode": mode_of(mode)} if mode else {}),
    )  # fmt: skip
    run_procedure("tdengine-restore", options, plan, resume, json, inventory)


@task(
    name="tdengine-rebuild",
    help={
        **HELP,
        "label": SELECTION_HELP["label"],
        "replace": "move data aside that lie in the way; nothing is deleted",
        "jobs": "files of the backup at the same time",
    },
)
@door
def tdengine_rebuild(
    c: Context, label: str = "", replace: bool = False, jobs: int = 2, plan: bool = False, resume: bool = False,
    yes: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Rebuild TDengine on a blank host: backup, shadow, outbox."""
    from runbooks.procedures.tdengine.rebuild import TdengineRebuildOptions

    options = TdengineRebuildOptions(yes=yes, label=label, replace=replace, jobs=jobs)
    run_procedure("tdengine-rebuild", options, plan, resume, json, inventory)


TOP_LEVEL = (tdengine_restore, tdengine_rebuild)
