"""Kinds of damage, read from kinds.yaml: what is done, and which check must report it, in which words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PATH = Path(__file__).parent / "kinds.yaml"


class By(StrEnum):
    """The checks of `./dr validate`; content by what it is held against."""

    STRUCTURE = "structure"
    EMPTY = "empty"
    COMPLETENESS = "completeness"
    FRESHNESS = "freshness"
    RULE = "rule"
    CALENDAR = "calendar"
    STANDBY = "standby"
    RESTORED = "restored"
    BASELINE = "baseline"


class At(StrEnum):
    LIVE = "live"
    STANDBY = "standby"
    PAGE = "page"


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_several), Field(strict=False)]


class Kind(BaseModel):
    """`table` is what must be blamed. `told` and `also`: how what is named begins, with another table's name and a
    slash before it where it is of that one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    table: str
    do: tuple[str, ...]
    at: At = At.LIVE
    told: Mapping[By, Words] = {}
    also: Mapping[By, Words] = {}
    hole: str = ""

    @model_validator(mode="after")
    def _is_told_or_a_hole(self) -> Self:
        if bool(self.told) == bool(self.hole) or (self.also and not self.told):
            raise ValueError(f"{self.name}: either a check reports it, or it is a hole and says why")
        return self

    @property
    def says(self) -> str:
        return self.name.replace("-", " ")

    @property
    def expected(self) -> Mapping[By, tuple[tuple[str, str], ...]]:
        """(table, how what is named begins) of each check."""
        return {by: tuple(map(self._placed, words)) for by, words in {**self.also, **self.told}.items()}

    def _placed(self, words: str) -> tuple[str, str]:
        table, slash, rest = words.partition("/")
        return (table, rest) if slash else (self.table, words)


def wrong(kind: Kind, found: Mapping[By, tuple[tuple[str, str], ...]]) -> list[str]:
    """What of (table, what) by check is not as it must be, a sentence each."""
    said = []
    for by in By:
        wanted, seen = kind.expected.get(by, ()), found.get(by, ())
        for table, words in wanted:
            if not any(_fits(one, (table, words)) for one in seen):
                said.append(f"{by} does not report {table}: {words}")
        for one in seen:
            if not any(_fits(one, two) for two in wanted):
                said.append(f"{by} reports {one[0]}: {one[1]}")
    return said


def _fits(found: tuple[str, str], wanted: tuple[str, str]) -> bool:
    return found[0] == wanted[0] and fnmatchcase(found[1], f"{wanted[1]}*")


def load() -> dict[str, Kind]:
    found = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return {name: Kind.model_validate({"name": name, **facts}) for name, facts in found.items()}
