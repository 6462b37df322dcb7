"""Rejoin: a host that was primary, or a standby that fell out, becomes the synchronous standby again."""

from __future__ import annotations

from contextlib import suppress

from inventories.errors import BadInput, DrError, Refused, TargetFailed, TimedOut, VerificationFailed
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import server as act
from runbooks.actions.postgresql import side as sides
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.hosts import Host, Run
from runbooks.layout import DATA, KEPT
from runbooks.long_work.work import Asker, Overtaken
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql import side as side_probe
from runbooks.probes.postgresql import stopped as files
from runbooks.procedures.postgresql import gates, guards, rebuilding, streaming, verifying
from runbooks.procedures.postgresql.fitting import fit
from runbooks.procedures.postgresql.roles import Roles, layout, other_of, primary_of
from runbooks.procedures.postgresql.working import nobody_works


class RejoinOptions(Options):
    """`host`: which one rejoins; empty takes the only one that is not streaming."""

    host: str = ""
    reclone: bool = False  # do not try pg_rewind


class Rejoin(Roles):
    """`kept_*` describe what only the returning host had: commits, bytes, and the folder on that host.

    `at`: how far the primary had written when the run began.
    """

    at: int = 0
    was_standby: bool = False
    fork: int | None = None
    kept: str = ""
    kept_commits: int = 0
    kept_bytes: int = 0
    rebuilt_by: str = ""
    aside: str = ""  # where what lay in the data directory lies now, when it was no older copy of the primary's


def wanted(context: Run) -> Rejoin:
    """Nothing is known yet, but for the host that was named: it must be one. Raises BadInput."""
    name, candidates = context.options.host, [host.name for host in context.estate.postgres]
    if name and name not in candidates:
        raise BadInput(
            f"{name!r} is no PostgreSQL host of inventory {context.estate.inventory}",
            f"its PostgreSQL hosts are {' and '.join(candidates)}",
        )
    nobody_works(context, DATA)
    return Rejoin()


def assess(context: Run, state: Rejoin) -> Rejoin:
    """Find the primary and the host to bring back. Refuses when it streams already or cannot be reached."""
    nodes = server.survey(context.estate)
    wanted = context.options.host
    out = [node for node in nodes if _is_out(node, wanted)]
    primaries = [node for node in nodes if node.is_primary and node.name != wanted]
    if not primaries:
        _not_the_primary_itself(nodes, wanted)
    primary = server.the_primary(primaries or nodes)  # a refusal tells of every node, and where that leads
    if not out:
        raise Refused(
            f"{wanted or 'every other node'} streams from {primary.name} already: there is nothing to rejoin",
            "./dr status shows what else is missing; ./dr deploy makes commits wait for a standby that streams",
        )
    node = _which(out, wanted)
    if node.slow:
        raise Refused(f"{node.name} did not answer in time ({node.why})", server.asks_again(node.name))
    if not node.ssh:
        raise Refused(
            f"{node.name} cannot be reached ({node.why})",
            f"power it on first, then ./dr rejoin {node.name} --yes; PostgreSQL stays down until it is rejoined",
        )
    if not node.installed:
        raise Refused(f"PostgreSQL is not installed on {node.name}", "./dr deploy installs it and clones the primary")
    _not_the_one_to_keep(context, node, primary)
    if context.options.reclone or not node.standby_signal:
        _can_be_rebuilt(context, node, primary)
    return state.model_copy(
        update={
            "primary": primary.name, "other": node.name,
            "timeline": primary.timeline, "at": primary.written or 0, "was_standby": node.standby_signal,
        }
    )  # fmt: skip


def _which(out: list[server.Node], wanted: str) -> server.Node:
    """The only one that is out, or the only one of those whose host answers. Raises Refused where it must be named."""
    there = [node for node in out if node.ssh] or out
    if len(there) > 1 and not wanted:
        raise Refused(
            f"{' and '.join(node.name for node in there)} are out, and one after the other rejoins",
            "; ".join(f"./dr rejoin {node.name} --yes" for node in there),
        )
    return there[0]


def _can_be_rebuilt(context: Run, node: server.Node, primary: server.Node) -> None:
    """Raises Refused, before anything is stopped, where no restore could come into the data directory."""
    room = rebuilding.would_make_room(context, primary.host, node.host, primary.written or 0)
    if room.aside:
        context.say(f"{layout(context).data} on {node.name} {room.why}: it will be moved to {room.aside}")


def _not_the_primary_itself(nodes: tuple[server.Node, ...], wanted: str) -> None:
    """Raises Refused, naming who is out, when the host that was named is the one that takes writes."""
    if not any(node.is_primary and node.name == wanted for node in nodes):
        return
    out = [node.name for node in nodes if _is_out(node, "")]
    raise Refused(
        f"{wanted} is the primary that takes writes, and others rejoin it",
        f"./dr rejoin {out[0]} --yes brings {out[0]} back" if out else "./dr switchover moves its role to its standby",
    )


def _is_out(node: server.Node, wanted: str) -> bool:
    """One that receives and has paused replays nothing: it is brought back where it is named."""
    if node.name == wanted:
        return not node.streams or node.replay_paused
    return not node.follows and not wanted and not node.is_primary


def _not_the_one_to_keep(context: Run, node: server.Node, primary: server.Node) -> None:
    """Of two that take writes the higher timeline goes on. Where they are equal nothing tells, but the operator."""
    mine, its = node.timeline or 0, primary.timeline or 0
    if not node.is_primary or mine < its or (mine == its and context.options.host and context.options.reclone):
        return
    if mine == its:
        raise Refused(
            f"{node.name} and {primary.name} both take writes on timeline {mine}, so none is the older one",
            f"./dr rejoin {node.name} --reclone --yes, if it is {primary.name} that shall go on; "
            f"the WAL of {node.name} is kept there",
        )
    raise Refused(
        f"{node.name} is primary on timeline {mine}, higher than that of {primary.name}",
        f"./dr rejoin {primary.name} --yes stops {primary.name} instead, and keeps what only it has",
    )


def as_assessed(context: Run, state: Rejoin) -> None:
    """Asked when a run is resumed: the primary to follow is the one that was found, and nothing newer is known."""
    guards.is_primary(context, state)
    guards.not_succeeded(context, state)


def stop(context: Run, state: Rejoin) -> Rejoin:
    _no_longer_open(context, other_of(context, state))
    act.fence(other_of(context, state), layout(context), f"rejoin, run {context.run_dir.name}")
    return _as_it_parted(context, state)


def _no_longer_open(context: Run, host: Host) -> None:
    """A delayed standby that a restore has left open ends cleanly; the fence would kill it."""
    if not host.entry.delay_s:
        return
    with suppress(DrError):
        for one in side_probe.every(host):
            if one.standby:
                sides.drop(host, one.name, min(60, context.remaining()))


def _as_it_parted(context: Run, state: Rejoin) -> Rejoin:
    """Of several standbys one may have received more than the one that was promoted: then it parted as a primary does.

    Nobody was told of those rows, since commits wait for more than that one; it is rewound, and they are kept.
    """
    if len(context.estate.postgres) <= 2 or not state.was_standby or context.options.reclone:
        return state
    host, paths = other_of(context, state), layout(context)
    (seen,) = files.survey((host,), paths)
    fork = server.fork_points(primary_of(context, state), paths.version, state.timeline).get(seen.timeline)
    if not seen.readable or fork is None or seen.timeline >= state.timeline or seen.end < fork:
        return state
    context.say(
        f"{host} received WAL to {server.as_lsn(seen.end)}, and {state.primary} went another way at "
        f"{server.as_lsn(fork)}: it is rewound"
    )
    act.as_primary(host, paths)  # fenced: no start comes of it, and a rewind replays what a crash has left
    return state.model_copy(update={"was_standby": False})


def stopped(context: Run, state: Rejoin) -> None:
    if server.listens(other_of(context, state)):
        raise VerificationFailed(f"something still listens on port 5432 of {state.other}")


def keep(context: Run, state: Rejoin) -> Rejoin:
    """Copy what lies behind the fork, and count the commits in it, before the rebuild erases them."""
    host, paths = other_of(context, state), layout(context)
    if not server.has_wal(host, paths.version):
        context.say(f"WARNING: {state.other} has no WAL left, so nothing of it can be kept")
        return state
    forks = server.fork_points(primary_of(context, state), paths.version, state.timeline)
    mine = _timeline_of(context, state, forks)
    fork = forks.get(mine)
    folder = f"{KEPT}/{context.run_dir.name}"
    if fork is None:
        return _keep_everything(context, state.model_copy(update={"old_timeline": mine}), folder)
    first = server.segment(mine, fork)
    act.keep_fork(host, paths, mine, server.as_lsn(fork), first, folder, Asker.of(context))
    commits, size, whole = _what_was_kept(host, folder)
    if not commits and whole:
        act.forget_kept(host, folder)
        context.say(f"{state.other} had no commit behind the fork at {server.as_lsn(fork)}: nothing to keep")
        return state.model_copy(update={"old_timeline": mine, "fork": fork})
    context.say(
        f"{state.other} had {commits if whole else f'at least {commits}'} commits behind the fork at "
        f"{server.as_lsn(fork)}; "
        f"{size} bytes of WAL are kept in {folder}"
    )
    return state.model_copy(
        update={"old_timeline": mine, "fork": fork, "kept": folder, "kept_commits": commits, "kept_bytes": size}
    )


def _timeline_of(context: Run, state: Rejoin, forks: dict[int, int]) -> int:
    """The timeline that the returning host wrote last; where its control file is gone, the one before the primary's."""
    try:
        return server.last_timeline(other_of(context, state), layout(context).version)
    except TargetFailed as error:
        guessed = max(forks, default=0)
        context.say(f"WARNING: {state.other} cannot say which timeline it wrote, taken for {guessed}: {error}")
        return guessed


def _keep_everything(context: Run, state: Rejoin, folder: str) -> Rejoin:
    """Where the primary's history does not say where the two parted, all WAL is kept: nothing tells what is new."""
    size = act.keep_wal(other_of(context, state), layout(context), folder, Asker.of(context))
    context.say(
        f"WARNING: the history of {state.primary} on timeline {state.timeline} has no fork from timeline "
        f"{state.old_timeline} of {state.other}; all of its WAL, {size} bytes, is kept in {folder}"
    )
    return state.model_copy(update={"kept": folder, "kept_bytes": size})


def _what_was_kept(host: Host, folder: str) -> tuple[int, int, bool]:
    """Commits, bytes, and whether the WAL was there from the fork on."""
    ran = host.run(
        "grep -c 'desc: COMMIT' %s/commits.txt; du -sb %s | cut -f1; test ! -e %s/incomplete && echo whole",
        folder, folder, folder, expect=None,
    )  # fmt: skip
    commits, size, *rest = ran.stdout.split()
    return int(commits), int(size), rest == ["whole"]


def rebuild(context: Run, state: Rejoin) -> Rejoin:
    """pg_rewind; where that has failed, restore over the directory from the repository. Both outlive this run."""
    host, source, paths = other_of(context, state), primary_of(context, state), layout(context)
    asker = Asker.of(context)
    act.checkpoint(source)
    act.hold_wal(source, host.name)
    incoming = rebuilding.incoming(context, source, host, state.at)
    streaming.without_it(context, state)
    rebuilding.no_copy_any_more(context, host, incoming)
    why = "that was asked for" if context.options.reclone else ""
    if not why and directory.recloning(host, paths, incoming, asker):
        why = "this run has begun that"
    if not why:
        try:
            directory.rewind(host, paths, source, incoming, asker)
        except Overtaken:  # nothing of this run works, but what another one has rewound is not restored over
            raise
        except (TargetFailed, Refused) as error:  # whatever else it is, pg_rewind may work still
            why = str(error)
    aside = ""
    if why:
        context.say(f"re-cloning {host.name} from the repository: {why}")
        aside = rebuilding.reclone(context, source, host, state.at)
    act.make_standby(host, paths)
    how = "re-clone from the repository" if why else "pg_rewind"
    return state.model_copy(update={"rebuilt_by": how, "aside": aside or state.aside})


def rebuilt(context: Run, state: Rejoin) -> None:
    host, paths = other_of(context, state), layout(context)
    host.run("test -e %s/standby.signal && test -e %s/PG_VERSION", paths.data, paths.data)


def start(context: Run, state: Rejoin) -> Rejoin:
    """Let it start again, as a standby, and forget the slots that it brought from its time as a primary."""
    host, primary, paths = other_of(context, state), primary_of(context, state), layout(context)
    act.hold_wal(primary, host.name)
    act.unfence(host, paths)
    fit(context, paths, host, primary)
    try:
        _start(context, host)
    except TargetFailed as error:
        raise TargetFailed(str(error), _reclone_hint(state)) from error
    act.drop_slots(host)
    return state


def _start(context: Run, host: Host) -> None:
    """Once more where its WAL turned out to ask for more than its primary has by now."""
    paths = layout(context)
    try:
        act.start(host, paths)
    except TargetFailed:
        if not fit(context, paths, host):
            raise
        act.start(host, paths)


def streams_again(context: Run, state: Rejoin) -> None:
    try:
        streaming.follows(context, state)
    except TimedOut as error:
        raise TimedOut(str(error), _reclone_hint(state)) from error


def _reclone_hint(state: Rejoin) -> str:
    return f"./dr rejoin {state.other} --reclone --yes (without --resume) restores it from the repository"


REJOIN: Procedure[Rejoin] = Procedure(
    name="rejoin",
    summary="Make a lost node the synchronous standby again.",
    purpose=(
        "Redundancy is missing: every commit exists once. Rewinds the former primary to the fork, or re-clones it from "
        "the repository, after keeping a copy of what only it had. Refuses when there is no primary to follow."
    ),
    gate=(gates.TWO_NODES, gates.ONE_ANSWERS),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="all hosts", budget="ssh.command", action=assess, observes=True,
            says="Find the primary and the node that does not follow it.",
            evidence=Evidence("one primary answers, the returning host answers SSH and does not stream"),
            still=Evidence("the primary that it shall follow, on the same timeline", as_assessed),
        ),
        Step(
            name="stop", role="returning host", budget="ssh.command", action=stop,
            says="Stop PostgreSQL there and keep it fenced until it is a standby.",
            evidence=Evidence("nothing listens on port 5432", stopped),
            still=Evidence("taking no writes", guards.other_is_quiet),
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
            grows=Grows.RESTORE,
            when=lambda context, state: not state.was_standby or context.options.reclone,
            when_says="it was a primary, or a re-clone was asked for",
            says="Rewind the data directory to the fork; where that fails restore it from the repository. What is no "
            "older copy of the primary's data is moved aside.",
            evidence=Evidence("standby.signal is there", rebuilt), still=Evidence("marked as a standby", rebuilt),
            commands=(
                "pg_rewind -D /var/lib/postgresql/17/main --source-server='host=PRIMARY user=rewind dbname=postgres' "
                "--restore-target-wal --config-file=/etc/postgresql/17/main/postgresql.conf",
                "touch /var/lib/postgresql/17/main/standby.signal",
                "# or: pgbackrest --stanza=main --delta --type=standby restore",
            ),
        ),
        Step(
            name="start", role="returning host", budget="rejoin.stream", action=start, grows=Grows.WAL,
            says="Take the fence away and start it as a standby, as large as its WAL asks for.",
            evidence=Evidence("it streams from the primary on the primary's timeline", streams_again),
            commands=(
                "rm /etc/mystocks-dr/fenced",
                "systemctl unmask postgresql@17-main",
                "systemctl start postgresql@17-main",
            ),
        ),
        streaming.SYNCHRONOUS,
        verifying.verification(),
    ),
)  # fmt: skip
