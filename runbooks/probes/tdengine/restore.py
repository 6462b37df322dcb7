"""What a restore of TDengine would do, and how a database compares with a backup: looked at, nothing written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runbooks.agent import ask
from runbooks.hosts import Host
from runbooks.tdengine.selection import TdSelection


@dataclass(frozen=True)
class Plan:
    """`there`: the database exists already. `rows` is at most what is restored: hours count as a whole. `bytes`: what
    one copy of them took on the servers' disks, of `replicas` there were. `lost`: columns that have no place any more;
    `sentence` says what else is left out, such as rows older than KEEP.
    """

    label: str
    chain: tuple[str, ...]
    into: str
    rows: int
    windows: int
    there: bool
    bytes: int
    replicas: int
    lost: tuple[str, ...] = ()
    sentence: str = ""


@dataclass(frozen=True)
class Held:
    """One supertable held against a backup. `rows` of the backup, `missing` and `other` of them that are not there, or
    there with other content; `live`: rows in the same hours now.
    """

    table: str
    rows: int
    missing: int
    other: int
    live: int


@dataclass(frozen=True)
class Comparison:
    """A database held against a backup, hour by hour, where hours differ row by row.

    `missing`: (supertable, hour since 1970, rows). `flaws`: sentences about rows that no writer of ours makes: an event
    that is there twice, a value that must not be missing, a time in the future.
    """

    label: str
    database: str
    tables: tuple[Held, ...]
    missing: tuple[tuple[str, int, int], ...]
    flaws: tuple[str, ...]
    started_at: float
    seconds: float
    sentence: str

    @property
    def lost(self) -> int:
        return sum(one.missing for one in self.tables)

    @property
    def other(self) -> int:
        return sum(one.other for one in self.tables)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.flaws)


def plan(backup: Host, selection: TdSelection, timeout: float) -> Plan:
    """What agents.tdengine.backup.restore would do. Raises BadInput for what cannot be restored here, TargetFailed."""
    said = ask(backup, "tdengine.backup.restore", *selection.words(), "--plan", timeout=timeout)
    return Plan(
        said["label"], tuple(said["chain"]), said["into"], int(said["rows_planned"]), int(said["windows"]),
        bool(said["there"]), int(said["bytes"]), int(said["replicas"]), tuple(said["lost"]),
        said["sentence"],
    )  # fmt: skip


def compare(
    backup: Host, selection: TdSelection, timeout: float, required: Mapping[str, Sequence[str]] | None = None
) -> Comparison:
    """Hold the database against the backup. Rows themselves are looked at too where `required` is given: supertable ->
    columns in which no value may be missing. Raises BadInput, TargetFailed, TimedOut.
    """
    look = ("--rows",) if required is not None else ()
    said = ask(
        backup, "tdengine.backup.validate", *selection.words(), *look, timeout=timeout, verdict=True,
        stdin=json.dumps({name: list(columns) for name, columns in (required or {}).items()}),
    )  # fmt: skip
    return parse(said)


def parse(said: Mapping[str, Any]) -> Comparison:
    """The answer of agents.tdengine.backup.validate."""
    return Comparison(
        label=said["label"], database=said["database"],
        tables=tuple(Held(name, *(int(one[key]) for key in ("rows", "missing", "other", "live")))
                     for name, one in sorted(said["tables"].items())),
        missing=tuple((str(stable), int(hour), int(rows)) for stable, hour, rows in said["missing"]),
        flaws=tuple(said["flaws"]), started_at=float(said["started_at"]), seconds=float(said["seconds"]),
        sentence=said["sentence"],
    )  # fmt: skip
