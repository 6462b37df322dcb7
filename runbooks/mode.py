"""The noted replication mode, brought in line with what the primary really does."""

from __future__ import annotations

from inventories.errors import DrError
from runbooks.actions import backup as act
from runbooks.hosts import Estate
from runbooks.probes import backup, postgres


def note_if_whole(estate: Estate) -> bool:
    """Note `synchronous` where every commit waits for a standby again and the note still says otherwise.

    A deploy that clones a lost standby re-arms synchronous replication; without this a failover would go on refusing
    for a loss that is no longer possible. True when the note was changed. Says nothing of an estate that is not whole.
    """
    primaries = [node for node in postgres.survey(estate) if node.is_primary]
    if len(primaries) != 1 or not primaries[0].synchronous:
        return False
    waited_for = [standby.name for standby in primaries[0].standbys if standby.streams and standby.sync == "sync"]
    try:
        noted = backup.replication_mode(estate.backup)
        if not waited_for or (noted and noted.synchronous):
            return False
        act.record_mode(estate.backup, "synchronous", f"{', '.join(waited_for)} streams from {primaries[0].name}")
    except DrError:
        return False  # the backup host is away: whatever it noted still stands
    return True
