"""restore-pitr, beside the primary: restore, recover to the target, show what is in it, prove where it stands."""

from __future__ import annotations

from typing import Any

from inventories.errors import VerificationFailed
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import side as sides
from runbooks.hosts import Host, Run
from runbooks.layout import STANZA
from runbooks.long_work.work import Asker
from runbooks.probes import durations
from runbooks.probes.postgresql import archive, content, server
from runbooks.probes.postgresql import side as side_probe
from runbooks.procedures.postgresql import beside, delayed
from runbooks.procedures.postgresql.pitr_state import RestorePitr, is_same, side_of
from runbooks.procedures.postgresql.roles import asked, layout, primary_of
from runbooks.procedures.postgresql.targets import Target


def side_restore(context: Run, state: RestorePitr) -> RestorePitr:
    """Restore and recover beside the primary, on its file system, so that a swap is a rename; or on another host."""
    if state.delayed:
        return delayed.opened(context, state)
    host = beside.host_of(context, state)
    _clear_leftover(context, state, host)
    request = sides.SideRequest(
        name=state.side, kind=state.stop.kind, target=state.stop.value, inclusive=state.stop.inclusive,
        timeline=str(state.goal), set=state.label, repo=context.options.repo, replace=_is_other(context, state),
        hurries=context.options.hurry,
        **_served(context, state, host),
    )  # fmt: skip
    sides.restore(host, request, Asker.of(context), expected(durations.restore(context.estate), request.hurries))
    seen = side_of(context, state)
    if seen.collations:
        context.say(f"WARNING: {host} orders text otherwise than production did: {'; '.join(seen.collations[:5])}")
    return state.model_copy(
        update={
            # One that was promoted meanwhile has gone on.
            "side_lsn": server.lsn(seen.reached) or 0, "restore_s": seen.restore_s, "replay_s": seen.replay_s,
            "bytes": seen.bytes, "wal_bytes": seen.wal_bytes,
        }
    )  # fmt: skip


def expected(measured: str, hurries: bool) -> str:
    """What was measured is a proof, beside which nobody commits."""
    return measured if hurries or not measured else f"{measured}, and longer as it gives way to commits; not so --hurry"


def _clear_leftover(context: Run, state: RestorePitr, host: Host) -> None:
    """What a swap that was undone has left, which can only be where a main directory is."""
    if host not in context.estate.postgres:
        return
    aside = f".replaced-{context.run_dir.name.partition('-')[0]}" if context.options.replace else ""
    left = directory.clear_leftover(host, layout(context), state.side, aside)
    if left:
        context.say(f"what an undone swap had left on {host} lies in {left} now; remove it when nobody needs it")


def _served(context: Run, state: RestorePitr, host: Host) -> dict[str, Any]:
    """The database hosts may read one that is on none of theirs, where somebody will."""
    if not state.served or host.name == state.primary:
        return {}
    return {"listen": host.address, "readers": beside.readers(context)}


def _is_other(context: Run, state: RestorePitr) -> bool:
    """Only one of another request is replaced, so that a resumed run keeps what it has restored."""
    there = side_probe.look(beside.host_of(context, state), state.side)
    return bool(context.options.replace) and there is not None and not is_same(there, state)


def stands(context: Run, state: RestorePitr) -> None:
    """It is at the target, and nothing was promoted by itself."""
    seen = side_of(context, state)
    if not seen.ready or not (seen.paused or seen.promoted):
        raise VerificationFailed(f"the side cluster is {seen.phase}, not paused at {state.target}: {seen.sentence}")


def there(context: Run, state: RestorePitr) -> None:
    """Asked when a run is resumed. Raises VerificationFailed when it is gone, or another one's."""
    if not state.timeline and not is_same(side_of(context, state), state):
        raise VerificationFailed(f"the side cluster {state.side} is of another target than {state.target} now")


def inspect(context: Run, state: RestorePitr) -> RestorePitr:
    """Show what is in it, and the commits on either side of where it stands."""
    host, primary = beside.host_of(context, state), primary_of(context, state)
    database = str(context.estate.data["database"])
    near = archive.around(
        context.estate.backup, STANZA, state.goal, state.side_lsn, 3, 3, context.options.repo, context.remaining()
    )
    tables = content.look(lambda sql: side_probe.query(host, state.side, database, sql, context.remaining()))
    written = asked(context, primary).written or 0
    told = (
        _what_it_is(state, host),
        *(f"commit before the target, in it: {commit}" for commit in near.before),
        *(f"commit after the target, not in it: {commit}" for commit in near.after),
        *(f"table {table}" for table in tables),
        *ways_on(context, state, side_of(context, state)),
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


def _what_it_is(state: RestorePitr, host: Host) -> str:
    at = server.as_lsn(state.side_lsn)
    if state.delayed:
        return f"side cluster {state.side} is {host} itself, opened in {state.replay_s:.1f} s at {at}"
    return (
        f"side cluster {state.side} on {host}: backup {state.label}, restored in {state.restore_s:.1f} s, "
        f"{state.wal_bytes >> 20} MiB of WAL replayed in {state.replay_s:.1f} s, at {at}"
    )


def ways_on(context: Run, state: RestorePitr, seen: side_probe.SideCluster) -> tuple[str, ...]:
    """What can be done with it where it is; nothing where it is about to be the primary."""
    if context.options.swap:
        return ()
    if state.delayed:
        return (
            f"look at it as postgres: psql {' '.join(seen.connection)}",
            f"{beside.host_of(context, state)} is no delayed standby meanwhile; there, "
            f"{side_probe.closing(state.side, layout(context).version)} lets it go on",
        )
    swap = "" if state.at not in ("", state.primary) else "; --swap --yes puts it in the primary's place"
    return (
        f"look at it as postgres: psql {' '.join(seen.connection)}{swap}",
        f"it stays open until, on {beside.host_of(context, state)}, {beside.dropping(state)}",
    )


def reached(context: Run, state: RestorePitr) -> None:
    """Every commit before the stop is on the wanted side of the target, and the first one after it on the other."""
    near = archive.around(
        context.estate.backup, STANZA, state.goal, state.side_lsn, 1, 1, context.options.repo, context.remaining()
    )
    last = near.before[-1] if near.before else None
    first = near.after[0] if near.after else None
    if last is not None and _beyond(state.stop, last):
        raise VerificationFailed(f"the side cluster holds {last}, which lies behind {state.target}")
    if first is not None and not _beyond(state.stop, first):
        raise VerificationFailed(f"the side cluster lacks {first}, which lies before {state.target}")


def _beyond(target: Target, commit: archive.Commit) -> bool:
    """Whether this commit should be absent."""
    if target.at is not None:
        return commit.at > target.at or (commit.at == target.at and not target.inclusive)
    assert target.position is not None
    return commit.lsn > target.position or (commit.lsn == target.position and not target.inclusive)
