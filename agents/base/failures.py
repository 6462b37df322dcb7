"""What a store's error says about what to do next; of a refusal also what was refused with which words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    """AWAY: the store takes nothing now. UNLUCKY: the same again may go through. REFUSED: it heard and said no.

    A refusal alone does not say whether the row is at fault or its table: whether others go through does.
    """

    AWAY = "away"
    UNLUCKY = "unlucky"
    REFUSED = "refused"


@dataclass(frozen=True)
class Refusal:
    """`of_row`: the code is one of those that name a value; str() is the store's words."""

    words: str
    code: str
    of_row: bool

    def __str__(self) -> str:
        return self.words
