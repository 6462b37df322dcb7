"""Tracker-migrate: bring the stock tracker's database to the revision that this release goes by, or to another one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from inventories.catalog.load import load_tracker
from inventories.catalog.tracker import DATABASE, revisions
from inventories.catalog.tracker.revisions import BASE
from inventories.errors import Refused, VerificationFailed
from runbooks.actions.tracker import migrate as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql import server
from runbooks.probes.tracker import schema

_PSQL = f"sudo -u postgres psql -d {DATABASE}"


class TrackerMigrateOptions(Options):
    """`to`: a revision, "" for the newest; `accept_loss`: also where that drops a table that holds rows."""

    added_later: ClassVar[frozenset[str]] = frozenset({"accept_loss"})
    to: str = ""
    accept_loss: bool = False


class TrackerMigrate(BaseModel):
    """`at` is the revision that was found, "" where there is no database; `standbys` those that streamed then."""

    model_config = ConfigDict(frozen=True)

    primary: str = ""
    at: str = ""
    to: str = ""
    standbys: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def is_a_line(context: Run) -> None:
    """Raises BadInput."""
    revisions.way(BASE, context.options.to)


def has_primary(context: Run) -> None:
    """Raises DrError where nobody, or more than one, takes writes."""
    server.the_primary(server.survey(context.estate))


def assess(context: Run, state: TrackerMigrate) -> TrackerMigrate:
    """Say what would be run. Raises Refused where rows would go with a table and nobody accepted that."""
    nodes = server.survey(context.estate)
    host = server.the_primary(nodes).host
    at = schema.revision(host)
    way = revisions.way(at or BASE, context.options.to)
    lost = schema.rows(host, revisions.dropped(way, tuple(load_tracker().tables)))
    full = ", ".join(f"{name} with {count:,} rows" for name, count in lost.items() if count)
    if full and not context.options.accept_loss:
        raise Refused(f"revision {way.to} has no {full}", "--accept-loss drops it; ./dr mark NAME first is a way back")
    told = [f"{DATABASE} on {host} is at {way}" if at else f"{host} has no database {DATABASE}; it is made, at {way}"]
    if full:
        told.append(f"with it go: {full}")
    if not context.options.yes:
        told.append("nothing was changed: repeat with --yes")
    for sentence in told:
        context.say(sentence)
    standbys = tuple(node.name for node in nodes if node.streams and not node.host.entry.delay_s)
    return state.model_copy(
        update={"primary": host.name, "at": at or "", "to": way.to, "standbys": standbys, "told": tuple(told)}
    )


def primary_of(context: Run, state: TrackerMigrate) -> Host:
    return context.estate.host(state.primary)


def as_assessed(context: Run, state: TrackerMigrate) -> None:
    """Asked when a run is resumed. Raises Refused."""
    now = server.the_primary(server.survey(context.estate)).name
    if now != state.primary:
        raise Refused(f"{now} is the primary now, {state.primary} was when this began", "begin anew without --resume")


def migrate(context: Run, state: TrackerMigrate) -> TrackerMigrate:
    """From where it is now, so that a run that was killed in between goes on from there."""
    host = primary_of(context, state)
    at = schema.revision(host, context.remaining())
    if at is None:
        act.make_database(host, context.remaining())
    act.grant(host, context.remaining())
    act.run(host, revisions.way(at or BASE, state.to), context.remaining())
    return state


def everywhere(context: Run, state: TrackerMigrate) -> None:
    """Raises VerificationFailed, TimedOut for a standby that has not replayed it."""
    host = primary_of(context, state)
    found = schema.revision(host)
    if found != state.to:
        raise VerificationFailed(f"{DATABASE} on {host} is at revision {found}, wanted was {state.to}")
    if state.to == revisions.head() and (wrong := schema.differences(host, load_tracker())):
        raise VerificationFailed(f"{DATABASE} is not as the catalogue has it: {wrong[0]}", "tracker.yaml declares it")
    for name in state.standbys:
        _shows(context, context.estate.host(name), state.to)


def _shows(context: Run, standby: Host, wanted: str) -> None:
    until(
        lambda: schema.revision(standby), context.remaining(), what=f"revision {wanted} on {standby}",
        accept=lambda found: found == wanted, clock=context.clock,
    )  # fmt: skip


TRACKER_MIGRATE: Procedure[TrackerMigrate] = Procedure(
    name="tracker-migrate",
    summary="Bring the stock tracker's database to a revision, up or down.",
    purpose=(
        "The tables of the stock tracker are made and altered by migrations. Names those that lie between the revision "
        "that the primary is at and the wanted one, the newest of this release where none is named; with --yes it runs "
        "them in one transaction on the primary, while standbys stream and the tracker writes (what cannot be written "
        "meanwhile waits in its outbox). It is what follows a restore that brought an older revision. Refuses where a "
        "table that holds rows would be dropped (--accept-loss), and where the database is at a revision that this "
        "release does not have."
    ),
    gate=(
        Gate("migrations", "The migrations of this release are one line, and the wanted revision is in it.", is_a_line),
        Gate("primary", "One host takes writes.", has_primary),
    ),
    initial=lambda context: TrackerMigrate(),
    steps=(
        Step(
            name="assess", role="primary", budget="restore.cover", action=assess, observes=True,
            says="Ask the primary for its revision, name what would be run and which rows would go.",
            evidence=Evidence("the primary answered"),
            still=Evidence("the same primary", as_assessed),
            commands=(f"{_PSQL} -c 'select version_num from alembic_version'",),
        ),
        Step(
            name="migrate", role="primary", budget="tracker.migrate", action=migrate, destructive=True, option="yes",
            says="Make the database where there is none, and run the migrations in one transaction.",
            evidence=Evidence("primary and streaming standbys are at the wanted revision, its tables as declared",
                              everywhere),
            commands=("./dr tracker.sql --at REVISION", f"{_PSQL} -v ON_ERROR_STOP=1 <migrate.sql"),
        ),
    ),
)  # fmt: skip
