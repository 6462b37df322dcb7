"""What the scheduled validations came to, as the backup host keeps it: a store a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from inventories.errors import TargetFailed
from runbooks.hosts import Host

FOLDER = "/var/lib/mystocks-dr/validations"
# No program of ours: a backup host of an older release has none, and tells that nothing was kept.
_LOOK = f'for file in {FOLDER}/*.json; do if [ -e "$file" ]; then cat "$file" || exit 1; fi; done'


class Outcome(StrEnum):
    """How a validation ended; `failed`: nobody could look."""

    WHOLE = "whole"
    DIFFERS = "differs"
    FAILED = "failed"


@dataclass(frozen=True)
class Kept:
    """The newest scheduled validation of a store. Moments are unix seconds by the backup host's clock: `looked_at` when
    somebody last could look, `sound_at` when it was last found whole, None before that.
    """

    store: str
    outcome: Outcome
    says: str
    level: str
    against: str
    by: str
    seconds: float
    at: float
    looked_at: float | None
    sound_at: float | None
    warns: str = ""  # what will be wrong before long


def look(backup: Host, timeout: float) -> tuple[Kept, ...]:
    """None of a store that nobody validates on a schedule. Raises DrError."""
    return tuple(map(_kept, backup.run(_LOOK, timeout=timeout).stdout.splitlines()))


def _kept(line: str) -> Kept:
    try:
        said = json.loads(line)
        store, says, level, against, by = (str(said[name]) for name in ("store", "says", "level", "against", "by"))
        looked, sound = (None if said[name] is None else float(said[name]) for name in ("looked_at", "sound_at"))
        seconds, at = float(said["seconds"]), float(said["at"])
        warns = str(said.get("warns") or "")  # an older program kept none
        return Kept(store, Outcome(said["outcome"]), says, level, against, by, seconds, at, looked, sound, warns)
    except (ValueError, KeyError, TypeError) as error:
        raise TargetFailed(
            f"a record of validations in {FOLDER} cannot be read: {error!r}",
            "the next ./dr validate --scheduled of that store writes it anew",
        ) from error
