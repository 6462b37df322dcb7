"""restore-pitr: bring the database back to a point in time, first beside the primary, in its place only on demand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.hosts import Run
from runbooks.layout import DATA
from runbooks.procedures.postgresql import archiving, delayed, gates, guards, streaming, validating, verifying, writing
from runbooks.procedures.postgresql import pitr_side as beside
from runbooks.procedures.postgresql import pitr_swap as inplace
from runbooks.procedures.postgresql import pitr_target as beforehand
from runbooks.procedures.postgresql.pitr_state import SIDE, RestorePitr, RestorePitrOptions, wanted
from runbooks.procedures.postgresql.working import nobody_works


def begins(context: Run) -> RestorePitr:
    """What was asked for. Raises BadInput, and Refused while another run does the same."""
    state = wanted(context)
    delayed.fitting(context)
    nobody_works(context, f"side-{SIDE}", *([DATA] if context.options.swap else []))
    return state


def choose(context: Run, state: RestorePitr) -> RestorePitr:
    """A delayed standby that has the target still before it, or the backup that leads to it."""
    state = delayed.found(context, state)
    return state if state.delayed else beforehand.choose(context, state)


def _after(step: Step[Any]) -> Step[Any]:
    return replace(step, option="swap")


_ARCHIVE: Step[RestorePitr] = replace(
    archiving.ARCHIVE,
    evidence=Evidence[RestorePitr](
        "the repository has room, the new timeline's history and its WAL from the fork on", inplace.archived_whole
    ),
)
_PUT_BACK = "Put the old data directory back and start the primary and every standby as they were."

RESTORE_PITR: Procedure[RestorePitr] = Procedure(
    name="restore-pitr",
    summary="Bring the database back to a point in time.",
    purpose=(
        "A statement destroyed data that is on every standby within milliseconds. Restores the newest good backup that "
        "ended before the target into a side cluster that is cut off from the world, stops it exactly there and shows "
        "what is in it; the primary goes on untouched. With --swap it takes the primary's place: everything committed "
        "after the target is then only in the replaced data directory, which is kept. Refuses a target without zone, "
        "outside what is archived or in a gap of it. Where only some tables are damaged, restore-table keeps the rest."
    ),
    gate=(gates.TWO_NODES, gates.ONE_ANSWERS),
    initial=begins,
    steps=(
        Step(
            name="assess", role="all hosts", budget="ssh.command", action=beforehand.assess, observes=True,
            says="Find the primary, and make sure that the target lies in its past.",
            evidence=Evidence("one primary answers; the target is neither in the future nor of a running transaction"),
            still=Evidence("the primary, unless this run has taken it out of service", inplace.nobody_else),
            commands=("psql -c 'select clock_timestamp(), pg_current_wal_lsn(), pg_current_snapshot()'",),
        ),
        Step(
            # A commit that changes nothing and a closed segment are nothing that anybody could miss or notice.
            name="cover", role="primary", budget="restore.cover", action=beforehand.cover, observes=True,
            when=lambda context, state: state.goal == state.old_timeline,
            when_says="the primary's own timeline is followed",
            says="Commit once more and close the WAL segment, so that an archived commit is behind every past moment.",
            evidence=Evidence("the repository holds that segment, or its absence was said"),
            commands=("psql -c 'select pg_current_xact_id()' -c 'select pg_switch_wal()'",),
        ),
        Step(
            name="choose", role="backup", budget="restore.locate", action=choose, observes=True,
            says="Find the target before a delayed standby, else in the archive with the newest good backup before it.",
            evidence=Evidence("a standby has it before it, or a sound backup's WAL is whole up to a commit behind it"),
            commands=(
                "pgbackrest --stanza=main info",
                "pgbackrest repo-ls --recurse archive/main",
                "tail -n 20 /var/lib/mystocks-dr/proofs.jsonl   # backups that are known to be damaged",
            ),
        ),
        Step(
            name="hold", role="backup", budget="ssh.command", action=beforehand.hold,
            when=lambda context, state: not state.delayed, when_says="a backup is restored",
            says="Take a lease on the repository, so that nothing in it expires meanwhile.",
            evidence=Evidence("the lease is written and the backup is still there", beforehand.still_there),
            still=Evidence("in the repository, as long as it is needed", beforehand.still_needed),
        ),
        Step(
            name="side-restore", role="primary", budget="restore.side", action=beside.side_restore,
            grows=Grows.RESTORE,
            says="Open the delayed standby at the target, or restore the backup beside the primary up to it.",
            evidence=Evidence("it stands paused at the target", beside.stands),
            still=Evidence("the side cluster of this target, until it is promoted", beside.there),
            commands=(
                "pgbackrest --config=/etc/pgbackrest/restore.conf --stanza=main "
                "--pg1-path=/var/lib/postgresql/17/side-pitr --set=LABEL --type=none --archive-mode=off restore",
                "# a postgresql.conf of its own: listen_addresses='', archive_mode=off,",
                "# timescaledb.max_background_workers=0, recovery_target_..., recovery_target_inclusive=off,",
                "# recovery_target_timeline=N, recovery_target_action=pause",
            ),
        ),
        Step(
            name="inspect", role="primary", budget="restore.locate", action=beside.inspect, observes=True,
            says="Show its tables and the commits on either side of the target.",
            evidence=Evidence("the last commit in it lies before the target and the next one after it", beside.reached),
            commands=("pg_waldump --rmgr=Transaction --start=LSN   # around pg_last_wal_replay_lsn()",),
        ),
        Step(
            name="promote-side", role="primary", budget="restore.side", action=inplace.promote_side, option="swap",
            says="Promote the side cluster while it is still cut off, so that it gets a timeline of its own.",
            evidence=Evidence("its timeline is higher than every one that is known", inplace.on_new_timeline),
            commands=("psql -h /var/lib/postgresql/17/side-pitr.d -p 5433 -c 'select pg_promote(true, 60)'",),
        ),
        Step(
            name="fence-main", role="primary and standbys", budget="restore.swap", action=inplace.fence_main,
            destructive=True, option="swap",
            says="Note that there is no standby to promote; stop and fence the primary, then every standby.",
            evidence=Evidence("nothing listens on port 5432 of any of them", inplace.both_down),
            undo=inplace.put_back, undo_says=_PUT_BACK,
            commands=(
                "echo restore-pitr > /etc/mystocks-dr/fenced; systemctl mask --now postgresql@17-main   # on each",
            ),
        ),
        Step(
            name="swap", role="primary", budget="restore.swap", action=inplace.swap, destructive=True, option="swap",
            says="Stop the side cluster and rename: the main directory aside, the side cluster's in its place.",
            evidence=Evidence("the main directory is the promoted one, the replaced one is beside it", inplace.swapped),
            undo=inplace.put_back, undo_says=_PUT_BACK,
            commands=(
                "cd /var/lib/postgresql/17; mv main main.replaced-STAMP; mv side-pitr main",
                "touch main/pg_wal/archive_status/TIMELINE.history.ready",
            ),
        ),
        Step(
            name="start", role="primary", budget="promote", action=inplace.start, option="swap",
            says="Start it as the primary, with the declared configuration; commits wait for nobody yet.",
            evidence=Evidence("it takes writes on the new timeline", inplace.takes_writes), still=guards.promoted(),
            undo=inplace.put_back, undo_says=_PUT_BACK,
            commands=(
                "rm -f /etc/postgresql/17/main/conf.d/90-synchronous.conf /etc/mystocks-dr/fenced",
                "touch /etc/mystocks-dr/allow-start; systemctl unmask postgresql@17-main",
                "systemctl start postgresql@17-main",
            ),
        ),
        _after(writing.WRITE_PATH),
        _after(_ARCHIVE),
        _after(writing.DRAIN),
        _after(archiving.BACKUP),
        Step(
            name="standby", role="standby", budget="restore.side", action=inplace.standby, option="swap",
            grows=Grows.RESTORE,
            when=inplace.other_answers, when_says="the standby's host answers",
            says="Restore the standby from the new timeline's backup and start it.",
            evidence=Evidence("it streams from the primary on the new timeline", streaming.follows),
            commands=(
                "pgbackrest --stanza=main --delta --type=standby restore",
                "touch /var/lib/postgresql/17/main/standby.signal; rm /etc/mystocks-dr/fenced",
                "systemctl unmask postgresql@17-main; systemctl start postgresql@17-main",
            ),
        ),
        replace(
            _after(streaming.SYNCHRONOUS),
            when=lambda context, state: state.rebuilt, when_says="the standby was rebuilt",
        ),
        _after(validating.GLANCE),
        _after(verifying.verification(without=lambda state: "" if state.rebuilt else "lost")),
        Step(
            name="finish", role="backup", budget="restore.swap", action=inplace.finish,
            says="Give the lease back, and say what is kept of the old primary.",
            evidence=Evidence("the lease is gone; the replaced directory was named with its size"),
        ),
    ),
)  # fmt: skip

__all__ = ["RESTORE_PITR", "SIDE", "RestorePitr", "RestorePitrOptions"]
