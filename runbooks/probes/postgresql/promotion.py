"""What would delay or stop the promotion of a node, as the node's own host says: one round trip, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks import agent
from runbooks.hosts import Host

SLACK_S = 0.6  # for SSH and the start of the program


@dataclass(frozen=True)
class Hindrance:
    """One thing in the way. `seconds` that it would cost, None where nobody can tell; `stops`: no promotion at all."""

    kind: str
    measured: str
    limit: str
    seconds: float | None
    stops: bool
    hint: str


@dataclass(frozen=True)
class Outlook:
    """A node's next promotion. `asked_s`: what its archive took to answer; `needed`: settings that its WAL asks for."""

    standby: bool
    asked_s: float | None = None
    hindrances: tuple[Hindrance, ...] = ()
    needed: Mapping[str, int] = field(default_factory=dict)

    def has(self, kind: str) -> bool:
        return any(one.kind == kind for one in self.hindrances)


def look(host: Host, version: int, database: str, limit_s: float, timeout: float) -> Outlook:
    """Ask the host, which asks its server, its archive and its disk. Raises DrError when any of them hangs."""
    said = agent.ask(
        host, "promotion", "--name", host.name, "--version", version, "--database", database, "--limit", limit_s,
        "--patience", f"{max(0.3, timeout - SLACK_S):.2f}", timeout=timeout,
    )  # fmt: skip
    return parse(said)


def parse(said: Mapping[str, Any]) -> Outlook:
    """The agent's answer as types."""
    found = tuple(Hindrance(**one) for one in said["hindrances"])
    return Outlook(bool(said["in_recovery"]), said["asked_s"], found, said["needed"])
