"""Whether a database may be made that is not there: not where backups of one are kept, which was lost then."""

from __future__ import annotations

from contextlib import closing

from agents.base.errors import AgentError
from agents.sqlite.settings import Database, Settings
from agents.sqlite.wire import Line


class Lost(AgentError):  # noqa: N818 - named after what happened, as in the rest of the repository
    """The file is gone and what was in it is kept elsewhere: an empty one in its place would pass for the newest."""

    exit_code = 3


def check(settings: Settings, one: Database) -> None:
    """Raises Lost; Away while nobody can say, which is no leave to begin."""
    if settings.receiver is None:
        return
    with closing(Line(settings.receiver, one.name)) as line:
        said, _ = line.ask("state")
    if said["snapshots"]:
        raise Lost(
            f"There is no {one.path}, and {settings.receiver.host} keeps {said['snapshots']} snapshots of it: it was "
            "lost, and no empty one is made.",
            "./dr sqlite-restore --latest brings it back. To begin anew, move what is kept there aside.",
        )
