"""Clocks of this host: the wall's, which may jump, and the seconds since it was booted, which only go on.

Whoever must outlast a wrong clock counts seconds since the boot, and says of which boot. After another one nothing is
known of the time between, and the count begins anew.
"""

from __future__ import annotations

import json
import time
from calendar import timegm
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.base import files

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SLACK_S = 60.0  # by how much clocks of hosts may differ, or be corrected, without being wrong
NOTED_S = 60.0  # how old a note of what a clock said may be before it is written anew
_STAMP = "%Y%m%d-%H%M%S"


def boot_id() -> str:
    """Of this boot; empty where the kernel does not tell, which is no boot at all."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def since_boot() -> float:
    """Seconds since this host was booted, those in which it slept among them. No correction of the clock moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def has_been(stamp: float, now: float) -> bool:
    """Whether a noted moment is past. One that is to come was noted by a clock that was ahead, and says nothing."""
    return stamp <= now + SLACK_S


def label(taken: Iterable[str]) -> str:
    """A stamp for a new label, `20261121-060000`: what the clock says, or the next after the last of the labels that
    are `taken`.

    So they go up in the order of what they name, also where one of them was given by a clock that was ahead.
    """
    last = max((name[-16:-1] for name in taken), default="")
    stamp = time.strftime(_STAMP, time.gmtime(time.time()))
    return stamp if stamp > last else time.strftime(_STAMP, time.gmtime(timegm(time.strptime(last, _STAMP)) + 1))


def span(seconds: float) -> str:
    """`60.0 d`, `3.5 h`, `90 s`: by how much clocks differ."""
    seconds = abs(seconds)
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.1f} d"
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds:.0f} s"


def jumped(note: Path, forget_s: float) -> bool:
    """Whether the clock went otherwise than the seconds did, from one time to another that this was asked with `note`.

    Either way, and also where it was set right since: what was stamped meanwhile is no younger and no older than it
    seems to be. Forgotten after `forget_s`: all of that is older by then. Over a restart it did so if it is behind what
    was noted, or so far ahead that all that is kept for `forget_s` would be too old at once.
    """
    boot, at, offset = boot_id(), since_boot(), time.time() - since_boot()
    before = _noted(note)
    if before is None:
        off, seen, old = False, None, True
    elif boot and before.boot_id == boot:
        off, seen, old = abs(offset - before.offset) > SLACK_S, before.seen, at - before.at >= NOTED_S
    else:
        off = not -SLACK_S <= offset + at - before.offset - before.at <= max(forget_s, SLACK_S)
        seen, old = None if before.seen is None else at, True
    seen = at if off else seen
    if seen is not None and at - seen > forget_s:
        seen, old = None, True
    if off or old:
        with suppress(OSError):  # a disk that is full: it is seen again
            files.replace(note, json.dumps(asdict(_Noted(boot, at, offset, seen))) + "\n")
    return seen is not None


@dataclass(frozen=True)
class _Noted:
    """By a boot, `at` seconds after it: the unix time of it by the clock, and when the clock was last seen to jump."""

    boot_id: str
    at: float
    offset: float
    seen: float | None


def _noted(note: Path) -> _Noted | None:
    try:
        said = json.loads(note.read_text())
        at, seen = float(said["at"]), said["seen"]
        return _Noted(str(said["boot_id"]), at, float(said["offset"]), None if seen is None else float(seen))
    except (OSError, ValueError, KeyError, TypeError):
        return None
