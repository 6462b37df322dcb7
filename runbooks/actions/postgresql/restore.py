"""Bring a backup onto a host that holds no data. The restore runs as a unit of its own: it outlives our connection."""

from __future__ import annotations

from runbooks import agent
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql.directory import Incoming, Room
from runbooks.hosts import Host
from runbooks.layout import DATA, Layout
from runbooks.long_work.work import Asker, Work, begin_long, require_idle


def clear(host: Host, layout: Layout, incoming: Incoming, asker: Asker) -> Room:
    """Make room for a restore. Raises Refused where data are in the way and nobody consented to their being moved, and
    while another run works on them.
    """
    require_idle(host, DATA, asker)
    return directory.make_room(host, layout, incoming)


def begin(host: Host, layout: Layout, incoming: Incoming, asker: Asker, expects: str = "") -> None:
    """Start restoring this backup as a standby, unless this run has; return at once. What is done is not done again."""
    begin_long(host, _work(layout, incoming, expects), asker)


def finish(host: Host, layout: Layout, incoming: Incoming, asker: Asker) -> None:
    """Have it restored, and wait for its end. Raises TargetFailed with pgBackRest's reason."""
    agent.run_work(host, _work(layout, incoming), asker)


def _work(layout: Layout, incoming: Incoming, expects: str = "") -> Work:
    return directory.restoring(layout, incoming, "restore", expects, every_core=True)
