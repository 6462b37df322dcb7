"""The WAL that a standby has on its own disk, of which one archive-less read is milliseconds and a fetch is not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from agents.base.errors import AgentError
from agents.postgresql.wal.segment import Header, header

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")
_HEADER_BYTES = 64


@dataclass(frozen=True)
class LocalWal:
    """Names of what lies in pg_wal: `whole` segments and histories, and segments that are still `begun`.

    A file of a segment's name may be an older one that waits to be written over: its first page tells what it is.
    """

    whole: frozenset[str]
    begun: frozenset[str]
    segment_bytes: int = field(default=1 << 24)


def look(data: Path) -> LocalWal:
    """What a cluster that is stopped, or receives, has. A segment is whole once one behind it was begun."""
    found: dict[str, Header] = {}
    histories = set()
    for path in (data / "pg_wal").iterdir():
        if _HISTORY.fullmatch(path.name):
            histories.add(path.name)
        elif _SEGMENT.fullmatch(path.name) and (seen := _is_what_it_is_called(path)):
            found[path.name] = seen
    size = next((seen.segment_bytes for seen in found.values()), 1 << 24)
    last = {timeline: max(name for name in found if name[:8] == timeline) for timeline in {name[:8] for name in found}}
    begun = frozenset(last.values())
    return LocalWal(frozenset(found) - begun | frozenset(histories), begun, size)


def _is_what_it_is_called(path: Path) -> Header | None:
    """Its first page, where that is of this segment."""
    try:
        with path.open("rb") as file:
            seen = header(file.read(_HEADER_BYTES))
    except (OSError, AgentError):
        return None
    per_log = (1 << 32) // seen.segment_bytes if seen.segment_bytes else 0
    if not per_log:
        return None
    begins = (int(path.name[8:16], 16) * per_log + int(path.name[16:], 16)) * seen.segment_bytes
    return seen if seen.address == begins and path.stat().st_size == seen.segment_bytes else None
