"""What is kept of every SQLite database: snapshots, how far changes lead, when one was last proven."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inventories.errors import DrError
from runbooks.hosts import Estate
from runbooks.probes import jobs
from runbooks.probes.sqlite import kept
from runbooks.probes.sqlite.kept import Shelf, Snapshot

HERE = "backup host"
Declared = Sequence[tuple[str, str, bool]]


@dataclass(frozen=True)
class Listed:
    """One database. `newest` (transaction, unix seconds) is what a restore reaches, None where nobody can say, or
    nothing can be restored. `copied`: labels of the snapshots that the off-site copy has; None where nobody knows.
    `declared`: the inventory names it. `troubles`: why it is not what was promised.
    """

    name: str
    shelf: Shelf
    newest: tuple[int, float] | None
    proven_at: float | None
    copied: tuple[str, ...] | None
    declared: bool
    troubles: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """Every database that is kept, by name. `missing`: of what is declared, that nothing is kept of; `unused`: of
    what may never have been used; `offsite`: the host of the copy, empty without one; `unknown`: why nobody knows what
    it has.
    """

    at: float
    databases: tuple[Listed, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    offsite: str
    unknown: str

    @property
    def sound(self) -> bool:
        return not (self.missing or any(one.troubles for one in self.databases))

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"sound": self.sound}


def look(estate: Estate) -> Listing:
    """Ask the backup host. Raises DrError where it does not answer."""
    copied: float | None = None
    offsite, unknown = "", ""
    try:
        seen = jobs.look(estate.backup, timeout=30)
        offsite = seen.offsite or ""
        copied = next((one.last_success_at for one in seen.jobs if one.name == "offsite"), None)
    except DrError as error:
        unknown = str(error)
    return listing(kept.look(estate), kept.declared(estate), time.time(), (copied, offsite), unknown)


def listing(
    shelves: Sequence[Shelf], declared: Declared, at: float, offsite: tuple[float | None, str] = (None, ""),
    unknown: str = "",
) -> Listing:  # fmt: skip
    """Put together what was asked for; `offsite`: when the copy there was last whole, and its host's name."""
    there = {(one.host, one.database) for one in shelves if one.snapshots or one.spoilt}
    named = {(host, name) for host, name, _ in declared}
    gone = [(f"{name} on {host}", streamed) for host, name, streamed in declared if (host, name) not in there]
    listed = tuple(
        _listed(one, (one.host, one.database) in named, offsite[0], unknown)
        for one in shelves if (one.host, one.database) in there
    )
    return Listing(
        at, listed, tuple(name for name, streamed in gone if streamed),
        tuple(name for name, streamed in gone if not streamed), offsite[1], unknown,
    )  # fmt: skip


def _listed(shelf: Shelf, declared: bool, copied_at: float | None, unknown: str) -> Listed:
    copied = tuple(one.label for one in shelf.snapshots if copied_at is not None and one.taken_at <= copied_at)
    return Listed(
        shelf.name, shelf, shelf.newest, shelf.proven_at, None if unknown else copied, declared,
        tuple(_troubles(shelf)),
    )  # fmt: skip


def _troubles(shelf: Shelf) -> Iterator[str]:
    if shelf.trouble:
        yield f"how far the changes of {shelf.name} lead is unknown: {shelf.trouble}"
    for label, why in (*shelf.spoilt, *((one.label, one.trouble) for one in shelf.snapshots if one.trouble)):
        yield f"{label} of {shelf.name}: {why}"
    last: Snapshot | None = shelf.snapshots[-1] if shelf.snapshots else None
    if last and last.stream and last.stream != shelf.stream:
        yield f"the newest changes of {shelf.name} have no snapshot on which they could be laid"
