"""What a validation finds: one thing of one table, what was expected of it and what is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """Which of the checks found it."""

    STRUCTURE = "structure"
    EMPTY = "empty"
    COMPLETENESS = "completeness"
    FRESHNESS = "freshness"
    CONTENT = "content"
    RULE = "rule"
    CALENDAR = "calendar"
    AGREEMENT = "agreement"
    SAMPLE = "sample"


@dataclass(frozen=True)
class Difference:
    """`what` names the thing within the table: a column, an index, a row by its key."""

    check: Check
    table: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check.value}: {self.table}: {self.what}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Looked:
    """How far a check went: over so many things of one kind, and what of them it could not judge.

    `required`: over nothing it has failed. `unknown` is what nobody can tell, and no good news; `warns`: what will be
    wrong before long.
    """

    check: Check
    over: str
    number: int
    undecided: str = ""
    differences: tuple[Difference, ...] = ()
    required: bool = True
    unknown: str = ""
    warns: str = ""

    @property
    def sound(self) -> bool:
        """Over nothing a check has failed, where it is required."""
        return bool(self.number or not self.required) and not self.differences

    def __str__(self) -> str:
        said = f"{len(self.differences):,} differences" if self.differences else "no difference"
        nothing = "" if self.number else ", which proves nothing"
        more = [self.undecided, f"unknown: {self.unknown}" if self.unknown else ""]
        return "; ".join([f"{self.check.value}: {self.number:,} {self.over}, {said}{nothing}", *filter(None, more)])
