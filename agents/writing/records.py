"""What a record of the outbox looks like: as bytes with a checksum, and in the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from agents.writing.batch import Part

_FIELDS = frozenset(field.name for field in fields(Part))


class Newer(Exception):  # noqa: N818 - what the record is
    """A record that is whole and says more than this code understands."""


@dataclass(frozen=True)
class Record:
    """One pending batch, or a piece of one: then `parent` is the record in which its rows were acknowledged."""

    id: int
    parts: tuple[Part, ...]
    n: int
    origin: int
    classification: str
    target_database: str
    created_at: float
    lane: int = 0
    parent: int | None = None
    tries: int = 0
    copy_no: int | None = None

    @property
    def tables(self) -> frozenset[str]:
        return frozenset(part.table for part in self.parts)


@dataclass(frozen=True)
class Applied:
    """One batch that has reached the store; `tables` maps a table to [first id, last id, rows]."""

    no: int
    id: int
    tables: dict[str, list[int]]
    n: int
    host: str
    timeline: int


def data_of(parts: Sequence[Part]) -> str:
    """The parts as they are stored."""
    return json.dumps([vars(part) for part in parts], ensure_ascii=False, separators=(",", ":"))


def parts_of(data: bytes, checksum: str) -> tuple[Part, ...] | None:
    """The stored parts, or None when the checksum tells that they are not what was stored. Raises Newer."""
    if hashlib.sha256(data).hexdigest() != checksum:
        return None
    try:
        stored = json.loads(data)
        if any(set(part) != _FIELDS for part in stored):
            raise Newer("it was written by another version of the outbox")
        return tuple(Part(**{**part, "columns": tuple(part["columns"])}) for part in stored)
    except (ValueError, TypeError) as error:
        raise Newer(f"it was written by another version of the outbox ({error})") from error


def ranges_of(parts: Sequence[Part]) -> str:
    """{table: [first event id, last event id, rows]} as JSON; several parts of one table are one entry."""
    found: dict[str, list[int]] = {}
    for part in parts:
        first, last, n = found.get(part.table, [part.first, part.last, 0])
        found[part.table] = [min(first, part.first), max(last, part.last), n + part.n]
    return json.dumps(found)


def ranges_in(text: object) -> dict[str, list[int]]:
    """What `ranges_of` wrote; nothing where it is damaged."""
    try:
        return dict(json.loads(str(text)))
    except (ValueError, TypeError):
        return {}


def checksum_of(data: str) -> str:
    return hashlib.sha256(data.encode()).hexdigest()
