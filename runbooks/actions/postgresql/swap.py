"""Start the cluster that was put in the main one's place, or that came back there."""

from __future__ import annotations

from runbooks.actions.postgresql import server
from runbooks.hosts import Host
from runbooks.layout import FENCED, Layout

ALLOW_START = "/etc/mystocks-dr/allow-start"


def start_primary(host: Host, layout: Layout) -> None:
    """Start the main cluster as a primary that waits for nobody, although the start guard may know newer timelines.

    Only for a host whose cluster was chosen to be the primary, while every other server is down.
    """
    host.run(f"rm -f {layout.synchronous} {layout.data}/standby.signal {layout.data}/recovery.signal {FENCED}")
    host.run(
        f"touch {ALLOW_START}; systemctl unmask {layout.unit} 2>/dev/null; systemctl reset-failed {layout.unit}; true"
    )
    try:
        server.start(host, layout)
    finally:
        host.run(f"rm -f {ALLOW_START}")
