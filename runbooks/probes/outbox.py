"""What waits in the outbox on the application host."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.errors import TargetFailed
from runbooks.hosts import Host

CONFIG = "/etc/mystocks-dr/agent.json"
_STATUS = "cd /opt/mystocks-dr && exec python3 -m agents.outbox_cli --config %s status"


@dataclass(frozen=True)
class Outbox:
    """Counts of rows, ages in seconds (None: nothing waits), sizes in bytes."""

    pending_rows: int
    dead_rows: int
    applied_rows: int
    oldest_age_s: float | None
    last_error: str | None
    size_bytes: int
    max_bytes: int
    replayer_running: bool


def look(host: Host, timeout: float | None = None) -> Outbox:
    """Ask the agents' own program. Raises DrError when the host, or the program, does not answer."""
    said = host.run(_STATUS, CONFIG, user="mystocks", timeout=timeout).json()
    try:
        return Outbox(**{name: said[name] for name in Outbox.__dataclass_fields__})
    except (KeyError, TypeError) as error:
        raise TargetFailed(f"{host.name}: the outbox answered something else than its status: {said!r:.200}") from error
