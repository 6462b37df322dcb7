"""What must be so still when a run is resumed: the guards of steps that are done, asked of the hosts as they are now.

Each holds at every moment of its run, also half way through the step that follows, and raises once somebody else has
acted. What nobody can tell is not so: then the run is started afresh, and looks at everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from inventories.addresses import same
from inventories.errors import Refused
from runbooks.engine.step import Evidence
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node
from runbooks.procedures.postgresql.roles import R, Roles, layout, other_of, primary_of
from runbooks.record.read import of_system, read, require_newest
from runbooks.record.types import Unknown

_LOOK = "./dr status says what each host is now"


def writers(context: Run) -> dict[str, Node]:
    """Whoever takes writes, by name."""
    return {node.name: node for node in server.survey(context.estate) if node.is_primary}


def look(context: Run, host: Host) -> Node:
    """A busy server may not have answered at first; a second silence is an answer."""
    return server.ask(host, layout(context).version, 0)


def only(found: Mapping[str, Node], allowed: Mapping[str, tuple[int, ...]]) -> None:
    """Nobody else takes writes, and these do on no other timeline. Raises Refused."""
    for name, node in found.items():
        if node.timeline not in allowed.get(name, ()):
            raise Refused(f"{name} takes writes on timeline {node.timeline}", _LOOK)
    if len(found) > 1:
        raise Refused(f"{' and '.join(found)} both take writes", _LOOK)


def nobody_else_writes(context: Run, state: Roles, writes_to: str | None = None) -> None:
    """Not even one that nobody here reaches, or that only the record knows; the run's own primary may by now.

    `writes_to`: the address that takes the application's writes.
    """
    for name, node in writers(context).items():
        if name != state.primary or (node.timeline or 0) < state.old_timeline:
            raise Refused(f"{name} takes writes on timeline {node.timeline}", _LOOK)
    if writes_to and not same(writes_to, primary_of(context, state).address):
        raise Refused(f"a primary at {writes_to} takes writes from {context.estate.app}", _LOOK)
    not_succeeded(context, state)


def nobody_but_its_own(context: Run, state: Roles) -> None:
    """For a run that takes a cluster from nowhere: what it has promoted is known by its timeline once that was told."""
    for name, node in writers(context).items():
        if name != state.primary or (state.timeline and node.timeline != state.timeline):
            raise Refused(f"{name} takes writes on timeline {node.timeline}", _LOOK)


def not_succeeded(context: Run, state: Roles) -> None:
    """Raises Refused where the record knows another primary on a timeline that this run has not heard of."""
    answer = of_system(read(context.estate), state.system)
    if isinstance(answer, Unknown):
        return  # it decides nothing here: the hosts were asked
    record = answer.record
    if record.primary != state.primary and record.timeline > max(state.old_timeline, state.timeline):
        raise Refused(
            f"the estate record knows {record.primary} as primary on timeline {record.timeline}", "./dr record.show"
        )


def as_recorded(context: Run, primary: Node) -> None:
    """Before the role of this primary is touched. Raises Refused where the record knows another one, as new or newer.

    What it says of an older timeline counts for nothing, and one that nobody can read decides nothing here.
    """
    answer = of_system(read(context.estate), primary.system)
    require_newest(answer, primary.name, primary.timeline or 0)
    if isinstance(answer, Unknown) or not answer.record.steady:
        return
    record = answer.record
    if record.timeline == primary.timeline and record.primary != primary.name:
        raise Refused(
            f"{primary.name} takes writes on timeline {primary.timeline}, and the record knows {record.primary} as its "
            "primary", "./dr deploy records what is so",
        )  # fmt: skip


def is_primary(context: Run, state: Roles) -> None:
    """The run's primary, on its timeline, and of the same database system as it was."""
    node = look(context, primary_of(context, state))
    if not node.is_primary or node.timeline != state.timeline or (state.system and node.system != state.system):
        is_now = f"a primary on timeline {node.timeline}" if node.is_primary else node.why or server.told((node,))
        raise Refused(f"{node.name} was primary on timeline {state.timeline}, and now: {is_now}", _LOOK)


def primary_alone(context: Run, state: Roles) -> None:
    """The run's primary takes writes, and nobody else does."""
    is_primary(context, state)
    only(writers(context), {state.primary: (state.timeline,)})


def takes_no_writes(node: Node) -> None:
    """A server that starts, or hangs, takes none where it is marked as a standby. Raises Refused."""
    if node.is_primary or (node.hangs and not node.standby_signal):
        raise Refused(f"{node.name} {'takes writes' if node.is_primary else node.why}", _LOOK)


def other_is_quiet(context: Run, state: Roles) -> None:
    takes_no_writes(look(context, other_of(context, state)))


def role_has_not_moved(context: Run, state: Roles) -> None:
    """Nobody takes writes, or one of the two on a timeline that this run knows of."""
    own = tuple({state.old_timeline, state.timeline or state.old_timeline})
    only(writers(context), {state.primary: own})
    not_succeeded(context, state)


def promoted() -> Evidence[R]:
    """Of a step that promoted."""
    return Evidence("the primary, on the timeline that it began", is_primary)


def alone() -> Evidence[R]:
    """Of a step that found the primary and leaves it in its role."""
    return Evidence("the one primary, on the same timeline", primary_alone)
