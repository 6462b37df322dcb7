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
from pathlib import Path

from agents.base import files

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SLACK_S = 60.0  # by how much clocks of hosts may differ, or be corrected, without being wrong
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
    """Whether the clock went otherwise than the seconds did since it was noted here, in this boot.

    Forgotten after `forget_s`: what was there before the jump is so old by then, whatever the clock says.
    """
    boot, at, offset = boot_id(), since_boot(), time.time() - since_boot()
    try:
        said = json.loads(note.read_text())
        same, before, seen = bool(boot) and said["boot_id"] == boot, float(said["offset"]), said.get("seen")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        same, before, seen = False, offset, None
    off = same and abs(offset - before) > SLACK_S
    lasts = off and (seen is None or at - float(seen) <= forget_s)
    if lasts and seen is not None:
        return True
    told = {"boot_id": boot, "offset": before, "seen": at} if lasts else {"boot_id": boot, "offset": offset}
    with suppress(OSError):  # a disk that is full: it is seen again
        files.replace(note, json.dumps(told) + "\n")
    return lasts
