"""Provision hosts from a step: packages, configuration, certificates and agents, and no data.

The one action that starts a deploy. It may, because deploys.run is a door of its own: it starts pyinfra as a child
process and reads what that did from its answer, so nothing of deploys/ runs inside a runbook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deploys import run
from runbooks.hosts import Estate


def for_restoring(estate: Estate, hosts: Sequence[str], log: Path, say: Callable[[str], None]) -> None:
    """Bring these hosts to the point before data: nothing begins, nothing is cloned. Raises DrError."""
    run.deploy(estate.inventory, hosts, log, say, restoring=True)


def some(estate: Estate, hosts: Sequence[str], log: Path, say: Callable[[str], None]) -> run.Changes:
    """Bring these hosts to their declared state; what that changed. Raises DrError."""
    return run.deploy(estate.inventory, hosts, log, say)


def ordinary(estate: Estate, log: Path, say: Callable[[str], None]) -> run.Changes:
    """Bring the whole estate to its declared state; what that changed. Raises DrError."""
    return run.deploy(estate.inventory, (), log, say)


def hosts(estate: Estate, names: Sequence[str], log: Path) -> run.Changes:
    """Bring these hosts to their declared state; what that changed. Raises DrError."""
    return run.deploy(estate.inventory, names, log)
