"""Scheduled marks that do not come: a restore of all stores to one moment would lose more than was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.judge.finding import Finding
from runbooks.probes.durations import span
from runbooks.probes.marks import TIMER, Marks

_MISSED = 3  # so many in a row are no busy moment any more


def findings(found: Marks | None, timers: Mapping[str, float], every_min: float, now: float) -> Iterator[Finding]:
    """`timers`: host -> unix seconds since which its timer runs, 0 for one that does not; a host that does not answer
    has a finding of its own, and so has a backup host.
    """
    for host, since in timers.items():
        if not since:
            yield Finding(f"marks by {host}", f"{TIMER} does not run", f"one every {every_min:g} min", "./dr deploy")
        elif found is not None:
            yield from _late(found, host, since, every_min, now)


def _late(found: Marks, host: str, since: float, every_min: float, now: float) -> Iterator[Finding]:
    """One that has only just begun to take them is given its time, too."""
    newest = found.newest
    age = now - max(newest.at if newest else 0.0, since)
    why = f"journalctl -u {TIMER.removesuffix('.timer')} on {host} tells why"
    if age > _MISSED * every_min * 60:
        measured = f"the newest is {span(now - newest.at)} old" if newest else "none was ever taken"
        yield Finding(f"marks by {host}", measured, f"one every {every_min:g} min", f"{why}; ./dr mark NAME takes one")
    elif newest and newest.lacks:
        yield Finding(f"mark {newest.name}", f"lacks {newest.lacks[0]}", "binds every store", why)


def sentence(found: Marks, now: float) -> str:
    """For people: how old the newest is, and what it cost."""
    if found.newest is None:
        return f"{found.count} kept, none by a timer"
    one = found.newest
    cost = "" if one.took_ms is None else f", took {one.took_ms} ms, {one.point_ms} ms of it for the restore point"
    return f"newest {span(now - one.at)} old{cost}; {found.count} kept"
