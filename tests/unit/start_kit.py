"""Stopped clusters for tests: what a survey of their files would have found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from inventories.inventory import HostEntry
from runbooks.hosts import Host
from runbooks.probes.postgresql.mode import Mode
from runbooks.probes.postgresql.stopped import Stopped
from runbooks.procedures.postgresql.start_choice import Archive

SYSTEM = "7712820265723870263"
SEGMENT = 1 << 24
IN_STEP = Mode("synchronous", "2026-01-01T00:00:00Z", "deployed")
ALONE = Mode("degraded", "2026-01-02T00:00:00Z", "pg2 is out; what pg1 commits exists once until ./dr rejoin pg2")
ARCHIVE = Archive(SYSTEM, 1, "000000010000000000000006")


def host(name: str) -> Host:
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere"))


def primary(name: str = "pg1", end: int = 0x7000060, **more: Any) -> Stopped:
    """A primary that lost its power."""
    usual: dict[str, Any] = {
        "state": "in production", "system": SYSTEM, "checkpoint": 0x4000080, "redo": 0x4000028, "newest": 1,
        "timeline": 1, "end": end,
    }  # fmt: skip
    return Stopped(host(name), **{**usual, **more})


def standby(name: str = "pg2", end: int = 0x7000060, **more: Any) -> Stopped:
    return primary(name, end, **{"standby_signal": True, "state": "in archive recovery", **more})


def silent(name: str) -> Stopped:
    return Stopped(host(name), ssh=False, why="no answer at 192.0.2.1:22")


def alike(*nodes: Stopped) -> tuple[Stopped, ...]:
    """Nodes whose WAL is the same as far as each of them has it."""
    def known(node: Stopped) -> dict[str, str]:
        return {
            other.mark: f"bytes up to {other.end}"
            for other in nodes
            if other.readable and other.timeline == node.timeline and other.end <= node.end
        }

    return tuple(replace(node, digests=known(node)) if node.readable else node for node in nodes)
