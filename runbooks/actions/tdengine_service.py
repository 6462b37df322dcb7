"""TDengine's service on a node: started when it does not run."""

from __future__ import annotations

from runbooks.hosts import Host


def start(host: Host, timeout: float) -> None:
    """Start taosd, also when systemd has given it up. Does nothing to one that runs. Raises TargetFailed."""
    host.run("systemctl reset-failed taosd; systemctl start taosd", timeout=timeout)
