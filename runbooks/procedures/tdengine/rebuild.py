"""Rebuild TDengine: its host is lost with its disk; a blank one gets backup, shadow and outbox back.

Writes go on as soon as the new server runs. What was acknowledged since the backup is written again before the backup's
rows come: a restore leaves alone what is there already, and until it has ended no backup is taken that would let the
shadow go.
"""

from __future__ import annotations

import time
from typing import ClassVar

from inventories.errors import Refused, VerificationFailed
from runbooks.actions import backup as backups
from runbooks.actions import provision
from runbooks.actions.tdengine import restore as act
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Grows, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.long_work.work import Asker
from runbooks.probes.durations import span
from runbooks.probes.tdengine import ground
from runbooks.probes.tdengine import restore as probe
from runbooks.probes.tdengine import servers as tdengine
from runbooks.probes.tdengine.ground import DATA, Ground
from runbooks.procedures.tdengine import choice, verifying
from runbooks.procedures.tdengine import common as td
from runbooks.procedures.tdengine.common import TdState
from runbooks.procedures.tdengine.rejoin import LEAST
from runbooks.tdengine.selection import TdMode, TdSelection


class TdengineRebuildOptions(Options):
    """`label`: this backup and no other. `replace`: move data aside that lie in the way."""

    added_later: ClassVar[frozenset[str]] = frozenset({"jobs"})
    label: str = ""
    replace: bool = False
    jobs: int = 2


class TdengineRebuild(TdState):
    """The hosts, those whose data are moved aside, and what was restored. Times are unix seconds."""

    hosts: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    rows: int = 0  # of the backup
    rows_written: int = 0
    rows_present: int = 0


def database(context: Run) -> str:
    return str(context.estate.data["tdengine_database"])


def hosts_answer(context: Run) -> None:
    """Raises Refused naming those that do not: one that is only cut off may still take writes."""
    estate = context.estate
    silent = [host for host in (*tdengine.hosts(estate), estate.backup, estate.app) if not host.reachable()]
    if silent:
        names = ", ".join(f"{host.name} ({host.address})" for host in silent)
        raise Refused(
            f"{names} cannot be reached",
            "power it on, or put another machine in its place in the inventory; a blank one will do",
        )


def nothing_is_served(context: Run) -> None:
    """Raises Refused while a server has rows, or where a disk holds data that nobody said to move aside."""
    seen = ground.survey(context.estate, database(context))
    serving = [one for one in seen if one.rows]
    if serving and len(seen) > 1:
        raise Refused(
            f"{serving[0].name} serves {serving[0].rows:,} rows, so the cluster is not lost",
            "./dr tdengine-rejoin HOST brings a lost node back; ./dr tdengine-restore brings lost rows back",
        )
    if context.options.replace:
        _refuse_mounted(seen)
        return
    if serving:
        raise Refused(
            f"TDengine on {serving[0].name} serves {serving[0].rows:,} rows, so it is not lost",
            "./dr tdengine-restore brings back what is missing; --replace moves all of it aside and deletes nothing",
        )
    stopped = [one.name for one in seen if one.holds and not one.online]
    if stopped and len(stopped) < len(seen) >= LEAST:
        raise Refused(
            f"{', '.join(stopped)}: {DATA} holds a copy of the rows, and without the others it serves none",
            "./dr tdengine-restart where another still has its data; where no other has, --replace rebuilds all of "
            "them from the backup, and what was acknowledged since is only in the folder that it moves aside",
        )
    if stopped:
        raise Refused(
            f"{', '.join(stopped)}: {DATA} holds data, and TDengine does not run there",
            f"./dr deploy --limit {stopped[0]} starts it; if it cannot, --replace moves its data aside",
        )


def _refuse_mounted(seen: tuple[Ground, ...]) -> None:
    fixed = [one.name for one in seen if one.mounted and one.holds]
    if fixed:
        raise Refused(
            f"{DATA} on {', '.join(fixed)} is a file system of its own and cannot be renamed",
            "move its contents to another file system by hand, then repeat without --replace",
        )


def aside(context: Run) -> str:
    """Where data are moved: the same place for every attempt of one run."""
    return f"{DATA}.replaced-{context.run_dir.name.partition('-')[0]}"


def assess(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    seen = ground.survey(context.estate, database(context))
    state = state.model_copy(
        update={
            "hosts": tuple(one.name for one in seen),
            "replaced": tuple(one.name for one in seen if one.holds) if context.options.replace else (),
        }
    )  # fmt: skip
    if choice.is_lost(context):
        return state.model_copy(update={"offsite": True})
    return chosen(context, state)


def fetch(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    choice.fetch(context)
    return chosen(context, state)


def chosen(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    """The backup, and how much of what is younger the application host still has."""
    backup = choice.newest_sound(context, context.options.label, ())
    state = state.model_copy(
        update={
            "label": backup.label, "chain": backup.chain, "backup_at": backup.started_at, "rows": backup.rows,
        }
    )  # fmt: skip
    box = td.outbox(context)
    context.say(f"{box.pending_rows:,} rows wait in TDengine's outbox")
    if box.shadow_since is None:
        kept = "keeps no shadow" if box.shadow_bytes is None else "has an empty shadow"
        why = f"{context.estate.app} {kept}: what was acknowledged since the backup began may be lost"
        return td.warn(context, state, why)
    if box.shadow_since > backup.started_at:
        gap = span(box.shadow_since - backup.started_at)
        context.say(f"the shadow begins {gap} after the backup: what was acknowledged between is lost if anything was")
    else:
        context.say(f"the shadow reaches back {span(time.time() - box.shadow_since)}, to before the backup")
    return state


def put_aside(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    for name in state.replaced:
        act.put_aside(context.estate.host(name), DATA, aside(context))
    return state


def is_aside(context: Run, state: TdengineRebuild) -> None:
    left = [one.name for one in ground.survey(context.estate, database(context)) if one.holds]
    if left:
        raise VerificationFailed(f"{', '.join(left)}: {DATA} still holds data")


def deploy(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    """The lease is taken first: from here on the backup is needed."""
    td.hold(context, state, f"rebuilding TDengine on {', '.join(state.hosts)} from {state.label}")
    changes = provision.hosts(context.estate, state.hosts, context.run_dir / "deploy.log")
    context.say(f"{changes.operations} operations on {', '.join(state.hosts)}, {len(changes.by_operation)} changed")
    return state.model_copy(update={"writing_at": time.time()})


def serves(context: Run, state: TdengineRebuild) -> None:
    """Every node is ready, and the database is there with its supertables."""
    until(
        lambda: tdengine.survey(context.estate), context.remaining(), what="every TDengine server to be ready",
        accept=lambda servers: all(one.role == "ready" and database(context) in one.databases for one in servers),
    )  # fmt: skip


def restore(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    selection = TdSelection(label=state.label)
    planned = probe.plan(context.estate.backup, selection, context.remaining())
    td.room(context, planned, planned.rows)
    # The database was made from today's catalogue: what that has no place for stays behind, and is told.
    done = act.restore(
        context.estate.backup, selection, TdMode.MISSING, context.options.jobs, Asker.of(context), accept_lost=True
    )
    return td.tell(context, state, done.sentence).model_copy(
        update={"rows_written": done.rows_written, "rows_present": done.rows_present}
    )


def validate(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    """Every row of the backup is there; what was twice in it came back as it was, and is told."""
    found = td.compare(context, TdSelection(label=state.label), rows=True)
    if found.lost:
        raise VerificationFailed(
            f"{database(context)}: {found.sentence}", "./dr tdengine-restore --yes writes what is missing"
        )
    return td.tell(context, td.flaws(context, state, found), found.sentence)


def back_up(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    wait_s = budget("backup") / 2
    return td.tell(context, state, backups.run_job(context.estate.backup, "td-full", Asker.of(context), wait_s=wait_s))


def end(context: Run, state: TdengineRebuild) -> TdengineRebuild:
    state = td.end(context, state)
    if not state.replaced:
        return state
    return td.tell(context, state, f"what {', '.join(state.replaced)} held before lies in {aside(context)}")


TDENGINE_REBUILD: Procedure[TdengineRebuild] = Procedure(
    name="tdengine-rebuild",
    summary="Rebuild TDengine on a blank host: backup, shadow, outbox.",
    purpose=(
        "TDengine's host is lost with its disk, or its server does not start any more. Deploys a blank host of the "
        "same address, writes again what the application host kept of the rows since the newest sound backup, restores "
        "that backup, lets the outbox drain, holds every row against the backup and takes a new one. Refuses while a "
        "server has rows, and where a disk holds data, which --replace moves aside and never deletes."
    ),
    gate=(
        td.DEPLOYED,
        Gate("hosts-answer", "TDengine's hosts, the backup host and the application host answer SSH.", hosts_answer),
        Gate("nothing-is-served", "No TDengine server has rows, and no disk holds data.", nothing_is_served),
    ),
    initial=lambda context: TdengineRebuild(),
    steps=(
        Step(
            name="assess", role="all hosts", budget="restore.cover", action=assess, observes=True,
            says="Find the newest sound backup, and how far back the application host kept rows.",
            evidence=Evidence("a backup whose chain is whole is named, or the off-site copy"), still=td.CHOSEN,
            commands=(
                "cd /opt/mystocks-dr && sudo -u postgres "
                "python3 -m agents.tdengine.backup.listing   # on the backup host",
            ),
        ),
        td.fetching(action=fetch),
        Step(
            name="put-aside", role="TDengine's hosts", budget="restore.prepare", action=put_aside, destructive=True,
            option="replace", when=lambda context, state: bool(state.replaced), when_says="a disk holds data",
            says="Stop the server and move its data aside; nothing is deleted.",
            evidence=Evidence("the data directory is empty", is_aside),
            commands=("systemctl disable --now taosd", "mv /var/lib/taos /var/lib/taos.replaced"),
        ),
        Step(
            name="deploy", role="TDengine's hosts", budget="provision", action=deploy,
            says="Deploy the blank hosts: package, settings, accounts, database, supertables. Writes go on from here.",
            evidence=Evidence("every server is ready and has the database", serves),
            commands=("./dr deploy --limit tsdb1",),
        ),
        td.rewriting(action=td.requeue),
        Step(
            name="restore", role="backup", budget="restore.write", action=restore, grows=Grows.ROWS,
            says="Restore the backup; rows that are there already are newer and stay.",
            evidence=Evidence("every hour holds what the backup's manifest says, or the rows of it one by one"),
            commands=(
                "cd /opt/mystocks-dr && sudo -u postgres "
                "python3 -m agents.tdengine.backup.restore --label LABEL",
            ),
        ),
        td.rewriting(
            name="correct", action=td.correct,
            says="Write again what was acknowledged meanwhile, of the tables in which the newest of a key wins: a "
            "correction may have come between a look of the restore and its write.",
        ),
        td.draining(),
        Step(
            name="validate", role="backup", budget="restore.compare", action=validate,
            says="Hold every row against the backup in a fresh process; tell of rows that are there twice.",
            evidence=Evidence("no row of the backup is missing"),
            commands=(
                "cd /opt/mystocks-dr && echo {} | sudo -u postgres "
                "python3 -m agents.tdengine.backup.validate --label LABEL --rows",
            ),
        ),
        Step(
            name="backup", role="backup", budget="restore.write", action=back_up, grows=Grows.ROWS,
            says="Take a full backup of the new server.",
            evidence=Evidence("its files were read again and hold what the server gave out"),
            commands=("cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.jobs.runner run td-full --wait",),
        ),
        verifying.VERIFY,
        Step(
            name="end", role="backup", budget="ssh.command", action=end,
            says="Give the lease on the backups back and say where replaced data lie.",
            evidence=Evidence("both were done or said"),
        ),
    ),
)  # fmt: skip
