"""Where the monitoring database of an estate is, and where this machine's spool for it."""

from __future__ import annotations

from urllib.parse import quote

from agents.monitor.spool import Spool
from runbooks.engine.lock import state_dir
from runbooks.hosts import Estate, Host
from runbooks.probes.monitoring import port

DATABASE = "monitoring"


def host(estate: Estate) -> Host | None:
    """Its host, the backup host; None where the inventory has no `monitoring_port`. Raises BadInput."""
    return estate.backup if port(estate) else None


def dsn(estate: Estate) -> str:
    """As postgres on that host says it."""
    return f"dbname={DATABASE} port={port(estate)}"


def spool(estate: str) -> Spool:
    return Spool(state_dir() / "monitoring" / quote(estate, safe=""))
