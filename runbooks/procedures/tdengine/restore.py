"""Restore rows of TDengine: what the backup has is compared, written and looked for again, hour by hour."""

from __future__ import annotations

import time
from typing import ClassVar

from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks.actions.tdengine import restore as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.hosts import Run
from runbooks.long_work.work import Asker
from runbooks.probes.tdengine import restore as probe
from runbooks.probes.tdengine import servers as tdengine
from runbooks.procedures.tdengine import choice
from runbooks.procedures.tdengine import common as td
from runbooks.procedures.tdengine.common import TdState
from runbooks.tdengine.selection import TdMode, TdSelection, check_name


class TdengineRestoreOptions(Options):
    """Empty means all, of `label` the newest sound backup. `into`: another database, "" for the backup's own.

    `since` and `until`: moments with their zone. `mode`: what happens to rows that are there with other content.
    `accept_lost_columns`: restore rows without what has no place in their table any more.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"jobs", "accept_lost_columns"})
    only_if_said: ClassVar[frozenset[str]] = frozenset({"mode"})
    label: str = ""
    into: str = ""
    tables: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    mode: TdMode = TdMode.MISSING
    jobs: int = 2
    accept_lost_columns: bool = False


class TdengineRestore(TdState):
    """What is restored, what was found before (`lost`, `other`: rows) and what was written."""

    selection: TdSelection = TdSelection()
    mode: TdMode = TdMode.MISSING
    database: str = ""
    there: bool = True
    own: bool = True  # into the database that production writes
    rows: int = 0
    lost: int = 0
    other: int = 0
    rows_written: int = 0
    rows_present: int = 0


def wanted(context: Run) -> TdengineRestore:
    """What the operator said. Raises BadInput."""
    said: TdengineRestoreOptions = context.options
    check_name(said.into)
    if not 1 <= said.jobs <= 16:
        raise BadInput(f"--jobs is {said.jobs}", "give a number from 1 to 16")
    selection = TdSelection(
        label=said.label, into=said.into, tables=said.tables, symbols=said.symbols, since=said.since, until=said.until
    )
    return TdengineRestore(selection=selection, mode=said.mode)


def assess(context: Run, state: TdengineRestore) -> TdengineRestore:
    """A server answers and a sound backup is there, here or off-site."""
    servers = tdengine.survey(context.estate)
    if tdengine.speaker(servers) is None:
        why = "; ".join(f"{one.name}: {one.why or one.role}" for one in servers)
        raise Refused(
            f"no TDengine server can take rows: {why}",
            "./dr tdengine-rebuild when its host was lost, else ./dr deploy --limit HOST starts it",
        )
    if choice.is_lost(context):
        return state.model_copy(update={"offsite": True})
    return chosen(context, state)


def fetch(context: Run, state: TdengineRestore) -> TdengineRestore:
    choice.fetch(context)
    return chosen(context, state)


def chosen(context: Run, state: TdengineRestore) -> TdengineRestore:
    backup = choice.newest_sound(context, state.selection.label, state.selection.tables)
    return state.model_copy(
        update={
            "label": backup.label, "chain": backup.chain, "backup_at": backup.started_at,
            "selection": state.selection.model_copy(update={"label": backup.label}),
        }
    )  # fmt: skip


def compare(context: Run, state: TdengineRestore) -> TdengineRestore:
    """What the servers would refuse is refused here; then what is missing is counted."""
    planned = probe.plan(context.estate.backup, state.selection, context.remaining())
    accepted = context.options.accept_lost_columns
    if planned.lost and context.options.yes and not accepted:
        raise Refused(
            f"columns of {state.label} have no place in {planned.into} any more: {'; '.join(planned.lost)}",
            "--accept-lost-columns restores the others; --into NAME restores all of them beside",
        )
    found = td.compare(context, state.selection, rows=False)
    td.room(context, planned, found.lost)
    state = state.model_copy(
        update={
            "database": planned.into, "there": planned.there,
            "own": planned.into == str(context.estate.data["tdengine_database"]),
            "rows": sum(one.rows for one in found.tables), "lost": found.lost, "other": found.other,
            "writing_at": time.time(),
        }
    )  # fmt: skip
    told = [
        f"{one.table}: {one.rows:,} rows in the backup, {one.missing:,} missing, {one.other:,} with other content, "
        f"{one.live:,} live in the same hours"
        for one in found.tables
    ]
    told.append(planned.sentence)
    if planned.lost and not accepted:
        told.append("with --yes it wants --accept-lost-columns too")
    if not planned.there:
        told.append(f"there is no database {planned.into}: it is made as it was")
    if not context.options.yes:
        told.append(f"nothing was written into {planned.into}: repeat with --yes")
    return td.tell(context, state, *told)


def write(context: Run, state: TdengineRestore) -> TdengineRestore:
    td.hold(context, state, f"restoring {state.label} into {state.database}")
    done = act.restore(
        context.estate.backup, state.selection, state.mode, context.options.jobs, Asker.of(context),
        context.options.accept_lost_columns,
    )  # fmt: skip
    return td.tell(context, state, done.sentence).model_copy(
        update={
            "rows_written": state.rows_written + done.rows_written, "rows_present": done.rows_present,
        }
    )  # fmt: skip


def check(context: Run, state: TdengineRestore) -> TdengineRestore:
    """Held against the backup once more, by a process that restored nothing."""
    found = td.compare(context, state.selection, rows=True)
    if found.lost:
        first = found.missing[0]
        raise VerificationFailed(
            f"{found.lost:,} of {sum(one.rows for one in found.tables):,} rows of {state.label} are not in "
            f"{state.database}, the first of {first[0]} in the hour {first[1]}",
            "./dr tdengine-restore again writes what is missing; who deletes there?",
        )
    # Nobody else writes a side database; in production a correction may have come.
    exact = not state.own and (not state.there or state.mode is TdMode.OVERWRITE)
    if exact and found.other:
        raise VerificationFailed(f"{found.other:,} rows in {state.database} differ from {state.label}")
    return td.tell(context, td.flaws(context, state, found), f"checked again: {found.sentence}")


def lost_rows_of_production(context: Run, state: TdengineRestore) -> bool:
    """Where the application host may have later ones: it writes no table but those of the catalogue."""
    lost = state.own and state.mode is TdMode.MISSING and (state.lost > 0 or not state.there)
    return lost and bool(td.written_tables(state.selection.tables))


def is_written_beside(context: Run, state: TdengineRestore) -> bool:
    """Others write the same keys, the newest of which wins, or rows were lost that only they have."""
    corrected = state.own and bool(td.corrected_tables(state.selection.tables))
    return corrected or lost_rows_of_production(context, state)


def requeue(context: Run, state: TdengineRestore) -> TdengineRestore:
    """What was lost with those rows and is younger than the backup, or else what came while they were written."""
    if lost_rows_of_production(context, state):
        return td.requeue(context, state, td.written_tables(state.selection.tables))
    state = state.model_copy(update={"dead_before": td.outbox(context).dead_rows})
    return td.correct(context, state, state.selection.tables)


TDENGINE_RESTORE: Procedure[TdengineRestore] = Procedure(
    name="tdengine-restore",
    summary="Restore TDengine's rows into the same or a side database.",
    purpose=(
        "A supertable was dropped, rows were deleted or spoiled, or old ones are to be looked at beside. Compares the "
        "newest sound backup with the database hour by hour, where hours differ row by row, and prints the counts; "
        "with --yes it writes what is missing (--mode overwrite: also what has other content), looks for every row "
        "again, and writes again what the application host kept of the rows after the backup. Refuses before the first "
        "row what the server would refuse: precision, another key, an older version; rows that KEEP no longer allows "
        "are left out and counted, columns that have no place any more on --accept-lost-columns."
    ),
    gate=(td.DEPLOYED,),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="backup", budget="restore.cover", action=assess, observes=True,
            says="Find a server that answers and the newest sound backup.",
            evidence=Evidence("a backup whose chain is whole is named, or the off-site copy"), still=td.CHOSEN,
            commands=("cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.tdengine.backup.listing",),
        ),
        td.fetching(action=fetch),
        Step(
            name="compare", role="backup", budget="restore.compare", action=compare, observes=True,
            says="Ask whether the server can take the rows, count those that are missing or differ.",
            evidence=Evidence("precision, columns and version fit; rows are counted for every table"),
            commands=(
                "cd /opt/mystocks-dr && sudo -u postgres "
                "python3 -m agents.tdengine.backup.restore --label LABEL --plan",
                "cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.tdengine.backup.validate --label LABEL",
            ),
        ),
        Step(
            name="restore", role="backup", budget="restore.write", action=write, destructive=True, option="yes",
            grows=Grows.ROWS,
            says="Write the rows; what is there already stays, unless --mode overwrite was given.",
            evidence=Evidence("every hour holds what the backup's manifest says, or the rows of it one by one"),
            commands=(
                "cd /opt/mystocks-dr && sudo -u postgres "
                "python3 -m agents.tdengine.backup.restore --label LABEL",
            ),
        ),
        Step(
            name="check", role="backup", budget="restore.compare", action=check, option="yes",
            says="Compare again in a fresh process, and tell of rows that are there twice or lack a value.",
            evidence=Evidence("no row of the backup is missing"),
            commands=(
                "cd /opt/mystocks-dr && echo {} | sudo -u postgres "
                "python3 -m agents.tdengine.backup.validate --label LABEL --rows",
            ),
        ),
        td.rewriting(
            says="Write again, in their order, what the application host kept of the rows acknowledged since the "
            "backup began; where none was missing, since this restore began, where the newest of a key wins.",
            action=requeue, option="yes", when=is_written_beside, when_says="others write there",
        ),
        td.draining(option="yes", when=is_written_beside, when_says="others write there"),
        Step(
            name="end", role="backup", budget="ssh.command", action=td.end, option="yes",
            says="Give the lease on the backups back.",
            evidence=Evidence("it was given back, or ends by itself"),
        ),
    ),
)  # fmt: skip
