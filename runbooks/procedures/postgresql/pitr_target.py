"""restore-pitr, beforehand: is the target in the past, is it in the archive, and which backup leads to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from inventories.errors import BadInput, Refused, TimedOut, VerificationFailed
from runbooks.actions import lease as leases
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.layout import STANZA
from runbooks.probes.postgresql import archive, backups, pgbackrest, server, side
from runbooks.probes.postgresql.archive import Archive
from runbooks.probes.postgresql.server import as_lsn
from runbooks.procedures.postgresql import beside, guards, targets
from runbooks.procedures.postgresql.pitr_state import RestorePitr, is_same, lease_of
from runbooks.procedures.postgresql.roles import primary_of
from runbooks.procedures.postgresql.targets import Target


def assess(context: Run, state: RestorePitr) -> RestorePitr:
    """Find the primary, which goes on untouched, and ask it whether the target can be in the past at all."""
    nodes = server.survey(context.estate)
    primary = server.the_primary(nodes)
    others = [node for node in nodes if node.name != primary.name]
    other = next((node for node in others if node.host.entry.synchronous), others[0])
    context.estate.backup.must_answer()
    guards.as_recorded(context, primary)
    _require_own(pgbackrest.info(context.estate.backup, STANZA), primary)
    goal = context.options.timeline or primary.timeline or 0
    if goal == primary.timeline:
        _require_past(state.target, primary)
    return state.model_copy(
        update={
            "primary": primary.name, "other": other.name, "old_timeline": primary.timeline or 0, "goal": goal,
            "was_synchronous": primary.synchronous,
            "at": beside.chosen(context, primary.name, swap=getattr(context.options, "swap", False)),
        }
    )  # fmt: skip


def _require_own(repository: pgbackrest.Repository, primary: server.Node) -> None:
    """Raises Refused for the repository of another database system: nothing in it was ever this cluster."""
    if repository.system_id and primary.system and str(repository.system_id) != primary.system:
        raise Refused(
            f"the repository holds backups of database system {repository.system_id}, and {primary.name} is of "
            f"{primary.system}: none of them is a past of this cluster",
            "is the inventory's backup host that of another estate? `pgbackrest stanza-upgrade` is for a cluster that "
            "was made anew",
        )


def _require_past(target: Target, primary: server.Node) -> None:
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
    written = server.lsn(row["written"]) or 0
    if target.position is not None and target.position > written:
        raise Refused(
            f"{target} lies behind the last record of {primary.name}, {row['written']}", "choose an earlier LSN"
        )
    if target.kind == "xid":
        _require_ended(int(target.value), int(row["next_xid"]), primary)


def _require_ended(xid: int, next_xid: int, primary: server.Node) -> None:
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
    switched = server.lsn(primary.query("select pg_switch_wal()::text as lsn")[0]["lsn"]) or 1
    segment = server.segment(state.old_timeline, switched - 1)
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
    """The one position of a restore point or of a transaction's end. Raises BadInput for a name that stands twice."""
    target = state.target
    if target.kind not in ("xid", "name"):
        return None
    wanted_: dict[str, Any] = {"name": target.value} if target.kind == "name" else {"xid": int(target.value)}
    seen = archive.places(
        context.estate.backup, STANZA, state.goal, **wanted_, repository=context.options.repo,
        timeout=context.remaining(),
    )  # fmt: skip
    if not seen.found:
        raise _not_there(state, seen)
    place = seen.found[0]
    if len(seen.found) > 1:
        raise BadInput(
            f"{target} stands {len(seen.found)} times in the archive: {'; '.join(map(str, reversed(seen.found)))}",
            f"say which one is meant: --to-lsn {' or --to-lsn '.join(as_lsn(one.lsn) for one in reversed(seen.found))}",
        )
    if place.what.startswith("ABORT"):
        raise Refused(f"transaction {target.value} was rolled back, so it changed nothing", "choose another target")
    if seen.left:
        context.say(f"WARNING: in {seen.left} segments of the archive nobody looked for another {target}")
    context.say(f"{target.kind} {target.value} is {place}")
    return place.lsn


def _not_there(state: RestorePitr, seen: archive.Places) -> Refused:
    alike = "; ".join(f"--to-xid {one.xid} for {one}" for one in seen.alike)
    unread = f"; {seen.left} segments of it cannot be read" if seen.left else ""
    return Refused(
        f"the archived WAL that leads to timeline {state.goal} has no {state.target.kind} {state.target.value}{unread}",
        f"in WAL and logs its 32 lower bits are all there is: did you mean {alike}?"
        if alike
        else "./dr backup.list shows what is covered; --timeline follows another one",
    )


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
    host = beside.host_of(context, state)
    there = side.look(host, state.side)
    if there is None or not there.ready or context.options.replace:
        return
    if not is_same(there, state.model_copy(update={"label": label})):
        what = f"{there.target.kind} {there.target.value}" if there.target else "another request"
        raise Refused(
            f"a side cluster {state.side} is open on {host} already, of backup {there.set} to {what}",
            "--replace drops it first; or give the same target again to go on with it",
        )


def hold(context: Run, state: RestorePitr) -> RestorePitr:
    """Keep the backup and its WAL from expiring while they are read."""
    leases.hold(
        context.estate.backup, lease_of(context), "restore-pitr", f"restoring {state.label} to {state.target}",
        leases.RESTORE_S, state.label,
    )  # fmt: skip
    return state


def still_needed(context: Run, state: RestorePitr) -> None:
    """Asked when a run is resumed; what was restored from it and promoted needs it no more."""
    if not state.timeline:
        still_there(context, state)


def still_there(context: Run, state: RestorePitr) -> None:
    known = pgbackrest.info(context.estate.backup, STANZA).backups
    if state.label not in [backup.label for backup in known]:
        raise VerificationFailed(f"backup {state.label} expired before it could be held", "start afresh")
