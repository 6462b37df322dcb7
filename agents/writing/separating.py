"""Find the rows that a store refuses, by halves, until each stands alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agents.base.failures import Refusal
from agents.writing.batch import Part

HOPELESS = 20  # rows refused one by one while none of their table went in: the rest is left untried
Refused = tuple[Part, Refusal]


def separate(parts: Iterable[Part], tried: Callable[[Part], Refusal | None]) -> tuple[list[Part], list[Refused]]:
    """What went in, and (part, why) of what did not, in order; `tried` writes a part and tells why it was refused.

    A refused part is one row, or more where the rest of its table was left untried.
    """
    sound: list[Part] = []
    refused: list[Refused] = []
    waiting = list(parts)[::-1]
    while waiting:
        part = waiting.pop()
        why = tried(part)
        if why is None:
            sound.append(part)
        elif part.n == 1 or _hopeless(part.table, sound, refused):
            refused.append((part, why))
        else:
            waiting += reversed(part.halves())
    return sound, refused


def _hopeless(table: str, sound: list[Part], refused: list[Refused]) -> bool:
    mine = sum(1 for part, _ in refused if part.table == table)
    return mine >= HOPELESS and not any(part.table == table for part in sound)
