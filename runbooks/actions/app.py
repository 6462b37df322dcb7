"""Change things on the application host: replay the outbox by hand."""

from __future__ import annotations

from runbooks.engine.budgets import budget
from runbooks.hosts import Host


def replay(host: Host) -> None:
    """Replay everything that waits; beside a running service this watches the service do it.

    Raises TargetFailed when rows still wait at the end.
    """
    seconds = budget("outbox.drain")
    host.run(
        "cd /opt/mystocks-dr && "
        "exec python3 -m agents.replayer --config /etc/mystocks-dr/agent.json --once --timeout %s",
        seconds,
        user="mystocks",
        timeout=seconds + 10,
    )
