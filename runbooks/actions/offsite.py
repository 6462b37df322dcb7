"""Fetch the backup repository, or TDengine's backups, back from the off-site copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventories.errors import TargetFailed
from runbooks.hosts import Host

_REPOSITORY = "/var/lib/pgbackrest"
_TDENGINE = "/var/lib/mystocks-dr/tdengine"
_AGENT = "cd /opt/mystocks-dr && exec python3 -m agents.offsite.copies"
_ASIDE = """
set -eu
test -n "$(ls -A %s/backup 2>/dev/null)" || exit 0
install -d -o postgres -g postgres -m 0750 %s
for part in archive backup; do test ! -e %s/$part || mv %s/$part %s/; done
"""


@dataclass(frozen=True)
class Copy:
    """What was fetched: when the copy was made (unix seconds), its bytes."""

    made_at: float
    bytes: int


def put_aside(backup: Host, aside: str) -> None:
    """Move what the repository holds to the directory `aside`; nothing is deleted."""
    backup.run(_ASIDE, _REPOSITORY, aside, _REPOSITORY, _REPOSITORY, aside, timeout=600)


def restore(backup: Host, timeout: float) -> Copy:
    """Bring the newest copy into the empty repository. Raises DrError."""
    return _told(backup, backup.run(f"{_AGENT} restore", user="postgres", timeout=timeout).json())


def restore_tdengine(backup: Host, timeout: float) -> Copy:
    """Bring TDengine's backups of the newest copy into their empty or lost folder. Raises DrError when one is there."""
    backup.run("install -d -o postgres -g postgres -m 0700 %s", _TDENGINE)
    return _told(
        backup, backup.run(f"{_AGENT} restore --only %s", _TDENGINE, user="postgres", timeout=timeout).json()
    )


def _told(backup: Host, said: dict[str, Any]) -> Copy:
    try:
        return Copy(datetime.fromisoformat(said["at"]).timestamp(), int(said["bytes"]))
    except (KeyError, ValueError) as error:
        raise TargetFailed(f"{backup}: the off-site copy came back and does not tell its age: {said}") from error
