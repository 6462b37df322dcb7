"""WAL of older timelines that a host still has and its own history does not: it must not get into the archive.

A former primary keeps the segment in which its successor left it, and so does whoever was rewound from that one. The
server marks old segments without a mark for the archiver before it removes them: after the next change of role a
segment that nobody goes on with would be archived, and where the archive has another one of that name pgBackRest
refuses it for ever, with all that waits behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runbooks.hosts import Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import server

_SEGMENT = re.compile("[0-9A-F]{24}")
_PARTIAL = re.compile(r"([0-9A-F]{24})\.partial")
_FAILED = (
    "select coalesce(last_failed_wal, '') as name from pg_stat_archiver "
    "where last_failed_time > coalesce(last_archived_time, '-infinity')"
)


def look(primary: Host, layout: Layout, timeline: int, forks: Mapping[int, int]) -> tuple[str, ...]:
    """Segments of older timelines from where these were left on. `forks`: by timeline, of the primary's history."""
    said = primary.run("ls %s", f"{layout.data}/pg_wal", user="postgres").stdout
    return beside(said.split(), timeline, forks)


def beside(names: Iterable[str], timeline: int, forks: Mapping[int, int]) -> tuple[str, ...]:
    """Those of these files that are whole segments and not of the history; one of a later timeline is not judged."""
    left = []
    for name in sorted(filter(_SEGMENT.fullmatch, names)):
        its = int(name[:8], 16)
        if its < timeline and (its not in forks or name >= server.segment(its, forks[its])):
            left.append(name)
    return tuple(left)


def refused(primary: Host, backup: Host, stanza: str, timeline: int) -> str:
    """The last, unfinished segment of an older timeline that the archiver fails at, because the archive has another one
    of that name: of a promotion that was taken back. Empty where there is none.
    """
    failed = [str(row["name"]) for row in primary.query(_FAILED)]
    name = failed[0] if failed else ""
    part = _PARTIAL.fullmatch(name)
    if not part or int(name[:8], 16) >= timeline:
        return ""
    there = backup.run(
        "find /var/lib/pgbackrest/archive/%s -name %s", stanza, f"{name}-*", user="postgres", timeout=30
    ).stdout
    return name if there.strip() else ""
