"""What pairs of eyes say of the primary, and what each has said without a break."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sight(StrEnum):
    """What one look came to. The first five are the words of agents/watch/eye.py."""

    SERVES = "serves"
    STANDBY = "standby"  # it answers, and is not primary
    ALIVE = "alive"  # its host answers, its server has given no answer
    DOWN = "down"  # its host's kernel says that nobody listens
    SILENT = "silent"  # nothing came back, which alone tells a host that is lost from a slow line no more than it says
    BLIND = "blind"  # nobody could look


class Kind(StrEnum):
    """Whose eyes: they see by different lines."""

    APPLICATION = "application"
    STANDBY = "standby"
    OWN = "own"


@dataclass(frozen=True)
class Look:
    """One look of one pair of eyes; seconds on the watch's monotonic clock."""

    eye: str  # the host's name; of its own, the watch
    kind: Kind
    sight: Sight
    asked: float
    heard: float
    why: str = ""


@dataclass(frozen=True)
class Track:
    """What one pair of eyes has seen without a break: from the first such look's question to the newest's answer."""

    eye: str
    kind: Kind
    sight: Sight
    since: float
    until: float
    served: float  # when it last saw the primary serve; before that, when it began to look
    why: str = ""

    @property
    def lasts(self) -> float:
        return self.until - self.since


def followed(before: Track | None, look: Look) -> Track:
    """The track after one more look."""
    served = before.served if before else look.asked
    if look.sight is Sight.SERVES:
        served = look.heard
    goes_on = before is not None and before.sight is look.sight and before.kind is look.kind
    since = before.since if before and goes_on else look.asked
    return Track(look.eye, look.kind, look.sight, since, look.heard, served, look.why)
