"""Where the monitoring database of an estate is, and where this machine's spool for it."""

from __future__ import annotations

from urllib.parse import quote

from agents.monitor.spool import Spool
from inventories.errors import BadInput
from runbooks.engine.lock import state_dir
from runbooks.hosts import Estate, Host

DATABASE = "monitoring"
BACKUPS = "/var/lib/mystocks-dr/monitoring"  # on its host


def host(estate: Estate) -> Host | None:
    """Its host, the backup host; None where the inventory has no `monitoring_port`."""
    return estate.backup if port(estate) else None


def port(estate: Estate) -> int:
    """0 where there is none. Raises BadInput."""
    said = estate.data.get("monitoring_port") or 0
    if not isinstance(said, int) or isinstance(said, bool) or (said and not 1024 <= said <= 65535):
        raise BadInput(f"monitoring_port of {estate.name} is {said!r}", "a port such as 5434, or 0 for no database")
    return said


def dsn(estate: Estate) -> str:
    """As postgres on that host says it."""
    return f"dbname={DATABASE} port={port(estate)}"


def shelf(estate: Estate) -> tuple[str, ...]:
    """What agents/monitor/backup.py is told of the server and of its backups."""
    return ("--dsn", f"port={port(estate)}", "--folder", BACKUPS)


def spool(estate: str) -> Spool:
    return Spool(state_dir() / "monitoring" / quote(estate, safe=""))
