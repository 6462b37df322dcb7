"""Which standby is promoted, and how the others follow it, where there is more than one.

A commit waits for some of them, and nobody knows for which. So the one with most is promoted, by what they say once the
old primary is fenced: until then it may have confirmed a row to whoever was behind a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from inventories.errors import DrError, Refused, TargetFailed
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql import progress, server
from runbooks.procedures.postgresql import streaming
from runbooks.procedures.postgresql.roles import R, Roles, asked, further_of, layout
from runbooks.record.types import Answer, Record, Unknown


def electable(nodes: Sequence[server.Node]) -> list[server.Node]:
    """Standbys that may be promoted. Raises Refused where there are others only."""
    standbys = [node for node in nodes if node.is_standby]
    found = [node for node in standbys if node.host.entry.synchronous]
    if standbys and not found:
        names, entry = " and ".join(node.name for node in standbys), standbys[0].host.entry
        raise Refused(
            f"only {names} answers, {entry.never_promoted}: no commit has waited for it, and it is not promoted",
            f"bring back the primary or another standby, then ./dr status; take {entry.lets_in} off it in the "
            "inventory if it is all that is left",
        )
    return found


def best_of(answer: Answer, standbys: Sequence[server.Node]) -> server.Node:
    """Of those that the record names, if any answers, the one with most, on the record's timeline before any other."""
    names = () if isinstance(answer, Unknown) else answer.record.synchronous
    timeline = 0 if isinstance(answer, Unknown) else answer.record.timeline
    named = [node for node in standbys if node.name in names]
    return max(
        named or standbys, key=lambda node: (node.timeline == timeline, node.timeline or 0, node.position)
    )


def seen(context: Run, answer: Answer, standbys: Sequence[server.Node]) -> tuple[str, ...]:
    """Standbys whose WAL is known to its end, where the record names more than one."""
    if isinstance(answer, Unknown) or len(answer.record.synchronous) < 2:
        return ()
    record = answer.record
    asked = [node for node in standbys if node.name in record.synchronous and (node.timeline or 0) <= record.timeline]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        return tuple(node.name for node, known in zip(asked, pool.map(_is_known, asked), strict=True) if known)


def _is_known(node: server.Node) -> bool:
    """One that has received nothing since its start may still replay what it has."""
    if node.written is not None:
        return True
    try:
        return until(
            lambda: progress.replay(node.host), budget("promote.look"), what=f"the end of {node.name}'s WAL",
            accept=lambda replay: replay.waits, retry=(DrError,),
        ).waits  # fmt: skip
    except DrError:
        return False


def why_unknown(record: Record, best: str, known: Collection[str]) -> str:
    """Why a standby that commits did wait for may lack rows; empty where it cannot."""
    lacking = record.lacks({best, *known})
    if not lacking:
        return ""
    return (
        f"each row is on {record.least} of {' and '.join(record.synchronous)}, and how far {' and '.join(lacking)} got "
        f"cannot be asked: rows may be there that {best} lacks"
    )


def elected(context: Run, record: Record, rivals: Sequence[str], accept_loss: bool) -> server.Node:
    """The one with most by now. Raises TargetFailed where one is needed that does not answer any more."""
    hosts = [context.estate.host(name) for name in rivals]
    found = _standbys(hosts, lambda host: server.look(host, layout(context).version))
    if _missing(record, rivals, found, accept_loss):
        # The old primary is fenced by now: one silence of a busy host must not be the end of it.
        found = _standbys(hosts, lambda host: asked(context, host))
    if left := _missing(record, rivals, found, accept_loss):
        away = " and ".join(left)
        does, its, it = ("does", "its", "it") if len(left) == 1 else ("do", "their", "them")
        raise TargetFailed(
            f"nobody is promoted: {away} {does} not say any more how far {its} WAL reaches",
            f"bring {away} back, then ./dr failover --resume --yes; ./dr failover --yes --accept-loss leaves {it} out",
        )
    return _most(record, found)


def _standbys(hosts: Sequence[Host], ask: Callable[[Host], server.Node]) -> list[server.Node]:
    with ThreadPoolExecutor(len(hosts)) as pool:
        return [node for node in pool.map(ask, hosts) if node.is_standby]


def _missing(
    record: Record, rivals: Sequence[str], standbys: Sequence[server.Node], accept_loss: bool
) -> tuple[str, ...]:
    """Who is needed and has not answered: where nobody has, all of them."""
    if not standbys:
        return tuple(rivals)
    return () if accept_loss else record.lacks([node.name for node in standbys])


def _most(record: Record, standbys: Sequence[server.Node]) -> server.Node:
    """On the record's timeline before any other."""
    right = [node for node in standbys if node.timeline == record.timeline]
    return max(right or standbys, key=lambda node: node.position)


def follow(context: Run, state: R) -> R:
    """Let the other standbys follow the new primary as they are, and commits wait for them again."""
    further = further_of(context, state)
    with ThreadPoolExecutor(len(further)) as pool:
        found = list(pool.map(lambda host: _follows(context, state, host), further))
    followers = [host for host, does in zip(further, found, strict=True) if does and host.entry.synchronous]
    if not followers:
        return state
    first = followers[0].name
    done = streaming.now_synchronous(context, state.model_copy(update={"other": first}))
    return state.model_copy(update={"beside": (first, *done.beside)})


def _follows(context: Run, state: Roles, host: Host) -> bool:
    node = server.look(host, layout(context).version)
    if not node.is_standby:
        context.say(f"{host} is out ({node.why or server.told((node,))})")
        return False
    try:
        if host.entry.delay_s:
            _restarted(context, state, node)
        elif node.timeline != state.timeline:
            act.look_for_primary(host)
        until(
            lambda: server.look(host, layout(context).version),
            min(budget("standby.catch_up"), context.remaining()) / 2,
            what=f"{host} to stream from {state.primary} on timeline {state.timeline}",
            accept=lambda node: node.follows_on(state.timeline),
        )  # fmt: skip
    except DrError as error:
        context.say(f"WARNING: {error}; ./dr rejoin {host} --yes")
        return False
    return True


def _restarted(context: Run, state: Roles, node: server.Node) -> None:
    """A delayed standby may have received more than was promoted, and not replayed it: a start finds where the two
    part. One that has found that already is left alone.
    """
    if not node.follows_on(state.timeline):
        act.stop(node.host, layout(context))
        act.start(node.host, layout(context))
