"""What the backup host keeps of SQLite databases: asked there, since application hosts may be what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import SecretStr

from inventories.catalog.load import load_databases
from runbooks import agent
from runbooks.hosts import Estate
from runbooks.probes.sqlite import databases

_PROGRAM = "sqlite.holdings"
_LOOK_S = 60.0


@dataclass(frozen=True)
class Snapshot:
    """Times in unix seconds. `at`: of its newest transaction, number `tx` of `stream`, which is empty for a database of
    snapshots alone. `bytes` of the database, `stored` here; `proven` None while nobody tried; `opens` None where no key
    was given. `trouble`: why it may not be restored.
    """

    label: str
    stream: str
    tx: int
    at: float
    taken_at: float
    bytes: int
    stored: int
    rows: Mapping[str, int]
    key_id: str
    proven: bool | None
    proven_at: float | None
    proof_s: float | None
    opens: bool | None
    trouble: str


@dataclass(frozen=True)
class Shelf:
    """Of one database of one application host, snapshots oldest first. `changes`: transaction and moment of the newest
    record of `stream`, None where there is none; `trouble`: why nobody can say. `spoilt`: (label, why) of what is not
    even known to be a snapshot.
    """

    host: str
    database: str
    snapshots: tuple[Snapshot, ...]
    stream: str
    changes: tuple[int, float] | None
    bytes: int
    trouble: str
    spoilt: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.database} on {self.host}"

    @property
    def newest(self) -> tuple[int, float] | None:
        """Transaction and moment that a restore to the newest reaches; None where nothing can be restored, or where
        nobody can say how far changes lead.
        """
        sound = [one for one in self.snapshots if not one.trouble]
        if self.trouble or not sound:
            return None
        last = sound[-1]
        if self.changes and last.stream and last.stream == self.stream:
            return max((last.tx, last.at), self.changes)
        return last.tx, last.at

    @property
    def proven_at(self) -> float | None:
        """When one of them was last restored and found whole."""
        return max((one.proven_at for one in self.snapshots if one.proven and one.proven_at), default=None)

    @property
    def most_changes(self) -> int:
        """The most transactions that lay between two snapshots of a stream, or lie behind the newest one."""
        ends = [*((one.stream, one.tx) for one in self.snapshots if one.stream)]
        if self.changes:
            ends.append((self.stream, self.changes[0]))
        return max((after - before for (of, before), (to, after) in pairwise(ends) if of == to), default=0)


def look(estate: Estate, key: SecretStr | None = None) -> tuple[Shelf, ...]:
    """Every shelf that is there; with a key also whether it opens each snapshot. Raises DrError."""
    words, stdin = ((), None) if key is None else (("--opens",), f"{key.get_secret_value()}\n")
    said = agent.ask(estate.backup, _PROGRAM, *words, timeout=_LOOK_S, stdin=stdin)
    return tuple(map(_shelf, said["shelves"]))


def declared(estate: Estate) -> tuple[tuple[str, str, bool], ...]:
    """Host, database and whether its changes are streamed, of each that the inventory names."""
    known = load_databases().databases
    names = databases.names(estate)
    return tuple((host.name, name, known[name].protect == "stream") for host in estate.group("app") for name in names)


def _shelf(said: Mapping[str, Any]) -> Shelf:
    host, _, database = str(said["name"]).rpartition("-")
    there = said["snapshots"]
    changes = said["changes"]
    return Shelf(
        host, database, tuple(_snapshot(one) for one in there if one["manifest"]), said["stream"],
        (int(changes["tx"]), float(changes["at"])) if changes else None, int(said["bytes"]), str(said["trouble"]),
        tuple((str(one["label"]), str(one["trouble"])) for one in there if not one["manifest"]),
    )  # fmt: skip


def _snapshot(said: Mapping[str, Any]) -> Snapshot:
    known = {name: value for name, value in said.items() if name != "manifest"}
    return Snapshot(**known, **said["manifest"])
