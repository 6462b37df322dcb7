"""What the backup host knows that the database hosts may have lost: the replication mode that was last agreed."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.hosts import Host
from runbooks.layout import MODE


@dataclass(frozen=True)
class Mode:
    """`synchronous` (every acknowledged row is on two hosts) or `degraded`, since when (UTC) and why."""

    mode: str
    since: str
    why: str

    @property
    def synchronous(self) -> bool:
        return self.mode == "synchronous"


def replication_mode(backup: Host) -> Mode | None:
    """None when nobody has recorded one. Raises Unreachable."""
    ran = backup.run("cat %s", MODE, expect=None, timeout=5)
    if ran.rc:
        return None
    said = ran.json()
    return Mode(said["mode"], said["since"], said["why"])
