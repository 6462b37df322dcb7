"""Rejoin: a host that was primary, or a standby that fell out, becomes the synchronous standby again."""

from __future__ import annotations

from inventories.errors import DrError, Refused, TargetFailed, VerificationFailed
from runbooks.actions import postgres as act
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.hosts import Host
from runbooks.layout import KEPT
from runbooks.probes import postgres
from runbooks.procedures import common
from runbooks.procedures.common import Roles, Run, layout, other_of, primary_of


class RejoinOptions(Options):
    """`host`: which one rejoins; empty takes the only one that is not streaming."""

    host: str = ""
    reclone: bool = False  # do not try pg_rewind


class Rejoin(Roles):
    """`kept_*` describe what only the returning host had: commits, bytes, and the folder on that host."""

    was_standby: bool = False
    fork: int | None = None
    kept: str = ""
    kept_commits: int = 0
    kept_bytes: int = 0
    rebuilt_by: str = ""


def assess(context: Run, state: Rejoin) -> Rejoin:
    """Find the primary and the host to bring back. Refuses when it streams already or cannot be reached."""
    nodes = postgres.survey(context.estate)
    wanted = context.options.host
    out = [node for node in nodes if not node.streams and (node.name == wanted or not (wanted or node.is_primary))]
    primaries = [node for node in nodes if node.is_primary and node.name != wanted]
    primary = postgres.the_primary(primaries)
    if wanted and context.estate.host(wanted) not in context.estate.postgres:
        raise Refused(f"{wanted} is not a PostgreSQL host")
    if not out:
        raise Refused(f"{wanted or 'every other node'} streams from {primary.name} already: there is nothing to rejoin")
    node = out[0]
    if not node.ssh:
        raise Refused(
            f"{node.name} cannot be reached ({node.why})",
            "power it on first; PostgreSQL stays down until it is rejoined",
        )
    if node.is_primary and (node.timeline or 0) >= (primary.timeline or 0):
        raise Refused(f"{node.name} is primary on timeline {node.timeline}, no lower than that of {primary.name}")
    return state.model_copy(
        update={
            "primary": primary.name, "other": node.name,
            "timeline": primary.timeline, "was_standby": node.standby_signal,
        }
    )  # fmt: skip


def stop(context: Run, state: Rejoin) -> Rejoin:
    act.fence(other_of(context, state), layout(context), f"rejoin, run {context.run_dir.name}")
    return state


def stopped(context: Run, state: Rejoin) -> None:
    if other_of(context, state).reachable(5432):
        raise VerificationFailed(f"something still listens on port 5432 of {state.other}")


def keep(context: Run, state: Rejoin) -> Rejoin:
    """Copy what lies behind the fork, and count the commits in it, before the rewind erases them."""
    host, paths = other_of(context, state), layout(context)
    mine = postgres.last_timeline(host, paths.version)
    forks = postgres.fork_points(primary_of(context, state), paths.version, state.timeline)
    if mine >= state.timeline:
        return state.model_copy(update={"old_timeline": mine})
    if mine not in forks:
        raise TargetFailed(
            f"timeline {state.timeline} of {state.primary} does not descend from timeline {mine} of {state.other}"
        )
    fork = forks[mine]
    folder = f"{KEPT}/{context.run_dir.name}"
    first = postgres.segment(mine, fork)
    act.keep_fork(host, paths, mine, postgres.as_lsn(fork), first, context.run_dir.name)
    commits, size = _what_was_kept(host, folder)
    if not commits:
        act.forget_kept(host, folder)
        context.say(f"{state.other} had no commit behind the fork at {postgres.as_lsn(fork)}: nothing to keep")
        return state.model_copy(update={"old_timeline": mine, "fork": fork})
    context.say(
        f"{state.other} had {commits} commits behind the fork at {postgres.as_lsn(fork)}; "
        f"{size} bytes of WAL are kept in {folder}"
    )
    return state.model_copy(
        update={"old_timeline": mine, "fork": fork, "kept": folder, "kept_commits": commits, "kept_bytes": size}
    )


def _what_was_kept(host: Host, folder: str) -> tuple[int, int]:
    ran = host.run("grep -c 'desc: COMMIT' %s/commits.txt; du -sb %s | cut -f1", folder, folder, expect=None)
    commits, size = ran.stdout.split()[:2]
    return int(commits), int(size)


def rebuild(context: Run, state: Rejoin) -> Rejoin:
    """pg_rewind; where that cannot work, restore over the directory from the repository."""
    host, source, paths = other_of(context, state), primary_of(context, state), layout(context)
    act.checkpoint(source)
    act.hold_wal(source, host.name)
    how = "pg_rewind"
    try:
        if context.options.reclone:
            raise TargetFailed("asked for a re-clone")
        act.rewind(host, paths, source, budget("rejoin.rewind") / 2)
    except DrError as error:
        context.say(f"re-cloning {host.name} from the repository: {error}")
        act.reclone(host, paths, context.remaining())
        how = "re-clone from the repository"
    act.make_standby(host, paths)
    return state.model_copy(update={"rebuilt_by": how})


def rebuilt(context: Run, state: Rejoin) -> None:
    host, paths = other_of(context, state), layout(context)
    host.run("test -e %s/standby.signal && test -e %s/PG_VERSION", paths.data, paths.data)


def start(context: Run, state: Rejoin) -> Rejoin:
    """Let it start again, as a standby, and forget the slots that it brought from its time as a primary."""
    host, paths = other_of(context, state), layout(context)
    act.hold_wal(primary_of(context, state), host.name)
    act.unfence(host, paths)
    act.start(host, paths)
    act.drop_slots(host)
    return state


REJOIN: Procedure[Rejoin] = Procedure(
    name="rejoin",
    summary="Make a lost node the synchronous standby again.",
    purpose=(
        "Redundancy is missing: every commit exists once. Rewinds the former primary to the fork, or re-clones it from "
        "the repository, after keeping a copy of what only it had. Refuses when there is no primary to follow."
    ),
    gate=(common.TWO_NODES, common.ONE_ANSWERS),
    initial=lambda context: Rejoin(),
    steps=(
        Step(
            name="assess", role="all hosts", budget="ssh.command", action=assess, observes=True,
            says="Find the primary and the node that does not follow it.",
            evidence=Evidence("one primary answers, the returning host answers SSH and does not stream"),
        ),
        Step(
            name="stop", role="returning host", budget="ssh.command", action=stop,
            says="Stop PostgreSQL there and keep it fenced until it is a standby.",
            evidence=Evidence("nothing listens on port 5432", stopped),
            commands=("systemctl mask --now postgresql@17-main",),
        ),
        Step(
            name="keep-fork", role="returning host", budget="rejoin.rewind", action=keep,
            when=lambda context, state: not state.was_standby, when_says="it was a primary",
            says="Copy the WAL that only this host has and list its commits.",
            evidence=Evidence("the copy and the number of commits are in the journal"),
            commands=(
                "pg_waldump --timeline=OLD --start=FORK --rmgr=Transaction --path=/var/lib/postgresql/17/main/pg_wal",
            ),
        ),
        Step(
            name="rebuild", role="returning host", budget="rejoin.rewind", action=rebuild, destructive=True,
            when=lambda context, state: not state.was_standby or context.options.reclone,
            when_says="it was a primary, or a re-clone was asked for",
            says="Rewind the data directory to the fork; where that fails restore it from the repository.",
            evidence=Evidence("standby.signal is there", rebuilt),
            commands=(
                "pg_rewind -D /var/lib/postgresql/17/main --source-server='host=PRIMARY user=rewind dbname=postgres' "
                "--restore-target-wal --config-file=/etc/postgresql/17/main/postgresql.conf",
                "touch /var/lib/postgresql/17/main/standby.signal",
                "# or: pgbackrest --stanza=main --delta --type=standby restore",
            ),
        ),
        Step(
            name="start", role="returning host", budget="rejoin.stream", action=start,
            says="Take the fence away and start it as a standby.",
            evidence=Evidence("it streams from the primary on the primary's timeline", common.follows),
            commands=(
                "rm /etc/mystocks-dr/fenced",
                "systemctl unmask postgresql@17-main",
                "systemctl start postgresql@17-main",
            ),
        ),
        common.synchronous(Rejoin),
        common.verification(Rejoin, off=False),
    ),
)  # fmt: skip
