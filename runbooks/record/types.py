"""What the estate record says, and the three answers to the question what it says: known, a copy, unknown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

SCHEMA = 2  # 1 without a quorum
SETTLE = "./dr record.settle --yes puts it aside and writes it anew from what the hosts are"
SAME_VERSION = "use that version of mystocks-dr here too"
ABSENT = "absent"  # what a host says that has no document: an empty one is a damaged one


class Mode(StrEnum):
    """Whether every acknowledged row is on the standbys named in the record, or on the primary alone."""

    SYNCHRONOUS = "synchronous"
    DEGRADED = "degraded"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Change(_Frozen):
    """A transition that has begun and that nobody has confirmed yet."""

    procedure: str
    run: str  # the name of its folder
    to: str  # the host that is to be primary

    @property
    def command(self) -> str:
        """What is typed behind ./dr."""
        return "runbook.abandon" if self.procedure == "abandon" else self.procedure

    @property
    def says(self) -> str:
        return f"{self.procedure} to {self.to} (run {self.run}) began and was not confirmed"


class Basis(_Frozen):
    """The newest record that the arbiter is known to have held, of a record that was written without it."""

    revision: int = Field(ge=0)
    sum: str


class Record(_Frozen):
    """Names are the inventory's; `since` (UTC) and `why` tell people how the mode came to be."""

    revision: int = Field(ge=0)
    system_identifier: str = Field(pattern=r"^[0-9]+$")
    epoch: int = Field(ge=0)  # one more with every host that became primary, and every timeline
    primary: str = Field(min_length=1)
    timeline: int = Field(ge=0)
    mode: Mode = Field(strict=False)
    synchronous: tuple[str, ...] = Field(strict=False)  # standbys that have every acknowledged row
    since: str
    why: str
    changing: Change | None = None
    based_on: Basis | None = None
    quorum: int | None = Field(default=None, ge=1)  # each row is on so many of them; None: on each, as with one standby

    @model_validator(mode="after")
    def _fits(self) -> Record:
        if bool(self.synchronous) != (self.mode is Mode.SYNCHRONOUS) or not all(self.synchronous):
            raise ValueError(f"mode is {self.mode} and these have every row: {self.synchronous}")
        if self.quorum and self.quorum >= len(self.synchronous):
            raise ValueError(f"each row is on {self.quorum} of {self.synchronous}")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the number where there is none: of one standby the document is what it always was."""
        said: dict[str, Any] = handler(self)
        return {name: value for name, value in said.items() if name != "quorum" or value}

    @property
    def least(self) -> int:
        """On how many of the standbys that it names every acknowledged row is."""
        return self.quorum or len(self.synchronous)

    def lacks(self, seen: Collection[str]) -> tuple[str, ...]:
        """Named standbys that are not among the `seen` ones, where rows may be on those alone; else none.

        A standby's WAL has no holes, so where fewer than `least` are not seen, the most advanced of the others has
        every row.
        """
        away = tuple(name for name in self.synchronous if name not in seen)
        return away if len(away) >= self.least else ()

    @property
    def steady(self) -> bool:
        return self.changing is None

    @property
    def holders(self) -> str:
        """Who has every acknowledged row, in words."""
        names = " and ".join(self.synchronous)
        if not self.quorum:
            return names
        asked = len(self.synchronous) - self.quorum + 1
        return f"the most advanced of {names if asked == len(self.synchronous) else f'any {asked} of {names}'}"

    @property
    def says(self) -> str:
        """In one sentence, without its end."""
        rows = f"{self.holders} had every acknowledged row" if self.synchronous else "it was alone"
        begun = f"; {self.changing.says}" if self.changing else ""
        return f"{self.primary} is primary on timeline {self.timeline}, {rows} since {self.since}{begun}"


class _Acting(_Frozen):
    """Who is acting, as the program writes it; a later part of it is no harm."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    token: str = Field(min_length=1)
    machine_id: str
    boot_id: str
    pid_space: str
    pid: int
    started: str
    owner: str
    procedure: str
    run_dir: str
    since: str
    heartbeat: str
    beat_boot: str
    beat_ticks: float


class _Document(_Frozen):
    """All of it, as the program of the host judges it too: one of the two must not believe what the other does not."""

    schema_: int = Field(ge=0, alias="schema")
    record: Record | None
    sum: Any
    acting: _Acting | None


@dataclass(frozen=True)
class Page:
    """What lies on one host. `record` None: there is none (`why` empty), or it is not believed (`why` says so)."""

    host: str
    record: Record | None = None
    sum: str = ""
    acting: dict[str, Any] | None = None
    why: str = ""
    hint: str = ""  # what helps against `why`, where that is something of its own
    away: bool = False  # the host did not answer, so that nothing is known of it

    @property
    def absent(self) -> bool:
        """The host answers and has none."""
        return self.record is None and not self.why


@dataclass(frozen=True)
class Known:
    """The arbiter's record. `carry`: written without it, and to be carried to it by whoever acts next."""

    record: Record
    at: str
    revision: int  # at the arbiter, which the next change is compared with
    carry: bool = False

    @property
    def source(self) -> str:
        return f"{self.at}, written while the arbiter was away" if self.carry else self.at


@dataclass(frozen=True)
class Copy:
    """The newest copy, because the arbiter is away or has lost its record: a later change may not have reached it."""

    record: Record
    at: str
    why: str
    arbiter_lost: bool = False  # the arbiter answers and has no record

    @property
    def source(self) -> str:
        return f"the copy on {self.at}: {self.why}"


@dataclass(frozen=True)
class Unknown:
    """Nobody can say, and why. `absent`: every host that has one to keep answers, and none was ever written.

    `newest`: the highest revision that was seen anywhere, which what is written anew must exceed.
    """

    why: str
    hint: str = ""
    absent: bool = False
    newest: int = 0


Answer = Known | Copy | Unknown


def page(host: str, text: str) -> Page:
    """The document of a host. What was edited by hand, is damaged or from the future is not believed."""
    if text.strip() == ABSENT:
        return Page(host)
    try:
        found = json.loads(text)
        if type(found["schema"]) is int and found["schema"] > SCHEMA:
            later = f"the record on {host} was written by a later version of this tool"
            return Page(host, why=later, hint=SAME_VERSION)
        document = _Document.model_validate(found)
        if document.record and document.sum != sum_of(found["record"]):
            return Page(host, why=f"the record on {host} was edited by hand, or damaged")
        return Page(host, document.record, document.sum if document.record else "", found["acting"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Page(host, why=f"the record on {host} cannot be believed: {where}: {first['msg']}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        said = "it is empty" if not text.strip() else " ".join(str(error).split())[:120]
        return Page(host, why=f"the record on {host} cannot be read: {said}")


def sum_of(record: Any) -> str:
    """The same as agents/guard/record.py makes."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
