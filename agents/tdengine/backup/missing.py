"""Rows that an earlier backup of TDengine has and later ones lack: dropped, deleted, or never there again.

What the database itself no longer keeps (KEEP) is not missed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from agents.tdengine.backup.manifest import Manifest

_MINUTES = {"m": 1, "h": 60, "d": 1440}


def missing(before: Sequence[Manifest], after: Sequence[Manifest]) -> Iterator[str]:
    """A phrase for each supertable of which an hour has more rows in `before` than anywhere in `after`."""
    if not after:
        return
    newest = max(after, key=lambda one: one.started_at)
    kept_from = int((newest.started_at - keep_s(str(newest.options.get("keep", "")))) // 3600)
    for name in sorted({name for one in before for name in one.windows}):
        had, has = _most(before, name), _most(after, name)
        lost = {hour: rows - has.get(hour, 0) for hour, rows in had.items() if hour >= kept_from}
        lost = {hour: rows for hour, rows in lost.items() if rows > 0}
        if lost:
            first = time.strftime("%Y-%m-%d %H:00 UTC", time.gmtime(min(lost) * 3600))
            hours = "1 hour" if len(lost) == 1 else f"{len(lost)} hours"
            yield f"{sum(lost.values()):,} rows of {name} in {hours}, the first {first}"


def _most(manifests: Sequence[Manifest], name: str) -> dict[int, int]:
    """Hour -> the most rows that any of them has of it."""
    found: dict[int, int] = {}
    for one in manifests:
        for hour, window in one.windows.get(name, {}).items():
            found[hour] = max(found.get(hour, 0), window.rows)
    return found


def keep_s(keep: str) -> float:
    """Seconds for which the database keeps rows, the longest of its tiers: `3650d,3650d,3650d` or `5256000m`."""
    spans = [float(one[:-1]) * _MINUTES[one[-1]] * 60 for one in keep.split(",") if one and one[-1] in _MINUTES]
    return max(spans, default=float("inf"))
