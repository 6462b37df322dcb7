"""The scheduled marks: what the backup host keeps of them, and since when a watch's host takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inventories.catalog import load_recovery
from runbooks.agent import ask
from runbooks.hosts import Estate, Host
from runbooks.probes import watch

TIMER = "mystocks-mark.timer"
_SINCE = "systemctl show %s --timestamp=unix -p ActiveState -p ActiveEnterTimestamp --value"


@dataclass(frozen=True)
class Newest:
    """Of the marks that a timer takes. `at` in unix seconds by the primary's clock; `took_ms` until it was handed over
    to be kept, `point_ms` of these for the restore point with its commit; `lacks`: why something is not bound.
    """

    name: str
    at: float
    took_ms: int | None
    point_ms: int | None
    lacks: Sequence[str]


@dataclass(frozen=True)
class Marks:
    """`count`: of all that are kept; `newest` is None where no timer has taken one."""

    count: int
    newest: Newest | None


def look(backup: Host, timeout: float) -> Marks:
    """Raises DrError."""
    said = ask(backup, "marks.keep", "newest", user="root", timeout=timeout)
    one = said["newest"]
    if one is None:
        return Marks(int(said["count"]), None)
    found = Newest(
        str(one["name"]), float(one["at"]), one.get("took_ms"), one.get("point_ms"), tuple(one.get("lacks") or ())
    )
    return Marks(int(said["count"]), found)


def taker(estate: Estate) -> Host | None:
    """The host whose timer takes them: the first of the group `watch`; None where none is declared to."""
    there = sorted(watch.hosts(estate), key=lambda host: host.name)
    return there[0] if there and load_recovery().marks.every_min else None


def since(host: Host, timeout: float) -> float:
    """Unix seconds since which its timer runs, 0 where it does not. Raises DrError."""
    said = host.run(_SINCE, TIMER, timeout=timeout).text.split()
    if "active" not in said:
        return 0.0
    return next((float(word.lstrip("@")) for word in said if word.startswith("@")), 0.0)
