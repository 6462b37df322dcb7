"""Whether the watch's service runs, by systemd's word on its host."""

from __future__ import annotations

from runbooks.hosts import Estate, Host

UNIT = "mystocks-watch.service"


def hosts(estate: Estate) -> tuple[Host, ...]:
    """Those of the group `watch`; none where the inventory has no such group."""
    names = estate.groups.get("watch", ())
    return tuple(host for host in estate.hosts if host.name in names)


def word(host: Host, timeout: float) -> str:
    """`active`, `inactive`, `failed` and so on. Raises DrError where the host does not answer."""
    return host.run("systemctl is-active %s || true", UNIT, timeout=timeout).text
