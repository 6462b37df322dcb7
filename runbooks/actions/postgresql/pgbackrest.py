"""Change the repository's own server on the backup host."""

from __future__ import annotations

from runbooks.hosts import Host


def drop_connections(backup: Host) -> None:
    """End what the repository's server is doing for other hosts; a living one simply asks again.

    A primary that lost power in the middle of archive-push leaves a process here that waits for it with the stanza's
    archive lock in its hand, for a quarter of an hour where an answer to the dead host is under way. Until it ends the
    new primary can archive nothing.
    """
    backup.run("systemctl restart pgbackrest-server", timeout=20)
