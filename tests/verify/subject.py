"""What a specification is given: one host, or the estate."""

from __future__ import annotations

from dataclasses import dataclass, field

import testinfra.host

from runbooks import hosts
from runbooks.expect import Expected
from runbooks.probes.postgresql.server import Node


@dataclass(frozen=True)
class Subject:
    """One host under test: `machine` is testinfra's, `host` ours; `node` is what a database host said at the start."""

    host: hosts.Host
    machine: testinfra.host.Host = field(repr=False)
    looked: Node | None = field(repr=False)

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def node(self) -> Node:
        assert self.looked is not None, f"{self.name} is no database host"
        return self.looked

    def listens(self, port: int) -> bool:
        """Whether anything listens on this TCP port, on whatever address; testinfra asks for all of them at once."""
        return bool(self.machine.check_output("ss -Hltn %s", f"sport = :{port}"))


@dataclass(frozen=True)
class Seen:
    """The estate as this run looks at it."""

    estate: hosts.Estate
    expected: Expected
    nodes: dict[str, Node]
    limit: frozenset[str]
    has_tdengine: bool = False  # deployed on at least one host that answers

    @property
    def databases(self) -> tuple[hosts.Host, ...]:
        """PostgreSQL hosts whose server should run."""
        gone = {*self.expected.fenced, *self.expected.off}
        return tuple(host for host in self.estate.postgres if host.name not in gone)

    @property
    def primaries(self) -> tuple[hosts.Host, ...]:
        return tuple(host for host in self.databases if self.nodes[host.name].is_primary)

    @property
    def standbys(self) -> tuple[hosts.Host, ...]:
        """Everyone who should be a standby that keeps up, whether or not they are one."""
        return tuple(host for host in self.databases if host not in (*self.primaries, *self.delayed))

    @property
    def delayed(self) -> tuple[hosts.Host, ...]:
        """Standbys that are behind by declaration."""
        return tuple(host for host in self.databases if host.entry.delay_s)
