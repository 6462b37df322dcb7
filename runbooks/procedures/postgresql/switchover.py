"""Switchover: move the primary's role to the standby on purpose, without loss and without a fork. Also the failback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from inventories.catalog.load import load_recovery
from inventories.errors import BadInput, DrError, Refused, VerificationFailed
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.lock import LockLost
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.probes.postgresql import server, stopped
from runbooks.procedures.postgresql import archiving, gates, guards, promoting, recording, streaming, verifying, writing
from runbooks.procedures.postgresql.roles import Roles, layout, other_of, primary_of, told, waited_for
from runbooks.record import keep


class SwitchoverOptions(Options):
    """`host`: which standby takes over; empty takes the one with most."""

    host: str = ""


class Switchover(Roles):
    """`shutdown_lsn`: where the old primary's last record is, so that the standby must have received it.

    `was_synchronous`: its commits waited for the standby, and must wait again when it becomes the primary again.
    """

    shutdown_lsn: int = 0
    was_synchronous: bool = False


def assess(context: Run, state: Switchover) -> Switchover:
    """Both nodes must answer, one streaming from the other, close behind and synchronous."""
    nodes = server.survey(context.estate)
    primary = server.the_primary(nodes)
    following = streaming.following(context, primary)
    wanted = context.options.host
    standbys = [
        node for node in nodes
        if node.streams and node.name in following and node.host.entry.synchronous and wanted in ("", node.name)
    ]  # fmt: skip
    if not standbys:
        raise Refused(
            f"{wanted or 'no standby'} {'does not keep' if wanted else 'keeps'} up with {primary.name} "
            f"({server.told(node for node in nodes if node is not primary)})",
            "./dr status shows why; ./dr rejoin brings a standby back",
        )
    standby = max(standbys, key=lambda node: node.written or 0)
    if standby.replay_paused:
        raise Refused(
            f"{standby.name} has been told to pause its replay, so it would never catch up",
            f"psql -c 'select pg_wal_replay_resume()' on {standby.name}",
        )
    behind = max(0, (primary.written or 0) - min(standby.written or 0, standby.replayed or 0))
    allowed = load_recovery().limits.max_replication_lag_bytes
    if behind > allowed:
        raise Refused(
            f"{standby.name} is {behind} bytes behind {primary.name}, more than {allowed}",
            "wait until it has caught up: ./dr status",
        )
    if not context.estate.app.reachable():
        raise Refused(
            f"{context.estate.app} does not answer SSH, so nobody could prove the write path", "bring it back first"
        )
    if not context.estate.backup.reachable():
        raise Refused(
            f"{context.estate.backup} does not answer SSH, so nobody could note who has which rows",
            "bring it back first: what is planned can wait",
        )
    for slot in primary.logical_slots:
        raise Refused(
            f"{primary.name} has the logical slot {slot}, which stays behind and keeps it from starting as a standby",
            f"psql -c \"select pg_drop_replication_slot('{slot}')\" on {primary.name}, then ./dr deploy takes back the "
            "wal_level that it needed; its reader begins anew on the new primary",
        )  # fmt: skip
    guards.as_recorded(context, primary)
    return state.model_copy(
        update={
            "primary": standby.name, "other": primary.name, "old_timeline": primary.timeline or 0,
            "was_synchronous": primary.synchronous, "system": primary.system,
            "waited": primary.waits_for.others(primary.name) if primary.waits_for else (),
        }
    )  # fmt: skip


def wanted(context: Run) -> Switchover:
    """Raises BadInput for a host that is none, Refused for one that is never promoted."""
    name, hosts = context.options.host, {host.name: host for host in context.estate.postgres}
    if name and name not in hosts:
        raise BadInput(
            f"{name!r} is no PostgreSQL host of inventory {context.estate.inventory}",
            f"its PostgreSQL hosts are {' and '.join(hosts)}",
        )
    if name and not hosts[name].entry.synchronous:
        raise Refused(
            f"{name} is {hosts[name].entry.never_promoted}, and is not promoted",
            f"./dr switchover --host {' or '.join(host.name for host in context.estate.candidates)}; or take "
            f"{hosts[name].entry.lets_in} off it in the inventory, then ./dr deploy",
        )
    return Switchover()


def as_assessed(context: Run, state: Switchover) -> None:
    """Asked when a run is resumed: one of the two takes writes, as far as the role has moved, or none does just now."""
    found = guards.writers(context)
    guards.only(found, {state.other: (state.old_timeline,), state.primary: _later(found, state)})
    guards.not_succeeded(context, state)
    old = found.get(state.other)
    if old is None:
        return
    if old.synchronous != state.was_synchronous:
        raise Refused(f"whether {old.name} waits for its standby has changed", "./dr switchover looks afresh")
    # It may be on its way down, at the word of the process that was killed.
    if state.primary not in streaming.following(context, old) and guards.look(context, old.host).is_primary:
        raise Refused(f"{state.primary} does not keep up with {old.name}", "./dr status shows why")


def _later(found: Mapping[str, server.Node], state: Switchover) -> tuple[int, ...]:
    """What its promotion began: one whose run was killed before it was told."""
    now = found[state.primary].timeline or 0 if state.primary in found else 0
    return (state.timeline,) if state.timeline else (max(now, state.old_timeline + 1),)


def stepped_down(context: Run, state: Switchover) -> None:
    guards.other_is_quiet(context, state)


def settle(context: Run, state: Switchover) -> Switchover:
    """A checkpoint now makes the one at shutdown short, which is most of the pause that writers see."""
    act.checkpoint(other_of(context, state))
    return state


def step_down(context: Run, state: Switchover) -> Switchover:
    """Record that the role moves, then stop the old primary cleanly: from here on it can only be a standby."""
    old, paths = other_of(context, state), layout(context)
    keep.changing(context, state.primary, system=state.system)
    act.stop(old, paths)
    act.make_standby(old, paths)
    return state.model_copy(update={"shutdown_lsn": server.control_data(old, paths.version).checkpoint})


def step_up_again(context: Run, state: Switchover) -> None:
    """As it was, with all that it said: before the first commit it waits for its standby again."""
    new = told(context, primary_of(context, state))
    if new.is_primary:
        raise Refused(f"{new.name} is primary already, so {state.other} stays a standby", "repeat with --resume")
    old, paths = other_of(context, state), layout(context)
    if state.was_synchronous:
        names = waited_for(context, state.model_copy(update={"primary": state.other}))
        act.write_names(old, paths, names, context.estate.least)
    keep.unchanged(context)  # before the start, whose guard reads it
    act.make_primary_again(old, paths)


def no_fork(context: Run, state: Switchover) -> None:
    """The old one is down cleanly, and the standby has its last record: nothing exists only there."""
    paths = layout(context)
    seen = server.control_data(other_of(context, state), paths.version)
    if seen.state not in ("shut down", "shut down in recovery"):
        raise VerificationFailed(f"{state.other} is not shut down cleanly but {seen.state!r}")
    until(
        lambda: server.look(primary_of(context, state), paths.version),
        "standby.catch_up",
        what=f"{state.primary} to replay {server.as_lsn(state.shutdown_lsn)}, the last record of {state.other}",
        accept=lambda node: (node.replayed or 0) > state.shutdown_lsn,
        every=0.02,
    )


def promote(context: Run, state: Switchover) -> Switchover:
    """Promote, and confirm that for a moment nobody follows the new primary."""
    way_out = (
        f"{state.other} is made primary again; where {state.primary} does not follow it, "
        f"./dr rejoin {state.primary} --yes brings it back"
    )
    state = promoting.promoted(context, state, way_out)
    recording.recorded(context, state, (), f"switchover to {state.primary}: {state.other} does not follow yet")
    return state


def take_back(context: Run, state: Switchover) -> None:
    """Stop the standby, so that its promotion cannot come late, let the old primary write again, alone, then with it.

    That it is alone is recorded first, so that nobody takes the fenced one for complete.
    """
    new, old, paths = primary_of(context, state), other_of(context, state), layout(context)
    act.fence(new, paths, f"its promotion failed, run {context.run_dir.name}")
    seen = server.control_data(new, paths.version)
    if seen.state not in stopped.IN_RECOVERY:
        act.make_primary_again(new, paths)
        raise Refused(f"{new.name} had been promoted after all, and is primary", "repeat with --resume")
    why = f"{old.name} is primary again, {new.name} could not be promoted"
    keep.changing(context, old.name, system=state.system, degraded=why)  # on the disk before a commit waits for nobody
    act.make_primary_again(old, paths)
    back = state.model_copy(update={"primary": old.name, "other": new.name, "timeline": state.old_timeline})
    recording.recorded(context, back, (), why)
    if state.was_synchronous:
        _together_again(context, back, why)


def _together_again(context: Run, back: Switchover, why: str) -> None:
    """Let the standby follow as before. One that began a timeline, or does not come, stays fenced until a rejoin.

    A request to promote it does not outlive its server.
    """
    host, paths = other_of(context, back), layout(context)
    try:
        began = server.last_begun(host, paths.version)
        if began > back.old_timeline:
            raise VerificationFailed(f"{host.name} had begun timeline {began}")
        act.hold_wal(primary_of(context, back), host.name)
        act.as_standby(host, paths)
        act.unfence(host, paths)
        act.start(host, paths)
        patience = min(context.remaining() / 2, budget("promote.wait"))
        streaming.follows_soon(replace(context, deadline=context.clock() + patience), back)
        streaming.now_synchronous(context, back)
    except LockLost:
        raise  # whoever acts now decides about it
    except DrError as error:
        context.say(f"WARNING: {host.name} does not follow: {error}; ./dr rejoin {host} --yes")
        act.fence(host, paths, f"its promotion failed, run {context.run_dir.name}")
        act.synchronous_off(primary_of(context, back), paths)
        recording.recorded(context, back, (), why)


def follow(context: Run, state: Switchover) -> Switchover:
    old, paths = other_of(context, state), layout(context)
    act.start(old, paths)
    act.drop_slots(old)
    return state


SWITCHOVER: Procedure[Switchover] = Procedure(
    name="switchover",
    summary="Move the primary's role to the standby, as planned.",
    purpose=(
        "Maintenance, or the way back after a failover. Loses nothing and makes no fork: the old primary ends cleanly "
        "and the standby is promoted only when it has the last record. Refuses without a standby that streams "
        "and is close."
    ),
    gate=(gates.TWO_NODES, gates.ONE_ANSWERS),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="all hosts", budget="ssh.command", action=assess, observes=True,
            says="Find the primary and the standby that takes over.",
            evidence=Evidence("a standby streams from the primary and is within the allowed lag"),
            still=Evidence("in these roles: the primary with its standby, or the role on its way", as_assessed),
            commands=("psql -c 'select * from pg_stat_replication'",),
        ),
        Step(
            name="settle", role="old primary", budget="backup", action=settle,
            says="Write a checkpoint, so that the shutdown is short.",
            evidence=Evidence("CHECKPOINT returned"),
            commands=("psql -c checkpoint",),
        ),
        Step(
            name="step-down", role="old primary", budget="standby.catch_up", action=step_down,
            says="Record that the role moves, stop the old primary cleanly and mark it as a standby.",
            evidence=Evidence("it is shut down and the standby has replayed its last record", no_fork),
            still=Evidence("taking no writes", stepped_down),
            undo=step_up_again,
            undo_says="Make commits wait for the standby again, then start the old primary as a primary again.",
            commands=("systemctl stop postgresql@17-main", "touch /var/lib/postgresql/17/main/standby.signal"),
        ),
        Step(
            name="promote", role="new primary", budget="promote", action=promote,
            says="Promote the standby; remove what keeps it from that, once.",
            undo=take_back,
            undo_says="Stop the standby, start the old primary as a primary again, and let the standby follow it; one "
            "that does not is fenced.",
            evidence=Evidence("it is out of recovery, on a higher timeline"), still=guards.promoted(),
            commands=("psql -c 'select pg_promote(true, 60)'",),
        ),
        writing.WRITE_PATH,
        Step(
            name="follow", role="old primary", budget="rejoin.stream", action=follow, grows=Grows.WAL,
            says="Start the old primary as the new one's standby.",
            evidence=Evidence("it streams from the new primary on its timeline", streaming.follows),
            commands=("systemctl start postgresql@17-main",),
        ),
        streaming.SYNCHRONOUS,
        archiving.ARCHIVE,
        writing.DRAIN,
        verifying.verification(),
        archiving.BACKUP,
    ),
)  # fmt: skip
