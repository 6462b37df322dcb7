"""Who takes writes after a procedure and who does not: the state that every procedure of PostgreSQL begins with."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from inventories.errors import VerificationFailed
from runbooks.engine.budgets import budget
from runbooks.hosts import Host, Run
from runbooks.layout import Layout
from runbooks.probes.postgresql import server


class Roles(BaseModel):
    """Who takes writes after the procedure, who does not, and what the operator must know."""

    model_config = ConfigDict(frozen=True)

    primary: str = ""  # takes writes in the end
    other: str = ""  # the other PostgreSQL host
    old_timeline: int = 0
    timeline: int = 0
    system: str = ""  # the database system's identifier, where it was seen: a record of another one counts for nothing
    degraded: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()  # standbys besides the other host that follow the primary and that commits wait for
    waited: tuple[str, ...] = ()  # standbys that the primary's commits waited for when the procedure began


R = TypeVar("R", bound=Roles)


def layout(context: Run) -> Layout:
    return Layout(server.version(context.estate))


def asked(context: Run, host: Host) -> server.Node:
    """What it is, asked again while it is too busy to answer: one silence after a deed is no failure of it."""
    return server.ask(host, layout(context).version, min(budget("promote.look"), context.remaining()))


def told(context: Run, host: Host) -> server.Node:
    """The same. Raises VerificationFailed where its server runs and says nothing all the same."""
    node = asked(context, host)
    if node.hangs:
        raise VerificationFailed(
            f"{host} does not say what it is ({node.why})", "see what holds it up, then repeat with --resume"
        )
    return node


def primary_of(context: Run, state: Roles) -> Host:
    return context.estate.host(state.primary)


def others_of(context: Run, state: Roles) -> tuple[Host, ...]:
    """Every PostgreSQL host but the primary: the other one first, then further standbys."""
    other = other_of(context, state)
    return (other, *(host for host in context.estate.postgres if host.name not in (state.primary, other.name)))


def further_of(context: Run, state: Roles) -> tuple[Host, ...]:
    """PostgreSQL hosts besides the two that the procedure is about; none in an estate of two."""
    return others_of(context, state)[1:]


def waited_for(context: Run, state: Roles) -> tuple[str, ...]:
    """Nodes that a setting names which is written before it is known who streams: all of two, else as it was."""
    everyone = tuple(host.name for host in context.estate.postgres)
    named = (state.primary, *state.waited)
    return tuple(name for name in everyone if name in named) if state.waited and len(everyone) > 2 else everyone


def other_of(context: Run, state: Roles) -> Host:
    return context.estate.host(state.other)
