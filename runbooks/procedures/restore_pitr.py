"""restore-pitr: bring the database back to a point in time, first beside the primary, in its place only on demand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from inventories.errors import DrError, Refused, TimedOut, VerificationFailed
from runbooks import targets
from runbooks.actions import lease as leases
from runbooks.actions import postgres as act
from runbooks.actions import side as sides
from runbooks.actions import swap as swaps
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.layout import STANZA
from runbooks.probes import archive, backups, content, pgbackrest, postgres
from runbooks.probes import side as side_probe
from runbooks.probes.archive import Archive
from runbooks.procedures import common
from runbooks.procedures.common import Roles, Run, layout, other_of, primary_of
from runbooks.targets import Target

SIDE = "pitr"
LEASE_S = 4 * 3600.0  # longer than any step; it is taken away in the end, and ends by itself where nobody could
STOP_S = 60.0  # for a clean stop of the primary: what is kept of it should be whole


class RestorePitrOptions(Options):
    """One of the four targets, exclusive unless `inclusive`. Empty `backup_set` chooses the backup, `timeline` 0
    follows the primary's own. `swap`: put the side cluster in the primary's place. `replace`: drop an open side cluster
    of another request. `drop_replaced`: delete the replaced data directory once everything is verified.
    """

    to_time: str = ""
    to_lsn: str = ""
    to_xid: str = ""
    to_name: str = ""
    inclusive: bool = False
    backup_set: str = ""
    repo: int = 1
    timeline: int = 0
    replace: bool = False
    swap: bool = False
    drop_replaced: bool = False


class RestorePitr(Roles):
    """`goal`: the timeline that recovery follows; `covered`: the archive holds a commit of the living primary that is
    later than the target; `located`: LSN of a transaction's end or a restore point; `told`: what the operator reads.
    """

    target: Target
    side: str = SIDE  # the side cluster's name
    goal: int = 0
    covered: bool = False
    located: int | None = None
    label: str = ""
    skipped: tuple[str, ...] = ()
    side_lsn: int = 0
    restore_s: float = 0.0
    replay_s: float = 0.0
    bytes: int = 0
    wal_bytes: int = 0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    discarded_bytes: int = 0
    replaced: str = ""
    replaced_bytes: int = 0
    rebuilt: bool = False
    told: tuple[str, ...] = ()


def wanted(context: Run) -> RestorePitr:
    """The target as the operator gave it. Raises BadInput."""
    given = context.options
    target = targets.parse(
        to_time=given.to_time, to_lsn=given.to_lsn, to_xid=given.to_xid, to_name=given.to_name,
        inclusive=given.inclusive,
    )  # fmt: skip
    return RestorePitr(target=target)


def assess(context: Run, state: RestorePitr) -> RestorePitr:
    """Find the primary, which goes on untouched, and ask it whether the target can be in the past at all."""
    nodes = postgres.survey(context.estate)
    primary = postgres.the_primary(nodes)
    other = next(node for node in nodes if node.name != primary.name)
    common.knock(context.estate.backup)
    goal = context.options.timeline or primary.timeline or 0
    if goal == primary.timeline:
        _require_past(state.target, primary)
    return state.model_copy(
        update={"primary": primary.name, "other": other.name, "old_timeline": primary.timeline or 0, "goal": goal}
    )


def _require_past(target: Target, primary: postgres.Node) -> None:
    row = primary.host.query(
        "select extract(epoch from clock_timestamp()) as now, pg_current_wal_lsn()::text as written, "
        "pg_snapshot_xmax(pg_current_snapshot())::text as next_xid"
    )[0]
    if target.at is not None and target.at.timestamp() > float(row["now"]):
        now = datetime.fromtimestamp(float(row["now"]), target.at.tzinfo)
        raise Refused(
            f"{target} lies in the future: the clock of {primary.name} says {now:%Y-%m-%d %H:%M:%S.%f+00}",
            "choose an earlier target",
        )
    written = postgres.lsn(row["written"]) or 0
    if target.position is not None and target.position > written:
        raise Refused(
            f"{target} lies behind the last record of {primary.name}, {row['written']}", "choose an earlier LSN"
        )
    if target.kind == "xid":
        _require_ended(int(target.value), int(row["next_xid"]), primary)


def _require_ended(xid: int, next_xid: int, primary: postgres.Node) -> None:
    if xid >= next_xid:
        raise Refused(
            f"transaction {xid} does not exist yet: the next one of {primary.name} is {next_xid}", "choose another one"
        )
    status = primary.host.query(f"select pg_xact_status('{xid}'::xid8) as status")[0]["status"]
    if status == "in progress":
        raise Refused(f"transaction {xid} has not ended on {primary.name}", "end it first, or choose another target")
    if status == "aborted":
        raise Refused(
            f"transaction {xid} was rolled back, so it changed nothing", "choose the one that did: see --to-time"
        )


def cover(context: Run, state: RestorePitr) -> RestorePitr:
    """Commit once more and close the segment: the target then has a commit behind it, and the archive has both."""
    primary, backup = primary_of(context, state), context.estate.backup
    archive_id = pgbackrest.info(backup, STANZA).archive_id
    primary.execute("SET synchronous_commit = local; SELECT pg_current_xact_id();")
    switched = postgres.lsn(primary.query("select pg_switch_wal()::text as lsn")[0]["lsn"]) or 1
    segment = postgres.segment(state.old_timeline, switched - 1)
    try:
        until(
            lambda: archive.stored(backup, STANZA, archive_id, segment),
            "archive.push",
            what=f"segment {segment} in the repository",
        )
    except TimedOut as late:
        context.say(f"WARNING: {late}; only what is archived already can be restored. ./dr backup.check says more")
        return state
    return state.model_copy(update={"covered": True})


def choose(context: Run, state: RestorePitr) -> RestorePitr:
    """Locate the target where it names no moment, choose the backup, and refuse what no WAL leads to."""
    host, given = context.estate.backup, context.options
    seen = archive.look(host, STANZA, given.repo)
    state = state.model_copy(update={"located": _located(context, state)})
    unsound = _unsound(context)
    choice = targets.choose(
        state.target, seen, state.goal, unsound, located=state.located, wanted=given.backup_set
    )  # fmt: skip
    for sentence in choice.skipped:
        context.say(f"not restored from {sentence}")
    _require_commits_around(context, state, seen, choice)
    _require_free_name(context, state, choice.backup.label)
    context.say(f"restoring backup {choice.backup.label} to {state.target}, along timeline {state.goal}")
    return state.model_copy(update={"label": choice.backup.label, "skipped": choice.skipped})


def _unsound(context: Run) -> dict[str, str]:
    """label -> why it may not be used: its newest proof failed, or that of one it is made from."""
    host = context.estate.backup
    failed = backups.failed_proofs(host)
    known = pgbackrest.info(host, STANZA).backups
    return {backup.label: why for backup in known if (why := backups.why_not(backup, failed))}


def _located(context: Run, state: RestorePitr) -> int | None:
    target = state.target
    if target.kind not in ("xid", "name"):
        return None
    wanted_: dict[str, Any] = {"name": target.value} if target.kind == "name" else {"xid": int(target.value)}
    found = archive.find(
        context.estate.backup, STANZA, state.goal, **wanted_, repository=context.options.repo,
        timeout=context.remaining(),
    )  # fmt: skip
    if found is None:
        raise Refused(
            f"the archived WAL that leads to timeline {state.goal} has no {target.kind} {target.value}",
            "./dr backup.list shows what is covered; --timeline follows another one",
        )
    if found.what.startswith("ABORT"):
        raise Refused(f"transaction {target.value} was rolled back, so it changed nothing", "choose another target")
    return found.lsn


def _require_commits_around(context: Run, state: RestorePitr, seen: Archive, choice: targets.Choice) -> None:
    """A time needs a commit behind it, or nobody can say that it was reached; a gap before it takes that away."""
    reach, end, at = choice.backup.reach[state.goal], seen.end(state.goal), state.target.at
    if at is None:
        return
    broken = end is None or reach.segment != end.segment
    if state.covered and not broken:
        return
    near = archive.around(context.estate.backup, STANZA, state.goal, reach.end, 1, 0, context.options.repo)
    last = near.before[-1] if near.before else None
    if last is not None and last.at >= at:
        return
    if broken:
        gap = next((one for one in seen.gaps if one.first[8:] > reach.segment[8:]), None)
        raise Refused(
            f"{state.target} lies in or behind a gap of the archive: {gap or 'its WAL ends early'}; "
            f"the last commit that can be restored before it is {last or 'none'}",
            "choose a target up to that commit, or one after a newer backup; ./dr backup.list names every gap",
        )
    raise Refused(
        f"{state.target} lies after the last archived commit: {last or 'none is archived'}",
        "choose an earlier target, or find out why the archive lags: ./dr backup.check",
    )


def _require_free_name(context: Run, state: RestorePitr, label: str) -> None:
    """An open side cluster of another request is somebody's work."""
    there = side_probe.look(primary_of(context, state), state.side)
    if there is None or not there.ready or context.options.replace:
        return
    asked = there.target
    same = asked and (asked.kind, asked.value, asked.inclusive, asked.timeline, there.set) == (
        state.target.kind, state.target.value, state.target.inclusive, str(state.goal), label,
    )  # fmt: skip
    if not same:
        what = f"{asked.kind} {asked.value}" if asked else "another request"
        raise Refused(
            f"a side cluster {state.side} is open on {state.primary} already, of backup {there.set} to {what}",
            "--replace drops it first; or give the same target again to go on with it",
        )


def hold(context: Run, state: RestorePitr) -> RestorePitr:
    """Keep the backup and its WAL from expiring while they are read."""
    leases.hold(
        context.estate.backup, _lease(context), "restore-pitr", f"restoring {state.label} to {state.target}", LEASE_S,
        state.label,
    )  # fmt: skip
    return state


def still_there(context: Run, state: RestorePitr) -> None:
    known = pgbackrest.info(context.estate.backup, STANZA).backups
    if state.label not in [backup.label for backup in known]:
        raise VerificationFailed(f"backup {state.label} expired before it could be held", "start afresh")


def _lease(context: Run) -> str:
    return context.run_dir.name


def side_restore(context: Run, state: RestorePitr) -> RestorePitr:
    """Restore and recover beside the primary, on the same file system, so that a swap is a rename."""
    host = primary_of(context, state)
    swaps.clear_leftover(host, layout(context), state.side)
    request = sides.SideRequest(
        name=state.side, kind=state.target.kind, target=state.target.value, inclusive=state.target.inclusive,
        timeline=str(state.goal), set=state.label, repo=context.options.repo, replace=_is_other(context, state),
    )  # fmt: skip
    sides.restore(host, request, context.remaining())
    seen = _side(context, state)
    return state.model_copy(
        update={
            "side_lsn": postgres.lsn(seen.lsn) or 0, "restore_s": seen.restore_s, "replay_s": seen.replay_s,
            "bytes": seen.bytes, "wal_bytes": seen.wal_bytes,
        }
    )  # fmt: skip


def _is_other(context: Run, state: RestorePitr) -> bool:
    """Only one of another request is replaced, so that a resumed run keeps what it has restored."""
    there = side_probe.look(primary_of(context, state), state.side)
    asked = there.target if there else None
    return bool(context.options.replace) and there is not None and (
        asked is None
        or (asked.kind, asked.value, asked.inclusive, asked.timeline, there.set)
        != (state.target.kind, state.target.value, state.target.inclusive, str(state.goal), state.label)
    )  # fmt: skip


def _side(context: Run, state: RestorePitr) -> side_probe.SideCluster:
    seen = side_probe.look(primary_of(context, state), state.side)
    if seen is None:
        raise VerificationFailed(f"{state.primary} has no side cluster {state.side}", "start afresh, without --resume")
    return seen


def stands(context: Run, state: RestorePitr) -> None:
    """It is at the target, and nothing was promoted by itself."""
    seen = _side(context, state)
    if not seen.ready or not (seen.paused or seen.promoted):
        raise VerificationFailed(f"the side cluster is {seen.phase}, not paused at {state.target}: {seen.sentence}")


def inspect(context: Run, state: RestorePitr) -> RestorePitr:
    """Show what is in it, and the commits on either side of where it stands."""
    host = primary_of(context, state)
    database = str(context.estate.data["database"])
    near = archive.around(
        context.estate.backup, STANZA, state.goal, state.side_lsn, 3, 3, context.options.repo, context.remaining()
    )
    tables = content.look(lambda sql: side_probe.query(host, SIDE, database, sql, context.remaining()))
    written = postgres.look(host, layout(context).version).written or 0
    told = (
        f"side cluster {SIDE} on {state.primary}: backup {state.label}, restored in {state.restore_s:.1f} s, "
        f"{state.wal_bytes >> 20} MiB of WAL replayed in {state.replay_s:.1f} s, at {postgres.as_lsn(state.side_lsn)}",
        *(f"commit before the target, in it: {commit}" for commit in near.before),
        *(f"commit after the target, not in it: {commit}" for commit in near.after),
        *(f"table {table}" for table in tables),
        _how_to_look(_side(context, state)),
    )
    for sentence in told:
        context.say(sentence)
    return state.model_copy(
        update={
            "before": tuple(map(str, near.before)), "after": tuple(map(str, near.after)),
            "tables": tuple(map(str, tables)), "told": told,
            "discarded_bytes": max(0, written - state.side_lsn) if state.goal == state.old_timeline else 0,
        }
    )  # fmt: skip


def _how_to_look(seen: side_probe.SideCluster) -> str:
    return f"look at it as postgres: psql {' '.join(seen.connection)}; --swap --yes puts it in the primary's place"


def reached(context: Run, state: RestorePitr) -> None:
    """Every commit before the stop is on the wanted side of the target, and the first one after it on the other."""
    near = archive.around(
        context.estate.backup, STANZA, state.goal, state.side_lsn, 1, 1, context.options.repo, context.remaining()
    )
    last = near.before[-1] if near.before else None
    first = near.after[0] if near.after else None
    if last is not None and _beyond(state.target, last, state.located):
        raise VerificationFailed(f"the side cluster holds {last}, which lies behind {state.target}")
    if first is not None and not _beyond(state.target, first, state.located):
        raise VerificationFailed(f"the side cluster lacks {first}, which lies before {state.target}")


def _beyond(target: Target, commit: archive.Commit, located: int | None) -> bool:
    """Whether this commit should be absent."""
    if target.at is not None:
        return commit.at > target.at or (commit.at == target.at and not target.inclusive)
    position = target.position if located is None else located
    assert position is not None
    return commit.lsn > position or (commit.lsn == position and not target.inclusive)


def promote_side(context: Run, state: RestorePitr) -> RestorePitr:
    """End recovery while it is still cut off from the world: whatever can go wrong with it goes wrong here."""
    sides.promote(primary_of(context, state), SIDE, context.remaining())
    return state.model_copy(update={"timeline": _side(context, state).timeline})


def on_new_timeline(context: Run, state: RestorePitr) -> None:
    known = max(archive.look(context.estate.backup, STANZA).newest_timeline, state.old_timeline)
    if state.timeline <= known:
        raise VerificationFailed(
            f"the side cluster took timeline {state.timeline}, and timeline {known} is known already",
            "the repository did not answer when it was promoted: drop it with --replace and start afresh",
        )


def fence_main(context: Run, state: RestorePitr) -> RestorePitr:
    """Take the primary and then the standby out of service; nobody can promote the old timeline from here on."""
    primary, other, paths = primary_of(context, state), other_of(context, state), layout(context)
    node = postgres.look(primary, paths.version)
    if node.online and not (node.is_primary and node.timeline == state.old_timeline):
        raise Refused(f"{primary.name} is no longer the primary on timeline {state.old_timeline}", "start afresh")
    if pgbackrest.info(context.estate.backup, STANZA).busy:
        raise Refused("a backup runs, and it would fail without its primary", "repeat with --resume when it has ended")
    swaps.require_renames(primary, paths, SIDE)
    if not common.record_mode(context, "degraded", f"restore-pitr to {state.target}: {other.name} is being rebuilt"):
        raise Refused(
            f"{context.estate.backup} cannot note that {other.name} must not be promoted", "bring it back first"
        )
    _fence_both(context, state)
    return state


def _fence_both(context: Run, state: RestorePitr) -> None:
    """Harmless when repeated. A standby that cannot be reached cannot follow the new timeline either.

    The primary first: its sessions drop their temporary tables as they end, which waits for the standby as any commit.
    """
    primary, other, paths = primary_of(context, state), other_of(context, state), layout(context)
    reason = f"restore-pitr, run {context.run_dir.name}"
    act.fence(primary, paths, reason, STOP_S)
    try:
        common.knock(other)
        act.fence(other, paths, reason)
    except DrError as error:
        context.say(f"WARNING: {other.name} cannot be fenced ({error}); ./dr rejoin --reclone rebuilds it later")


def both_down(context: Run, state: RestorePitr) -> None:
    for host in (primary_of(context, state), other_of(context, state)):
        if host.reachable() and host.reachable(5432):
            raise VerificationFailed(f"something still listens on port 5432 of {host.name}")


def swap(context: Run, state: RestorePitr) -> RestorePitr:
    """Make the side cluster's directory fit, and rename."""
    host, paths = primary_of(context, state), layout(context)
    _fence_both(context, state)
    if side_probe.look(host, SIDE) is not None:
        sides.release(host, SIDE, context.remaining())
    swaps.swap(host, paths, f"side-{SIDE}", _stamp(context))
    return state.model_copy(update={"replaced": f"{swaps.parent(paths)}/{swaps.replaced(_stamp(context))}"})


def swapped(context: Run, state: RestorePitr) -> None:
    host, paths = primary_of(context, state), layout(context)
    side = f"{swaps.parent(paths)}/side-{SIDE}"
    host.run("test -e %s/PG_VERSION && test -e %s/PG_VERSION && test ! -e %s", paths.data, state.replaced, side)
    there = postgres.last_timeline(host, paths.version)
    if there != state.timeline:
        raise VerificationFailed(f"the cluster in {paths.data} is of timeline {there}, expected {state.timeline}")


def _stamp(context: Run) -> str:
    return context.run_dir.name.partition("-")[0]


def start(context: Run, state: RestorePitr) -> RestorePitr:
    swaps.start_primary(primary_of(context, state), layout(context))
    return state


def takes_writes(context: Run, state: RestorePitr) -> None:
    until(
        lambda: postgres.look(primary_of(context, state), layout(context).version),
        context.remaining(),
        what=f"{state.primary} to be the primary on timeline {state.timeline}",
        accept=lambda node: node.is_primary and node.timeline == state.timeline,
    )


def put_back(context: Run, state: RestorePitr) -> None:
    """The old primary and its standby as they were; refused once the new one takes writes, which would be lost."""
    primary, other, paths = primary_of(context, state), other_of(context, state), layout(context)
    node = postgres.look(primary, paths.version)
    if node.is_primary and node.timeline == state.timeline:
        raise Refused(f"{primary.name} takes writes on timeline {state.timeline} already", "repeat with --resume")
    if not (node.is_primary and node.timeline == state.old_timeline):
        act.fence(primary, paths, f"restore-pitr, run {context.run_dir.name}", STOP_S)
        swaps.put_back(primary, paths, f"side-{SIDE}", _stamp(context))
        swaps.start_primary(primary, paths)
    common.knock(other)
    act.hold_wal(primary, other.name)
    act.unfence(other, paths)
    act.start(other, paths)
    common.now_synchronous(context, state)


def archived_whole(context: Run, state: RestorePitr) -> None:
    """The repository has the new timeline's history and first segment, so that the next restore can follow it."""
    common.room_for_wal(context, state)
    until(
        lambda: archive.look(context.estate.backup, STANZA),
        context.remaining(),
        what=f"timeline {state.timeline} in the repository, whole from its fork on",
        accept=lambda seen: state.timeline in seen.histories
        and seen.line(state.timeline) is not None
        and not [gap for gap in seen.gaps if gap.timeline == state.timeline],
        every=0.5,
    )


def standby(context: Run, state: RestorePitr) -> RestorePitr:
    """Restore the other host from the new timeline's backup and let it follow."""
    source, host, paths = primary_of(context, state), other_of(context, state), layout(context)
    act.fence(host, paths, f"restore-pitr, run {context.run_dir.name}")
    act.checkpoint(source)
    act.hold_wal(source, host.name)
    act.reclone(host, paths, context.remaining())
    act.make_standby(host, paths)
    act.unfence(host, paths)
    act.start(host, paths)
    act.drop_slots(host)
    return state.model_copy(update={"rebuilt": True})


def _other_answers(context: Run, state: RestorePitr) -> bool:
    return other_of(context, state).reachable()


def finish(context: Run, state: RestorePitr) -> RestorePitr:
    """Give the lease back; say what is kept of the old primary, or delete it where that was asked for."""
    leases.release(context.estate.backup, _lease(context))
    if not state.replaced:
        return state
    if not state.rebuilt:
        state = common.say_degraded(context, state, common.one_copy(state))
    host, paths = primary_of(context, state), layout(context)
    if context.options.drop_replaced:
        swaps.drop_replaced(host, paths, _stamp(context))
        return _tell(context, state, f"the replaced data directory {state.replaced} was deleted, as was asked for")
    size = int(host.run("du -sb %s | cut -f1", state.replaced, timeout=120).text)
    sentence = (
        f"the replaced data directory is kept on {state.primary}: {state.replaced}, {size >> 20} MiB; "
        "it has everything that was committed after the target. Remove it when nobody needs that any more"
    )
    return _tell(context, state.model_copy(update={"replaced_bytes": size}), sentence)


def _tell(context: Run, state: RestorePitr, sentence: str) -> RestorePitr:
    context.say(sentence)
    return state.model_copy(update={"told": (*state.told, sentence)})


def _after(step: Step[Any]) -> Step[Any]:
    return replace(step, option="swap")


_ARCHIVE: Step[RestorePitr] = replace(
    common.archive(RestorePitr),
    evidence=Evidence[RestorePitr](
        "the repository has room, the new timeline's history and its WAL from the fork on", archived_whole
    ),
)
_PUT_BACK = "Put the old data directory back and start primary and standby as they were."

RESTORE_PITR: Procedure[RestorePitr] = Procedure(
    name="restore-pitr",
    summary="Bring the database back to a point in time, beside the primary first.",
    purpose=(
        "A statement destroyed data that is on every standby within milliseconds. Restores the newest good backup that "
        "ended before the target into a side cluster that is cut off from the world, stops it exactly there and shows "
        "what is in it; the primary goes on untouched. With --swap it takes the primary's place: everything committed "
        "after the target is then only in the replaced data directory, which is kept. Refuses a target without zone, "
        "outside what is archived or in a gap of it. Where only some tables are damaged, restore-table keeps the rest."
    ),
    gate=(common.TWO_NODES, common.ONE_ANSWERS),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="all hosts", budget="ssh.command", action=assess, observes=True,
            says="Find the primary, and make sure that the target lies in its past.",
            evidence=Evidence("one primary answers; the target is neither in the future nor of a running transaction"),
            commands=("psql -c 'select clock_timestamp(), pg_current_wal_lsn(), pg_current_snapshot()'",),
        ),
        Step(
            # A commit that changes nothing and a closed segment are nothing that anybody could miss or notice.
            name="cover", role="primary", budget="restore.cover", action=cover, observes=True,
            when=lambda context, state: state.goal == state.old_timeline,
            when_says="the primary's own timeline is followed",
            says="Commit once more and close the WAL segment, so that an archived commit is behind every past moment.",
            evidence=Evidence("the repository holds that segment, or its absence was said"),
            commands=("psql -c 'select pg_current_xact_id()' -c 'select pg_switch_wal()'",),
        ),
        Step(
            name="choose", role="backup", budget="restore.locate", action=choose, observes=True,
            says="Find the target in the archive and the newest good backup that ended before it.",
            evidence=Evidence("a sound backup is named, and its WAL is whole up to the target and a commit behind it"),
            commands=(
                "pgbackrest --stanza=main info",
                "pgbackrest repo-ls --recurse archive/main",
                "tail -n 20 /var/lib/mystocks-dr/proofs.jsonl   # backups that are known to be damaged",
            ),
        ),
        Step(
            name="hold", role="backup", budget="ssh.command", action=hold,
            says="Take a lease on the repository, so that nothing in it expires meanwhile.",
            evidence=Evidence("the lease is written and the backup is still there", still_there),
        ),
        Step(
            name="side-restore", role="primary", budget="restore.side", action=side_restore,
            says="Restore the backup beside the primary, cut off from the world, and recover it to the target.",
            evidence=Evidence("it stands paused at the target", stands),
            commands=(
                "pgbackrest --config=/etc/pgbackrest/restore.conf --stanza=main "
                "--pg1-path=/var/lib/postgresql/17/side-pitr --set=LABEL --type=none --archive-mode=off restore",
                "# a postgresql.conf of its own: listen_addresses='', archive_mode=off,",
                "# timescaledb.max_background_workers=0, recovery_target_..., recovery_target_inclusive=off,",
                "# recovery_target_timeline=N, recovery_target_action=pause",
            ),
        ),
        Step(
            name="inspect", role="primary", budget="restore.locate", action=inspect, observes=True,
            says="Show its tables and the commits on either side of the target.",
            evidence=Evidence("the last commit in it lies before the target and the next one after it", reached),
            commands=("pg_waldump --rmgr=Transaction --start=LSN   # around pg_last_wal_replay_lsn()",),
        ),
        Step(
            name="promote-side", role="primary", budget="restore.side", action=promote_side, option="swap",
            says="Promote the side cluster while it is still cut off, so that it gets a timeline of its own.",
            evidence=Evidence("its timeline is higher than every one that is known", on_new_timeline),
            commands=("psql -h /var/lib/postgresql/17/side-pitr.d -p 5433 -c 'select pg_promote(true, 60)'",),
        ),
        Step(
            name="fence-main", role="primary and standby", budget="restore.swap", action=fence_main, destructive=True,
            option="swap",
            says="Note that there is no standby to promote; stop and fence the primary, then the standby.",
            evidence=Evidence("nothing listens on port 5432 of either", both_down),
            undo=put_back, undo_says=_PUT_BACK,
            commands=(
                "echo restore-pitr > /etc/mystocks-dr/fenced; systemctl mask --now postgresql@17-main   # on both",
            ),
        ),
        Step(
            name="swap", role="primary", budget="restore.swap", action=swap, destructive=True, option="swap",
            says="Stop the side cluster and rename: the main directory aside, the side cluster's in its place.",
            evidence=Evidence("the main directory is the promoted one, and the replaced one is beside it", swapped),
            undo=put_back, undo_says=_PUT_BACK,
            commands=(
                "cd /var/lib/postgresql/17; mv main main.replaced-STAMP; mv side-pitr main",
                "touch main/pg_wal/archive_status/TIMELINE.history.ready",
            ),
        ),
        Step(
            name="start", role="primary", budget="promote", action=start, option="swap",
            says="Start it as the primary, with the declared configuration; commits wait for nobody yet.",
            evidence=Evidence("it takes writes on the new timeline", takes_writes),
            undo=put_back, undo_says=_PUT_BACK,
            commands=(
                "rm -f /etc/postgresql/17/main/conf.d/90-synchronous.conf /etc/mystocks-dr/fenced",
                "touch /etc/mystocks-dr/allow-start; systemctl unmask postgresql@17-main",
                "systemctl start postgresql@17-main",
            ),
        ),
        _after(common.write_path(RestorePitr)),
        _after(_ARCHIVE),
        _after(common.drain(RestorePitr)),
        _after(common.new_backup(RestorePitr)),
        Step(
            name="standby", role="standby", budget="restore.side", action=standby, option="swap",
            when=_other_answers, when_says="the standby's host answers",
            says="Restore the standby from the new timeline's backup and start it.",
            evidence=Evidence("it streams from the primary on the new timeline", common.follows),
            commands=(
                "pgbackrest --stanza=main --delta --type=standby restore",
                "touch /var/lib/postgresql/17/main/standby.signal; rm /etc/mystocks-dr/fenced",
                "systemctl unmask postgresql@17-main; systemctl start postgresql@17-main",
            ),
        ),
        replace(
            _after(common.synchronous(RestorePitr)),
            when=lambda context, state: state.rebuilt, when_says="the standby was rebuilt",
        ),
        _after(common.verification(RestorePitr, without=lambda state: "" if state.rebuilt else "lost")),
        Step(
            name="finish", role="backup", budget="restore.swap", action=finish,
            says="Give the lease back, and say what is kept of the old primary.",
            evidence=Evidence("the lease is gone; the replaced directory was named with its size"),
        ),
    ),
)  # fmt: skip


__all__ = ["RESTORE_PITR", "SIDE", "RestorePitr", "RestorePitrOptions"]
