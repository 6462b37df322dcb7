"""Detach: the standby is lost; let the primary commit alone, and say that it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks.actions.postgresql import server as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql import gates, guards, recording, streaming, verifying, writing
from runbooks.procedures.postgresql.roles import Roles, layout, primary_of
from runbooks.record import keep


class DetachOptions(Options):
    """`host`: a lost standby that is let go although the others suffice, so that no failover has to ask it any more.

    `accept_no_arbiter`: record on the database hosts alone that the standby lacks rows from now on.

    `accept_loss` says the same, and did so before there were copies.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"accept_loss", "accept_no_arbiter"})
    accept_loss: bool = False
    accept_no_arbiter: bool = False
    host: str = ""


class Detach(Roles):
    """Roles only: `other` is lost, and `beside` is who is left for commits to wait for."""


def wanted(context: Run) -> Detach:
    """Raises BadInput for a host that is none."""
    name, hosts = context.options.host, [host.name for host in context.estate.postgres]
    if name and name not in hosts:
        raise BadInput(
            f"{name!r} is no PostgreSQL host of inventory {context.estate.inventory}",
            f"its PostgreSQL hosts are {' and '.join(hosts)}",
        )
    return Detach()


def assess(context: Run, state: Detach) -> Detach:
    """Refuses while as many standbys follow as commits wait for: then nothing hangs."""
    nodes = server.survey(context.estate)
    primary = server.the_primary(nodes)
    guards.as_recorded(context, primary)
    follow = streaming.following(context, primary)
    left = tuple(host.name for host in context.estate.candidates if host.name in follow)
    out = [node for node in nodes if node.name not in (primary.name, *left) and node.host.entry.synchronous]
    other = _let_go(context, primary, left, out)
    return state.model_copy(
        update={
            "primary": primary.name, "other": other.name,
            "timeline": primary.timeline, "old_timeline": primary.timeline, "system": primary.system, "beside": left,
        }
    )  # fmt: skip


def _let_go(
    context: Run, primary: server.Node, left: tuple[str, ...], out: Sequence[server.Node]
) -> server.Node:
    """The lost standby, the one that was named where there are several. Raises Refused where none need be let go."""
    named, follow = context.options.host, "follows" if len(left) == 1 else "follow"
    lost = [node for node in out if named in ("", node.name)]
    if not lost:
        who = f"{named} is no lost standby of" if named else f"{' and '.join(left)} {follow}"
        raise Refused(f"{who} {primary.name}: nothing waits in vain")
    waits = primary.waits_for  # one that follows and was never let in answers no commit
    if left and not named and (waits is None or len([name for name in left if name in waits.names]) >= waits.least):
        raise Refused(
            f"{' and '.join(left)} {follow} {primary.name}: nothing waits in vain",
            f"./dr rejoin {lost[0].name} --yes when it is back; ./dr detach --host {lost[0].name} lets go of it",
        )
    return lost[0]


def as_assessed(context: Run, state: Detach) -> None:
    """Asked when a run is resumed: the same primary; and while it still waits, nobody follows it."""
    guards.primary_alone(context, state)
    primary = guards.writers(context)[state.primary]
    if primary.synchronous and state.other in streaming.following(context, primary):
        raise Refused(f"{state.other} follows {state.primary} again", "./dr deploy records what is so")


def note(context: Run, state: Detach) -> Detach:
    """Before it is so: a standby that comes back must never be promoted in ignorance of what it missed."""
    if state.beside:
        return state  # what is written then depends on who is left, and is written before it is so, too
    # Commits hang meanwhile, and the lost standby's copy would be waited for in vain.
    keep.changing(context, state.primary, system=state.system, degraded=recording.one_copy(state), hurry=True)
    return recording.say_degraded(context, state, recording.one_copy(state))


def alone(context: Run, state: Detach) -> Detach:
    if state.beside:
        left = state.model_copy(update={"other": state.beside[0]})
        streaming.only_these(context, left, (state.primary, *state.beside))
        act.drop_walsender(primary_of(context, state), state.other)
        return state
    act.synchronous_off(primary_of(context, state), layout(context))
    act.drop_walsender(primary_of(context, state), state.other)
    return state


def commits(context: Run, state: Detach) -> None:
    if state.beside:
        return  # that they have every row was waited for
    until(
        lambda: server.look(primary_of(context, state), layout(context).version),
        context.remaining(),
        what=f"{state.primary} to commit alone",
        accept=lambda node: node.is_primary and not node.synchronous,
    )
    if not primary_of(context, state).query("select pg_current_wal_flush_lsn() as flushed"):
        raise VerificationFailed(f"{state.primary} does not answer")


def confirm(context: Run, state: Detach) -> Detach:
    if state.beside:
        context.say(f"commits wait for {' and '.join(state.beside)}, and not for {state.other} until it rejoins")
        return state
    recording.recorded(context, state, (), recording.one_copy(state))
    return state


DETACH: Procedure[Detach] = Procedure(
    name="detach",
    summary="Let the primary commit alone because its standby is lost.",
    purpose=(
        "Commits wait for a standby that is gone. Until it rejoins there is one copy of every new row: this says so "
        "and writes it down, so that a stale standby is never promoted unasked. Refuses while a standby streams, "
        "and when the backup host cannot keep the record."
    ),
    gate=(gates.TWO_NODES, gates.ONE_ANSWERS),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="primary", budget="ssh.command", action=assess, observes=True,
            says="Make sure that no standby streams.",
            evidence=Evidence("one primary answers and nobody follows it"),
            still=Evidence("the one primary, which commits alone or waits in vain", as_assessed),
        ),
        Step(
            name="note", role="backup", budget="ssh.command", action=note,
            says="Record that there is one copy of every new row, before it is so, and say it aloud.",
            evidence=Evidence("the estate record says so, or its copies do and --accept-no-arbiter was given"),
        ),
        Step(
            name="commit-alone", role="primary", budget="promote", action=alone,
            says="Switch synchronous replication off.",
            evidence=Evidence("the primary no longer waits for anybody", commits),
            commands=("rm /etc/postgresql/17/main/conf.d/90-synchronous.conf", "psql -c 'select pg_reload_conf()'"),
        ),
        Step(
            name="confirm", role="backup", budget="ssh.command", action=confirm,
            says="Confirm in the estate record that the primary commits alone.",
            evidence=Evidence("the record says so, or that it does not was said"),
        ),
        writing.WRITE_PATH,
        writing.DRAIN,
        verifying.verification(without="lost"),
    ),
)  # fmt: skip
