"""restore-pitr --swap: put the side cluster in the primary's place, and all of it back while it still can be."""

from __future__ import annotations

from inventories.errors import DrError, Refused, Unreachable, VerificationFailed
from runbooks.actions import lease as leases
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import server as act
from runbooks.actions.postgresql import side as sides
from runbooks.actions.postgresql import swap as swaps
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.layout import STANZA
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import archive, pgbackrest, server
from runbooks.probes.postgresql import side as side_probe
from runbooks.procedures.postgresql import archiving, beside, guards, rebuilding, recording, streaming
from runbooks.procedures.postgresql.pitr_state import SIDE, RestorePitr, lease_of, side_of
from runbooks.procedures.postgresql.roles import asked, layout, other_of, others_of, primary_of
from runbooks.record import keep

STOP_S = 60.0  # for a clean stop of the primary: what is kept of it should be whole


def promote_side(context: Run, state: RestorePitr) -> RestorePitr:
    """End recovery while it is still cut off from the world: whatever can go wrong with it goes wrong here."""
    beside.must_be_beside(state)
    directory.require_swap(primary_of(context, state), layout(context), SIDE)
    sides.promote(primary_of(context, state), SIDE, context.remaining())
    return state.model_copy(update={"timeline": side_of(context, state).timeline})


def on_new_timeline(context: Run, state: RestorePitr) -> None:
    known = max(archive.look(context.estate.backup, STANZA).newest_timeline, state.old_timeline)
    if state.timeline <= known:
        raise VerificationFailed(
            f"the side cluster took timeline {state.timeline}, and timeline {known} is known already",
            "the repository did not answer when it was promoted: drop it with --replace and start afresh",
        )


def nobody_else(context: Run, state: RestorePitr) -> None:
    """Asked when a run is resumed: the primary is the same, on its timeline or on the one that this run began.

    Until the side cluster is promoted nothing has been taken out of service. Raises Refused.
    """
    found = guards.writers(context)
    guards.only(found, {state.primary: (state.old_timeline, state.timeline or state.old_timeline)})
    guards.not_succeeded(context, state)
    if not found and not state.timeline:
        raise Refused(f"{state.primary} does not take writes any more", "./dr status says what each host is now")


def fence_main(context: Run, state: RestorePitr) -> RestorePitr:
    """Take the primary and then the standby out of service; nobody can promote the old timeline from here on."""
    primary, paths = primary_of(context, state), layout(context)
    node = asked(context, primary)
    _must_be_known(node)
    if node.online and not (node.is_primary and node.timeline == state.old_timeline):
        raise Refused(f"{primary.name} is no longer the primary on timeline {state.old_timeline}", "start afresh")
    if pgbackrest.info(context.estate.backup, STANZA).busy:
        raise Refused("a backup runs, and it would fail without its primary", "repeat with --resume when it has ended")
    directory.require_swap(primary, paths, SIDE)
    _fence_both(context, state)
    return state


def _must_be_known(node: server.Node) -> None:
    """Raises Refused for a primary that does not say what it is: it may take writes that a swap would put aside."""
    if node.is_unknown:
        raise Refused(
            f"{node.name} does not say whether it takes writes, and on which timeline ({node.why})",
            "nothing is exchanged until it does: see what holds it up, then repeat with --resume",
        )


def _fence_both(context: Run, state: RestorePitr) -> None:
    """Harmless when repeated. A standby that cannot be reached cannot follow the new timeline either.

    The primary first: its sessions drop their temporary tables as they end, which waits for the standby as any commit.
    """
    primary, others, paths = primary_of(context, state), others_of(context, state), layout(context)
    names = " and ".join(host.name for host in others)
    being = "is" if len(others) == 1 else "are"
    keep.changing(context, primary.name, degraded=f"restore-pitr to {state.target}: {names} {being} being rebuilt")
    reason = f"restore-pitr, run {context.run_dir.name}"
    act.fence(primary, paths, reason, STOP_S)
    for other in others:
        try:
            other.must_answer()
            act.fence(other, paths, reason)
        except DrError as error:
            context.say(f"WARNING: {other.name} cannot be fenced ({error}); ./dr rejoin --reclone rebuilds it later")


def both_down(context: Run, state: RestorePitr) -> None:
    for host in (primary_of(context, state), *others_of(context, state)):
        if host.reachable() and server.listens(host):
            raise VerificationFailed(f"something still listens on port 5432 of {host.name}")


def swap(context: Run, state: RestorePitr) -> RestorePitr:
    """Make the side cluster's directory fit, and rename."""
    host, paths = primary_of(context, state), layout(context)
    _fence_both(context, state)
    if side_probe.look(host, SIDE) is not None:
        sides.release(host, SIDE, Asker.of(context))
    kept = directory.swap(host, paths, SIDE, _stamp(context), state.timeline)
    return state.model_copy(update={"replaced": kept})


def swapped(context: Run, state: RestorePitr) -> None:
    host, paths = primary_of(context, state), layout(context)
    side = paths.beside(f"side-{SIDE}")
    host.run("test -e %s/PG_VERSION && test -e %s/PG_VERSION && test ! -e %s", paths.data, state.replaced, side)
    there = server.last_timeline(host, paths.version)
    if there != state.timeline:
        raise VerificationFailed(f"the cluster in {paths.data} is of timeline {there}, expected {state.timeline}")


def _stamp(context: Run) -> str:
    return context.run_dir.name.partition("-")[0]


def start(context: Run, state: RestorePitr) -> RestorePitr:
    """Start what was swapped in; where an earlier attempt was undone, swap again first."""
    host, paths = primary_of(context, state), layout(context)
    if server.last_timeline(host, paths.version) != state.timeline:
        state = swap(context, state)
    swaps.start_primary(host, paths)
    until(
        lambda: server.look(host, paths.version), context.remaining(), what=f"{state.primary} to be the primary",
        accept=lambda node: node.is_primary,
    )  # fmt: skip
    recording.recorded(context, state, (), recording.one_copy(state))
    return state


def takes_writes(context: Run, state: RestorePitr) -> None:
    until(
        lambda: server.look(primary_of(context, state), layout(context).version),
        context.remaining(),
        what=f"{state.primary} to be the primary on timeline {state.timeline}",
        accept=lambda node: node.is_primary and node.timeline == state.timeline,
    )


def put_back(context: Run, state: RestorePitr) -> None:
    """The old primary and its standby as they were; refused once the new one takes writes, which would be lost."""
    primary, paths = primary_of(context, state), layout(context)
    node = asked(context, primary)
    _must_be_known(node)
    if node.is_primary and node.timeline == state.timeline:
        raise Refused(f"{primary.name} takes writes on timeline {state.timeline} already", "repeat with --resume")
    if not (node.is_primary and node.timeline == state.old_timeline):
        act.fence(primary, paths, f"restore-pitr, run {context.run_dir.name}", STOP_S)
        directory.put_back(primary, paths, SIDE, _stamp(context))
        swaps.start_primary(primary, paths)
    back = state.model_copy(update={"timeline": state.old_timeline})
    started = [other for other in others_of(context, back) if _follows_again(context, primary, other)]
    waited = [other.name for other in started if other.entry.synchronous]
    if waited and state.was_synchronous:
        streaming.now_synchronous(context, back.model_copy(update={"other": waited[0]}))
    else:
        recording.recorded(context, back, (), recording.one_copy(back))


def _follows_again(context: Run, primary: Host, other: Host) -> bool:
    """Start it as it was when it was fenced; not so where its host went away meanwhile."""
    try:
        other.must_answer()
    except Unreachable as error:
        context.say(f"WARNING: {error}; {primary.name} writes without it until ./dr rejoin {other.name} --yes")
        return False
    act.hold_wal(primary, other.name)
    act.unfence(other, layout(context))
    act.start(other, layout(context))
    return True


def archived_whole(context: Run, state: RestorePitr) -> None:
    """The repository has the new timeline's history and first segment, so that the next restore can follow it."""
    archiving.room_for_wal(context, state)
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
    """Restore the other host, and further ones that answer, from the new timeline's backup and let them follow."""
    source, paths = primary_of(context, state), layout(context)
    for host in others_of(context, state):
        if host.name != state.other and not host.reachable():
            context.say(f"WARNING: {host} does not answer; ./dr rejoin {host} --reclone --yes rebuilds it later")
            continue
        act.fence(host, paths, f"restore-pitr, run {context.run_dir.name}")
        act.checkpoint(source)
        act.hold_wal(source, host.name)
        rebuilding.reclone(context, source, host)
        act.make_standby(host, paths)
        act.unfence(host, paths)
        act.start(host, paths)
        act.drop_slots(host)
    return state.model_copy(update={"rebuilt": True})


def other_answers(context: Run, state: RestorePitr) -> bool:
    return other_of(context, state).reachable()


def finish(context: Run, state: RestorePitr) -> RestorePitr:
    """Give the lease back; say what is kept of the old primary, or delete it where that was asked for."""
    leases.release(context.estate.backup, lease_of(context))
    if not state.replaced:
        return state
    if not state.rebuilt:
        state = recording.say_degraded(context, state, recording.one_copy(state))
    host, paths = primary_of(context, state), layout(context)
    if context.options.drop_replaced:
        directory.drop_replaced(host, paths, state.replaced.rpartition("/")[2])
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
