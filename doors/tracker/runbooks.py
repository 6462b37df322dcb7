"""The stock tracker's database: its migrations as a task, and as SQL for a day on which this tool is not there."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from doors.runbooks import HELP, run_procedure
from doors.support import door

_AT = "the revision that the database is at; base where it has none"


@task(
    auto_shortflags=False,
    name="tracker-migrate",
    help={
        **HELP,
        "to": "a revision, or base (default: the newest)",
        "accept_loss": "also where that drops a table that holds rows",
    },
)
@door
def tracker_migrate(
    c: Context, to: str = "", accept_loss: bool = False, plan: bool = False, resume: bool = False, yes: bool = False,
    json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Migrate the stock tracker's database, up or down.

    Without --yes it names the migrations that it would run, and changes nothing.
    """
    from runbooks.procedures.tracker.migrate import TrackerMigrateOptions

    options = TrackerMigrateOptions(yes=yes, to=to, accept_loss=accept_loss)
    run_procedure("tracker-migrate", options, plan, resume, json, inventory)


@task(help={"at": _AT, "to": "a revision, or base (default: the newest)"})
@door
def sql(c: Context, at: str = "base", to: str = "") -> None:
    """Print the SQL of the tracker's migrations; run nothing."""
    from inventories.catalog.tracker import revisions

    print(revisions.script(revisions.way(at, to)), end="")


@task
@door
def revisions(c: Context) -> None:
    """List the revisions of the tracker's database."""
    from inventories.catalog.tracker import revisions as known

    for one in known.revisions():
        print(f"{one.number}  {one.says}")


collection = Collection("tracker", sql, revisions)
TOP_LEVEL = (tracker_migrate,)
