"""Whether a watch looked while it mattered, by its own beats (see drills/beats.py).

A watch that is dead, or whose eyes have closed, fails nothing over: without this it would pass every bench of noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from drills.beats import BEAT

NEAR_S = 2.0  # before a fault, and what a fault has to last for every pair of eyes to look meanwhile


@dataclass(frozen=True)
class Word:
    """One thing that the watch said, and when by this machine's monotonic clock.

    `looked`, of a beat alone: when each pair of eyes has looked last.
    """

    at: float
    what: str
    says: str
    looked: dict[str, float] = field(default_factory=dict)


def unproven(words: Iterable[Word], eyes: int, since: float, until: float, closed: int = 0) -> str:
    """Why nothing proves that it looked before, during and after a fault of these moments; empty where all does.

    `closed`: so many pairs of eyes the fault itself closes while it lasts.
    """
    told = tuple(words)
    meanwhile = eyes - closed if until - since >= NEAR_S else 1
    return (
        blind(told, eyes, since - NEAR_S, since, "before the fault")
        or blind(told, meanwhile, since, until, "while the fault lasted")
        or blind(told, eyes, until, float("inf"), "after the fault")
    )


def blind(words: Iterable[Word], eyes: int, since: float, until: float, when: str) -> str:
    """Why nothing proves that it judged between two moments, and looked through so many eyes; empty where all does."""
    beats = [word for word in words if word.what == BEAT and since < word.at <= until]
    if not beats:
        return f"the watch has not said {when} that it judges"
    looked = {eye for beat in beats for eye, at in beat.looked.items() if at > since}
    if len(looked) < eyes:
        return f"the watch has looked {when} through {len(looked)} pairs of eyes, not through {eyes}"
    return ""


def stood_still(words: Iterable[Word], since: float, until: float) -> str:
    """Why nothing proves that the watch stood still between two moments, and knew it afterwards."""
    told = tuple(words)
    if any(since < word.at < until for word in told):
        return "the watch went on while it was to stand still"
    if not any(word.what == "stalled" and word.at >= until for word in told):
        return "the watch has not noticed that it had stood still"
    return ""
