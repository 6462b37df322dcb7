"""Rows that an earlier backup of TDengine has and later ones lack: dropped, deleted, or never there again.

What the database itself no longer keeps (KEEP) is not missed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from agents.tdengine import spans
from agents.tdengine.backup.manifest import Manifest


def missing(before: Iterable[Manifest], after: Iterable[Manifest]) -> Iterator[str]:
    """A phrase for each table of which an hour has more rows in `before` than anywhere in `after`.

    Each manifest is looked at and let go: those of a year do not fit into memory together.
    """
    has, newest = _most(after)
    if newest is None:
        return
    kept_from = newest.at - newest.keep_s
    had, _ = _most(before)
    for name in sorted(had):
        lost = {hour: rows - has.get(name, {}).get(hour, 0) for hour, rows in had[name].items()}
        lost = {hour: rows for hour, rows in lost.items() if rows > 0 and (hour + 1) * 3600 > kept_from}
        if lost:
            first = time.strftime("%Y-%m-%d %H:00 UTC", time.gmtime(min(lost) * 3600))
            yield f"{sum(lost.values()):,} rows of {name} in {spans.in_hours(len(lost))}, the first {first}"


class _Kept(NamedTuple):
    at: float
    keep_s: float


def _most(manifests: Iterable[Manifest]) -> tuple[dict[str, dict[int, int]], _Kept | None]:
    """Table -> hour -> the most rows that any of them has of it; when the newest was taken, and what was kept then."""
    found: dict[str, dict[int, int]] = {}
    newest: _Kept | None = None
    for one in manifests:
        for name, windows in one.windows.items():
            most = found.setdefault(name, {})
            for hour, window in windows.items():
                most[hour] = max(most.get(hour, 0), window.rows)
        if newest is None or one.started_at > newest.at:
            newest = _Kept(one.started_at, keep_s(one.options))
    return found, newest


def keep_s(options: Mapping[str, Any]) -> float:
    """Seconds for which a database with these options keeps rows; for ever where a manifest does not say."""
    keep = str(options.get("keep", ""))
    return spans.seconds(spans.longest(keep)) if keep else float("inf")
