"""Quiet hours: until when a message that may wait does."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from inventories.catalog.alarms import Quiet, Severity


def due(quiet: Quiet | None, severity: Severity, now: float) -> float:
    """When (unix seconds) a message of this severity may be sent that is made now."""
    if quiet is None or severity >= quiet.level:
        return now
    here = datetime.fromtimestamp(now, ZoneInfo(quiet.zone))
    begins, until = _minutes(quiet.begins), _minutes(quiet.until)
    minute = here.hour * 60 + here.minute
    inside = begins <= minute < until if begins < until else minute >= begins or minute < until
    if not inside:
        return now
    end = here.replace(hour=until // 60, minute=until % 60, second=0, microsecond=0)
    if minute >= until:
        end += timedelta(days=1)
    return end.timestamp()


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
