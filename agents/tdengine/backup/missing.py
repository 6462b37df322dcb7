"""Rows that an earlier backup of TDengine has and later ones lack: dropped, deleted, or never there again.

What the database itself no longer keeps (KEEP) is not missed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.tdengine import spans
from agents.tdengine.backup.manifest import Manifest


def missing(before: Sequence[Manifest], after: Sequence[Manifest]) -> Iterator[str]:
    """A phrase for each supertable of which an hour has more rows in `before` than anywhere in `after`."""
    if not after:
        return
    newest = max(after, key=lambda one: one.started_at)
    kept_from = newest.started_at - keep_s(newest.options)
    for name in sorted({name for one in before for name in one.windows}):
        had, has = _most(before, name), _most(after, name)
        lost = {hour: rows - has.get(hour, 0) for hour, rows in had.items() if (hour + 1) * 3600 > kept_from}
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


def keep_s(options: Mapping[str, Any]) -> float:
    """Seconds for which a database with these options keeps rows; for ever where a manifest does not say."""
    keep = str(options.get("keep", ""))
    return spans.seconds(spans.longest(keep)) if keep else float("inf")
