"""A delayed standby as the source of a restore: it is stopped, replayed to just before the target and read there.

Nothing is restored, so that it takes seconds whatever the size. Recovery goes forward alone: its window begins at the
target from then on, and what lies before is the repository's. It is never promoted: what a transaction in flight at
the target has locked, such as a table that it drops, is read just before it was locked, which nobody else could change
in between. Afterwards it goes on as the delayed standby that it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from inventories.errors import BadInput, DrError, Refused, VerificationFailed
from runbooks.actions.postgresql import server as act
from runbooks.actions.postgresql import side as sides
from runbooks.hosts import Host, Run
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import server, table_copy, window
from runbooks.probes.postgresql import side as side_probe
from runbooks.probes.postgresql.tables import Server
from runbooks.procedures.postgresql import beside
from runbooks.procedures.postgresql.pitr_state import RestorePitr, side_of
from runbooks.procedures.postgresql.roles import layout

DELAYED, REPOSITORY = "delayed", "repository"  # the words of --from that go with a target
_CLOSING_S = 240.0  # a shutdown writes what it has replayed, a start reads it again
_INSTEAD = "leave --from out, and it is restored from the repository"
_STOPPED = re.compile(r"recovery stopping before WAL location \(LSN\) \"([0-9A-F]+/[0-9A-F]+)\"")


def fitting(context: Run, *, is_open: bool = False) -> None:
    """Raises BadInput where --from is no source, or it and another option ask for two different things.

    `is_open`: it names a side cluster.
    """
    said = context.options
    if said.source not in ("", DELAYED, REPOSITORY) and not is_open:
        raise BadInput(f"--from {said.source} names no source", f"--from {DELAYED} or --from {REPOSITORY}")
    if said.source != DELAYED:
        return
    if not context.estate.delayed:
        hint = 'declare a further standby with "apply_delay": "1h", then ./dr deploy'
        raise BadInput(f"inventory {context.estate.inventory} has no delayed standby", hint)
    if words := _asks_for_repository(context):
        raise BadInput(f"--from delayed and {words} were both given", "a delayed standby is no backup: give one")


def _asks_for_repository(context: Run) -> str:
    """The option that names a backup, or needs one that can be promoted; empty for none."""
    said = context.options
    asked = {
        "--swap": getattr(said, "swap", False), "--set": said.backup_set, "--repo": said.repo != 1, "--on": said.on,
    }  # fmt: skip
    return next((name for name, value in asked.items() if value), "")


def found(context: Run, state: RestorePitr, tables: Sequence[str] = ()) -> RestorePitr:
    """Where a delayed standby has the target still before it, that one is the source: `delayed` says which.

    `tables`: those that will be read. Raises Refused where nothing but a delayed standby was asked for.
    """
    if context.options.source == REPOSITORY or _asks_for_repository(context):
        return state
    reasons = []
    for host in context.estate.delayed:
        try:
            return _on(context, state, host, tables)
        except DrError as error:
            reasons.append(f"{host}: {error}")
    if reasons and context.options.source == DELAYED:
        raise Refused(f"no delayed standby can give {state.target}: {'; '.join(reasons)}", _INSTEAD)
    for reason in reasons:
        context.say(f"from the repository, and not from a delayed standby: {reason}")
    return state


def _on(context: Run, state: RestorePitr, host: Host, tables: Sequence[str]) -> RestorePitr:
    """Raises Refused with the reason why this one cannot give the target."""
    if state.goal != state.old_timeline:
        raise Refused(f"it follows timeline {state.old_timeline}, and timeline {state.goal} was asked for")
    host.must_answer()
    _is_free(context, state, host)
    node = server.look(host, layout(context).version)
    if not node.is_standby:
        raise Refused(f"it is no standby that answers ({server.told((node,))})")
    there = window.look(host)
    if state.target.at is not None and state.target.at.timestamp() <= there.since:
        raise Refused(f"{state.target} lies before its window, which is {reach(there)}")
    target = state.target
    if target.kind == "xid" and not there.may_hold(int(target.value)):
        raise Refused(f"{target} is not in its window, which is {reach(there)}")
    place = window.locate(
        host, there.replayed, state.goal, layout(context).version, target.kind, target.value, target.inclusive,
        context.remaining(),
    )  # fmt: skip
    if place.times > 1:
        raise Refused(f"{target} stands {place.times} times in its window")
    if place.stop is None or place.stop < there.replayed:
        raise Refused(f"{target} is not in its window, which is {reach(there)}")
    stop = _before_locks(context, host, place, tables) if tables else place.stop
    if stop < there.replayed:
        raise Refused(f"what locks the tables at {target} had done so before its window, which is {reach(there)}")
    context.say(
        f"{host}, {host.entry.apply_delay} behind, has {target} before it: it is opened at {server.as_lsn(stop)}, and "
        "gives nothing of before that afterwards, which the repository does"
    )
    return state.model_copy(
        update={
            "delayed": host.name, "at": host.name, "label": DELAYED, "stop_lsn": stop,
            "before": tuple(str(one) for one in (place.before,) if one),
            "after": tuple(str(one) for one in (place.after,) if one),
        }
    )  # fmt: skip


def _before_locks(context: Run, host: Host, place: window.Place, tables: Sequence[str]) -> int:
    """The stop, or where the first of these tables was locked against reading by who had not ended at the stop.

    Raises Refused where other tables of these went on being written after that.
    """
    assert place.stop is not None
    _not_locked_already(context, host, place, tables)
    if not place.locks:
        return place.stop
    families, database = window.relations(host, str(context.estate.data["database"]), tables)
    here = [one for one in place.locks if one.database == database]
    found = [one for one in here if any(_reads(family, one) for family in families.values())]
    if not found:
        return place.stop
    first = min(found, key=lambda one: one.position)
    # Locked itself since then it was written by nobody; of one of its partitions that says nothing.
    kept = [one for one in here if one.commits == first.commits]
    free = [name for name in tables if not any(one.relation in families[name].itself for one in kept)]
    free = [name for name in free if families[name].whole]  # of what is not there yet anything may be it
    if free and first.commits:
        raise Refused(
            f"transaction {first.xid} had locked something of {' and '.join(tables)} when others still wrote "
            f"{' and '.join(free)}, and both cannot be read as they were at one moment"
        )
    context.say(
        f"transaction {first.xid} had locked it before: what is read is of just before that lock, which the repository "
        "alone gives a second time"
    )
    return first.position


def _not_locked_already(context: Run, host: Host, place: window.Place, tables: Sequence[str]) -> None:
    """Raises Refused where one of these is locked where it stands, and is so at the stop: nobody commits in between.

    So after it was given back, since what is no commit is not put off.
    """
    database = str(context.estate.data["database"])
    if place.before is not None or not (held := {row["oid"] for row in host.query(window.LOCKED, database)}):
        return
    families, _ = window.relations(host, database, tables)
    if names := [name for name in tables if families[name].whole & held]:
        raise Refused(f"{' and '.join(names)} had been locked before its window, and nobody could read that")


def _reads(family: window.Family, lock: window.Lock) -> bool:
    """Whether who reads this table would wait for that lock; of a table that is not there yet anything may be it."""
    return lock.relation in family.whole or not family.whole


def reach(there: window.Window) -> str:
    """The window of a delayed standby, in words."""
    return f"{datetime.fromtimestamp(there.since, UTC):%Y-%m-%d %H:%M:%S+00} to now"


def _is_free(context: Run, state: RestorePitr, host: Host) -> None:
    """Raises Refused where it is open already; --replace gives that one back. So where a backup has its name there."""
    there = side_probe.every(host)
    if any(one.name == state.side and one.ready and not one.standby for one in there):
        raise Refused(f"a side cluster {state.side} of a backup is there already; there, {beside.dropping(state)}")
    seen = next((one for one in there if one.standby and one.running), None)
    if seen is None:
        return
    if not context.options.replace:
        raise Refused(f"it is open as side cluster {seen.name} already; --replace gives that back first")
    sides.drop(host, seen.name, _CLOSING_S / 2)
    act.start(host, layout(context))


def opened(context: Run, state: RestorePitr) -> RestorePitr:
    """Stop it and open it at the target; where that fails it is a delayed standby again. Raises DrError."""
    host, paths = beside.host_of(context, state), layout(context)
    target = state.stop
    request = sides.SideRequest(
        name=state.side, kind=target.kind, target=target.value, timeline=str(state.goal), listen=host.address,
        readers=beside.readers(context),
    )  # fmt: skip
    began = context.clock()
    try:
        there = side_probe.look(host, state.side)
        if there is None or not there.running:
            if server.look(host, paths.version).online:  # a run that was lost may have stopped it already
                _hold_still(context, state, host)
            act.stop(host, paths)
        sides.open_standby(host, request, Asker.of(context))
        seen = side_of(context, state)
    except BaseException:
        _after_trouble(context, state)
        raise
    return state.model_copy(
        update={"side_lsn": server.lsn(seen.reached) or 0, "replay_s": round(context.clock() - began, 3)}
    )


def _hold_still(context: Run, state: RestorePitr, host: Host) -> None:
    """It may be about to replay the target. Raises Refused where it just has."""
    host.execute("SELECT pg_wal_replay_pause();")
    there = window.look(host)
    if there.replayed > state.stop_lsn:
        raise Refused(f"{host} has replayed {state.target} by now, its window is {reach(there)}", _INSTEAD)


def reached(context: Run, state: RestorePitr) -> None:
    """It stands at the stop: what committed before is in it, and what comes next is not. Raises VerificationFailed,
    and it is a delayed standby again.
    """
    with given_back(context, state):
        _stands(side_of(context, state), state)
    context.say(
        f"{state.delayed} stands at {server.as_lsn(state.side_lsn)} after {state.replay_s:.1f} s; "
        f"last commit before: {''.join(state.before) or 'none in its window'}; "
        f"first one behind: {''.join(state.after) or 'none yet'}"
    )


def _stands(seen: side_probe.SideCluster, state: RestorePitr) -> None:
    """By PostgreSQL's own word: the first record that is not in it begins at the stop or behind it, and what was
    replayed last, which may have begun before the stop and ends behind it, ends before that one.
    """
    if not seen.ready or not seen.paused:
        raise VerificationFailed(f"the side cluster is {seen.phase}, not paused at {state.target}: {seen.sentence}")
    said = _STOPPED.search(seen.stopped)
    left_out = server.lsn(said[1]) if said else None
    if left_out is None or left_out < state.stop_lsn or not 0 < state.side_lsn <= left_out:
        raise VerificationFailed(
            f"the side cluster stands at {server.as_lsn(state.side_lsn)} ({seen.stopped or 'it stopped nowhere'}), and "
            f"{state.target} is at {server.as_lsn(state.stop_lsn)}"
        )


def readable(copy: Server, names: Sequence[str]) -> None:
    """Raises Refused where who had not ended at the target has locked one of them: nobody could read it there."""
    if held := table_copy.locked_of(copy, names):
        raise Refused(
            f"{' and '.join(held)} had been locked by a transaction in flight at the target, and a standby lets nobody "
            "read that", "--from repository restores one that can be promoted to undo it",
        )  # fmt: skip


def closed(context: Run, state: RestorePitr) -> None:
    """It is the delayed standby that it was. Harmless when repeated."""
    host = beside.host_of(context, state)
    with suppress(DrError):
        beside.leave(context, state)
    with suppress(DrError):  # where its own server runs still, it was told to pause, and has no target of its own
        host.execute("SELECT pg_wal_replay_resume();")
    sides.drop(host, state.side, _CLOSING_S / 2)
    act.start(host, layout(context))


def follows(context: Run, state: RestorePitr) -> None:
    """Raises VerificationFailed unless it is a standby again."""
    node = server.ask(beside.host_of(context, state), layout(context).version, 10)
    if not node.is_standby:
        raise VerificationFailed(
            f"{node.name} is no standby again ({server.told((node,))})", f"./dr rejoin {node.name} --yes"
        )


@contextmanager
def given_back(context: Run, state: RestorePitr | None) -> Iterator[None]:
    """Whatever goes wrong meanwhile, it goes on being a delayed standby."""
    try:
        yield
    except BaseException:
        if state is not None and state.delayed:
            _after_trouble(context, state)
        raise


def _after_trouble(context: Run, state: RestorePitr) -> None:
    """Closed in a time of its own; where that fails, too, what went wrong first is what is told."""
    try:
        closed(replace(context, deadline=context.clock() + _CLOSING_S), state)
    except DrError as error:
        context.say(f"WARNING: {state.delayed} is not behind again ({error}): ./dr rejoin {state.delayed} --yes")


__all__ = [
    "DELAYED", "REPOSITORY", "closed", "fitting", "follows", "found", "given_back", "opened",
    "reach", "reached", "readable",
]  # fmt: skip
