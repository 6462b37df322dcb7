"""Change things on the backup host: take a backup, record the replication mode."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from runbooks.hosts import Host
from runbooks.layout import MODE, STANZA


def record_mode(backup: Host, mode: str, why: str) -> None:
    """Write down, outside both database hosts, whether acknowledged rows are on two hosts from now on."""
    text = json.dumps({"mode": mode, "since": datetime.now(UTC).isoformat(timespec="seconds"), "why": why})
    backup.run("printf '%%s\\n' %s > %s.new && sync %s.new && mv %s.new %s", text, MODE, MODE, MODE, MODE)


def drop_connections(backup: Host) -> None:
    """End what the repository's server is doing for other hosts; a living one simply asks again.

    A primary that lost power in the middle of archive-push leaves a process here that waits for it with the stanza's
    archive lock in its hand, for a quarter of an hour where an answer to the dead host is under way. Until it ends the
    new primary can archive nothing.
    """
    backup.run("systemctl restart pgbackrest-server", timeout=20)


def take(backup: Host, kind: str, timeout: float) -> None:
    """Take a backup of kind full, diff or incr, waiting for a scheduled one that runs already.

    A dead node must not hold it up: pgBackRest asks every node who is primary, and gives one up after io-timeout.
    """
    backup.run(
        "flock -w %s /var/lib/pgbackrest/.backup.lock pgbackrest --stanza=%s --type=%s --io-timeout=2 backup",
        int(timeout), STANZA, kind, user="postgres", timeout=timeout + 10,
    )  # fmt: skip
