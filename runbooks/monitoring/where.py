"""Where the monitoring database of an estate is, and where this machine's spool for it."""

from __future__ import annotations

from urllib.parse import quote

from agents.monitor.spool import Spool
from runbooks.engine.lock import state_dir
from runbooks.hosts import Estate, Host

DATABASE = "monitoring"
BACKUPS = "/var/lib/mystocks-dr/monitoring"  # on its host


def host(estate: Estate) -> Host | None:
    """Its host, the backup host; None where the inventory has no `monitoring_port`."""
    return estate.backup if port(estate) else None


def port(estate: Estate) -> int:
    return int(estate.data.get("monitoring_port") or 0)


def dsn(estate: Estate) -> str:
    """As postgres on that host says it."""
    return f"dbname={DATABASE} port={port(estate)}"


def spool(estate: str) -> Spool:
    return Spool(state_dir() / "monitoring" / quote(estate, safe=""))
