"""What one host of the estate can reach of another."""

from __future__ import annotations

from inventories.errors import DrError
from runbooks.hosts import Host


def port_open(viewer: Host, target: Host, port: int, seconds: float) -> bool:
    """Whether `viewer` can open a TCP connection to `target`; a viewer that is away has seen nothing."""
    if not viewer.reachable():
        return False
    try:
        ran = viewer.run(
            "timeout %s bash -c %s",
            seconds,
            f"exec 3<>/dev/tcp/{target.address}/{port}",
            expect=None,
            timeout=seconds + 3,
        )
    except DrError:
        return False
    return ran.rc == 0
