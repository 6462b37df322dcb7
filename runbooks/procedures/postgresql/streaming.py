"""Standbys: which really follow, that one follows by now, and that commits wait for it again."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from inventories.errors import TimedOut, VerificationFailed
from inventories.quorum import DECLARED_ASYNCHRONOUS, parsed, setting
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.moving import while_it_moves
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.knock import Door
from runbooks.probes import network
from runbooks.probes.postgresql import progress, server
from runbooks.procedures.postgresql.recording import recorded
from runbooks.procedures.postgresql.roles import R, Roles, layout, other_of, primary_of, told
from runbooks.record import keep
from runbooks.record.read import pages
from runbooks.record.settle import have_everything, in_step
from runbooks.record.types import Unknown

STALLED_S = 1.5  # a standby that has flushed nothing new for so long does not follow, whatever is said of it


def following(context: Run, primary: server.Node) -> set[str]:
    """Standbys that really follow: they flush something that is written now.

    The primary calls a dead one streaming until its own timeout of 10 s is over, and so does a standby that is cut off
    of its primary; where nobody writes it lacks nothing meanwhile.
    """
    ours = {host.name: host for host in context.estate.postgres}  # others may read WAL too: a backup, a pg_receivewal
    before = [standby.name for standby in primary.standbys if standby.streams and standby.name in ours]
    reached = {name for name in before if _is_there(context, primary.host, ours[name])}
    if not reached:
        return set()
    written = server.mark(primary.host)
    try:
        now = until(
            lambda: server.look(primary.host, layout(context).version),
            STALLED_S,
            what="a standby that answers",
            accept=lambda node: any(s.name in reached and (s.flushed or 0) >= written for s in node.standbys),
        )
    except TimedOut:
        return set()  # its host answers, its replication does not
    return {s.name for s in now.standbys if s.streams} & reached


def _is_there(context: Run, primary: Host, standby: Host) -> bool:
    """Its port is open to the primary; where that is not so, or nobody can tell, the standby itself is asked."""
    if network.look(primary, standby, 5432, 0.5) is Door.OPEN:
        return True
    return server.look(standby, layout(context).version).streams


def follows_soon(context: Run, state: Roles) -> None:
    """The other host streams from the primary, on its timeline, within this step's budget. Raises TimedOut."""
    until(
        lambda: server.look(other_of(context, state), layout(context).version),
        context.remaining(),
        what=f"{state.other} to stream from {state.primary} on timeline {state.timeline}",
        accept=lambda node: node.follows_on(state.timeline),
    )


def follows(context: Run, state: Roles) -> None:
    """The same, but waited for while it comes nearer, however long that takes. Raises TimedOut."""
    version, nearest = layout(context).version, [math.inf]

    def behind(node: server.Node) -> float:
        """The least that it was ever behind: one that replays an archive and never streams comes no nearer."""
        written = server.look(primary_of(context, state), version).written
        replayed = progress.replayed(node)
        nearest[0] = min(nearest[0], written - replayed if written and replayed else math.inf)
        return nearest[0]

    while_it_moves(
        lambda: server.look(other_of(context, state), version),
        "rejoin.stream",
        what=f"{state.other} to stream from {state.primary} on timeline {state.timeline}",
        accept=lambda node: node.follows_on(state.timeline),
        far=behind, least=server.SEGMENT_BYTES, granted=context.granted.add, clock=context.clock,
    )  # fmt: skip


def now_synchronous(context: Run, state: R) -> R:
    """Make the primary wait for its standby again, once that streams, and record that it has every row from now on.

    Only once its primary has had nothing left to send: no commit is confirmed by one that still catches up. Of more
    than two nodes everybody is waited for, as declared, who streams; of an estate that is asynchronous by declaration
    nobody, and the record says that.
    """
    primary, other = primary_of(context, state), other_of(context, state)
    if not context.estate.least:
        context.say(f"{other.name} streams from {primary.name}; {DECLARED_ASYNCHRONOUS}")
        recorded(context, state, (), DECLARED_ASYNCHRONOUS)
        return state
    if len(context.estate.postgres) > 2:
        return _quorum_waits(context, state)
    names = tuple(host.name for host in context.estate.postgres)
    until_it_is(context, state, f"up with {primary.name}", lambda standby: True)
    act.synchronous_on(primary, layout(context), names)
    alone = told(context, primary).written  # committed without the standby up to here
    if alone is None:
        raise VerificationFailed(f"{primary} does not say how far it has written, so nobody knows what {other} lacks")
    until_it_is(
        context, state, f"the synchronous standby of {primary.name}",
        lambda standby: standby.sync == "sync" and (standby.flushed or 0) >= alone, alone,
    )  # fmt: skip
    recorded(context, state, (other.name,), f"{other.name} streams from {primary.name}")
    return state


def _quorum_waits(context: Run, state: R) -> R:
    """The same with more than one standby: every candidate that streams is let in, and the other host with them."""
    primary, other = primary_of(context, state), other_of(context, state)
    if not other.entry.synchronous:
        context.say(f"{other} is {other.entry.never_promoted}: no commit waits for it")
        return state
    until_it_is(context, state, f"up with {primary.name}", lambda standby: True)
    return only_these(context, state, _who_streams(context, primary, other))


def only_these(context: Run, state: R, names: tuple[str, ...]) -> R:
    """Let commits wait for as many of `names` as are declared, the other host among them, and record what holds then.

    The primary is among the names, too. The record is made to say less before, since a row may be confirmed from then
    on by whoever is first.
    """
    primary, other, estate = primary_of(context, state), other_of(context, state), context.estate
    wanted = parsed(setting(names, estate.least))
    assert wanted
    keep.widened(context, primary.name, wanted.others(primary.name), wanted.least)
    act.synchronous_on(primary, layout(context), names, estate.least)
    alone = told(context, primary).written
    if alone is None:
        raise VerificationFailed(f"{primary} does not say how far it has written, so nobody knows what {other} lacks")
    node = while_it_moves(
        lambda: server.look(primary, layout(context).version), "rejoin.stream",
        what=f"{wanted.least} of {' and '.join(wanted.others(primary.name))}, {other} among them, to have every row",
        accept=lambda node: node.waits_for == wanted
        and other.name in in_step(node, alone)
        and bool(have_everything(node, alone).names),
        far=lambda node: sum(min(s.flushed or 0, alone) for s in node.standbys if s.name in names),
        granted=context.granted.add, clock=context.clock,
    )  # fmt: skip
    have = have_everything(node, alone)
    streams = "streams" if len(have.names) == 1 else "stream"
    recorded(context, state, have.names, f"{' and '.join(have.names)} {streams} from {primary.name}", have.quorum)
    beside = tuple(name for name in wanted.others(primary.name) if name != other.name)
    return state.model_copy(update={"beside": beside})


def without_it(context: Run, state: Roles) -> None:
    """Where the other standbys suffice, let commits wait for those alone and record that: the other host's data go.

    Otherwise nobody could tell which rows it alone had confirmed, and every row of before would count as held by none.
    """
    primary, other = primary_of(context, state), other_of(context, state)
    answer = pages(context.estate).answer
    if isinstance(answer, Unknown) or answer.record.primary != primary.name:
        return
    if other.name not in answer.record.synchronous or len(answer.record.synchronous) < 2:
        return
    node = told(context, primary)
    waits, follow = node.waits_for, following(context, node)
    left = tuple(name for name in waits.others(primary.name) if name in follow - {other.name}) if waits else ()
    if waits and len(left) >= waits.least:  # else commits hang, and letting go of it is an operator's word
        only_these(context, state.model_copy(update={"other": left[0]}), (primary.name, *left))


def _who_streams(context: Run, primary: Host, other: Host) -> tuple[str, ...]:
    """The primary and the candidates that stream from it; one that runs as a standby is given a moment to.

    The other host is among them though it has dropped just now: it is waited for, and never nobody.
    """
    candidates = {host.name for host in context.estate.candidates}
    run = {node.name for node in server.survey(context.estate) if node.is_standby} & candidates

    def there(node: server.Node) -> set[str]:
        return {standby.name for standby in node.standbys if standby.streams} & candidates

    with suppress(TimedOut):
        until(
            lambda: server.look(primary, layout(context).version), min(budget("promote.wait"), context.remaining()),
            what=f"{' and '.join(sorted(run))} to stream from {primary}", accept=lambda node: run <= there(node),
        )  # fmt: skip
    stream = there(told(context, primary))
    for name in sorted(run - stream - {other.name}):
        context.say(f"WARNING: {name} does not stream from {primary}: no commit waits for it; ./dr rejoin {name} --yes")
    return tuple(host.name for host in context.estate.postgres if host.name in stream or host in (primary, other))


def until_it_is(
    context: Run, state: Roles, what: str, accept: Callable[[server.Standby], bool], end: float = math.inf
) -> None:
    """The other host streams and is so, as its primary sees it; waited for while it comes nearer to `end`."""
    while_it_moves(
        lambda: server.look(primary_of(context, state), layout(context).version),
        "rejoin.stream",
        what=f"{state.other} to be {what}",
        accept=lambda node: any(s.name == state.other and s.streams and accept(s) for s in node.standbys),
        far=lambda node: max((min(s.flushed or 0, end) for s in node.standbys if s.name == state.other), default=0),
        granted=context.granted.add, clock=context.clock,
    )  # fmt: skip


SYNCHRONOUS: Step[Any] = Step(
    name="synchronous",
    role="primary",
    says="Make every commit wait for the standby again.",
    action=now_synchronous,
    evidence=Evidence("the primary reports the standby as sync"),
    budget="rejoin.stream",
    grows=Grows.WAL,
    commands=(
        'echo "synchronous_standby_names = \'FIRST 1 (\\"pg1\\", \\"pg2\\")\'" '
        "> /etc/postgresql/17/main/conf.d/90-synchronous.conf",
        "psql -c 'select pg_reload_conf()'",
    ),
)
