"""Whether a database may be made that is not there: not where backups of one are kept, which was lost then.

Where the backup host has none it may have been lost, too, so what its off-site copy holds counts as well.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from agents.base.errors import AgentError
from agents.sqlite.settings import Database, Settings
from agents.sqlite.wire import Line

PATIENCE_S, EVERY_S = 20.0, 0.25


class Lost(AgentError):  # noqa: N818 - named after what happened, as in the rest of the repository
    """The file is gone and what was in it is kept elsewhere: an empty one in its place would pass for the newest."""

    exit_code = 3


def check(settings: Settings, one: Database) -> None:
    """Raises Lost; Away while nobody can say, which is no leave to begin."""
    if settings.receiver is None:
        return
    with closing(Line(settings.receiver, one.name)) as line:
        said, _ = line.ask("state")
        away = {} if said["snapshots"] else _away(line)
    if said["snapshots"]:
        raise Lost(
            f"There is no {one.path}, and {settings.receiver.host} keeps {said['snapshots']} snapshots of it: it was "
            "lost, and no empty one is made.",
            "./dr sqlite-restore --latest brings it back. To begin anew, move what is kept there aside.",
        )
    if away.get("asking"):
        raise AgentError(f"{settings.receiver.host} asks the off-site copy whether it has {one.name}.", "Try again.")
    if away.get("snapshots"):
        raise Lost(
            f"There is no {one.path}, {settings.receiver.host} keeps nothing of it and the copy on {away['host']} has "
            f"{away['snapshots']} snapshots: it was lost, and no empty one is made.",
            "./dr sqlite-restore --offsite --yes brings it back.",
        )


def _away(line: Line) -> dict[str, Any]:
    """What the off-site copy has of it. It is asked beside, and answers after seconds."""
    ends = time.monotonic() + PATIENCE_S
    while (said := line.ask("offsite")[0]).get("asking") and time.monotonic() < ends:
        time.sleep(EVERY_S)
    return said
