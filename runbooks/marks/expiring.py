"""Marks go with the backups that they need, and when they are older than recovery.yaml keeps them.

Of those that nobody has named one an hour is left after a while: a mark every five minutes would soon be thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

from inventories.catalog import load_recovery
from runbooks.hosts import Estate
from runbooks.layout import STANZA
from runbooks.marks import keeping
from runbooks.marks.types import Kept, Mark
from runbooks.probes.postgresql import pgbackrest, server
from runbooks.probes.postgresql.pgbackrest import Repository

_DAY_S, _HOUR_S = 86400, 3600


def expire(estate: Estate, found: Kept, now: float) -> tuple[Mark, ...]:
    """Let go of what nobody can restore to any more; `now` is a moment on which two hosts' clocks agree, since it is
    that of a mark which was kept just now. Raises DrError; nothing has gone then.
    """
    law = load_recovery().marks
    gone = overdue(found.marks, pgbackrest.info(estate.backup, STANZA), law.keep_days, now)
    gone += tuple(mark for mark in thinned(found.marks, law.dense_h, now) if mark not in gone)
    if gone:
        keeping.drop(estate.backup, gone)
    return gone


def overdue(marks: Sequence[Mark], repository: Repository, keep_days: float, now: float) -> tuple[Mark, ...]:
    """Older than so many days, or than every backup; where there is no backup, the first may be under way."""
    oldest = min((server.begins(backup.wal_stop) for backup in repository.backups), default=0)
    ours = str(repository.system_id)
    return tuple(
        mark for mark in marks
        if now - mark.at > keep_days * _DAY_S or (mark.system == ours and mark.position < oldest)
    )


def thinned(marks: Sequence[Mark], dense_h: float, now: float) -> tuple[Mark, ...]:
    """Scheduled ones that are older than so many hours, but for the first of each hour by the clock."""
    hours: set[int] = set()
    gone = []
    for mark in sorted(marks, key=lambda one: one.at):
        if not mark.scheduled or now - mark.at <= dense_h * _HOUR_S:
            continue
        hour = int(mark.at // _HOUR_S)
        if hour in hours:
            gone.append(mark)
        hours.add(hour)
    return tuple(gone)
