"""The monitoring database, as its host tells of it: whether it answers, and its own backups."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.errors import BadInput
from runbooks.agent import ask
from runbooks.hosts import Estate, Host

BACKUPS = "/var/lib/mystocks-dr/monitoring"  # on its host


@dataclass(frozen=True)
class Backup:
    """`proven`: whether the last restore of it passed; None where there was none."""

    label: str
    age_s: float
    proven: bool | None


@dataclass(frozen=True)
class Monitoring:
    """`trouble`: why it does not answer; `backups`: the oldest first; `keep_s`: how long spools keep what they shipped,
    so that a younger backup loses nothing.
    """

    trouble: str
    backups: tuple[Backup, ...]
    keep_s: float


def port(estate: Estate) -> int:
    """0 where there is none. Raises BadInput."""
    said = estate.data.get("monitoring_port") or 0
    if not isinstance(said, int) or isinstance(said, bool) or (said and not 1024 <= said <= 65535):
        raise BadInput(f"monitoring_port of {estate.name} is {said!r}", "a port such as 5434, or 0 for no database")
    return said


def is_there(estate: Estate) -> bool:
    """By declaration, whatever the port is."""
    return bool(estate.data.get("monitoring_port"))


def shelf(estate: Estate) -> tuple[str, ...]:
    """What agents/monitor/backup.py is told of the server and of its backups. Raises BadInput."""
    return ("--dsn", f"port={port(estate)}", "--folder", BACKUPS)


def look(host: Host, estate: Estate, timeout: float) -> Monitoring:
    """Raises DrError."""
    told = ask(host, "monitor.backup", "list", *shelf(estate), timeout=timeout)
    backups = tuple(
        Backup(str(one["label"]), told["now"] - one["taken_at"], one["proven"]) for one in told["backups"]
    )
    return Monitoring(str(told["trouble"]), backups, float(told["keep_s"]))
