"""Fetch the backup repository, or another store's backups, back from the off-site copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventories.errors import TargetFailed
from runbooks import agent
from runbooks.hosts import Host
from runbooks.long_work.work import Asker

_REPOSITORY = "/var/lib/pgbackrest"
_TDENGINE = "/var/lib/mystocks-dr/tdengine"
SQLITE = "/var/lib/mystocks-dr/sqlite"
_PROGRAM = "offsite.copies"
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


def restore(backup: Host, asker: Asker, aside: str = "") -> Copy:
    """Bring the newest copy into the empty repository, as long work; `aside`: what it holds is moved there first, and
    nothing deleted. Raises DrError.
    """

    def put_aside() -> None:
        if aside:
            backup.run(_ASIDE, _REPOSITORY, aside, _REPOSITORY, _REPOSITORY, aside, timeout=600)

    wanted = agent.work(_PROGRAM, "restore", on="repository", kind="fetch")
    return _told(backup, agent.run_work(backup, wanted, asker, prepare=put_aside).json())


def restore_tdengine(backup: Host, asker: Asker) -> Copy:
    """Bring TDengine's backups of the newest copy into their empty or lost folder. Raises DrError when one is there."""
    backup.run("install -d -o postgres -g postgres -m 0700 %s", _TDENGINE)
    wanted = agent.work(_PROGRAM, "restore", "--only", _TDENGINE, on="td-backups", kind="fetch")
    return _told(backup, agent.run_work(backup, wanted, asker).json())


def restore_sqlite(backup: Host, shelf: str, asker: Asker) -> Copy:
    """Bring of a SQLite database's backups (HOST-DATABASE) what is in the newest copy and not there. Raises DrError."""
    backup.run("install -d -o postgres -g postgres -m 0700 %s", SQLITE)
    wanted = agent.work(_PROGRAM, "restore", "--only", f"{SQLITE}/{shelf}", on="sqlite-backups", kind="fetch")
    return _told(backup, agent.run_work(backup, wanted, asker).json())


def _told(backup: Host, said: dict[str, Any]) -> Copy:
    try:
        return Copy(datetime.fromisoformat(said["at"]).timestamp(), int(said["bytes"]))
    except (KeyError, ValueError) as error:
        raise TargetFailed(f"{backup}: the off-site copy came back and does not tell its age: {said}") from error
