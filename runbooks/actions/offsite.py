"""Fetch the backup repository back from its off-site copy."""

from __future__ import annotations

from runbooks.hosts import Host


def restore(backup: Host, timeout: float) -> float:
    """Bring the newest copy into the empty repository; the unix time at which that copy was made. Raises DrError."""
    said = backup.run(
        "cd /opt/mystocks-dr && exec python3 -m agents.offsite restore", user="postgres", timeout=timeout
    ).json()
    return float(said["at"])
