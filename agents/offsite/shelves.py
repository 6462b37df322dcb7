"""SQLite's shelves in the off-site copy, as agents/sqlite/shelf.py lays them out: what is copied, and what comes back.

    SQLITE/app1-trading/streams/20261128-220000S/0000000001.wal
    SQLITE/app1-trading/snapshots/20261128-220000F/manifest.json
    SQLITE/app1-trading/proofs.jsonl

A copy reads the snapshots first and the streams after them, so that what leads on from a snapshot is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import AgentError
from agents.base.locks import held
from agents.jobs.config import Settings

STREAMS, SNAPSHOTS, PROOFS, LOCK = "streams", "snapshots", "proofs.jsonl", "expire.lock"
_PATIENCE_S = 60.0


def every(settings: Settings) -> list[Path]:
    """One for each database of each application host that has ever kept a snapshot here."""
    return sorted(path.parent for path in settings.sqlite.glob(f"[!.]*/{PROOFS}"))


def labels(shelf: Path) -> list[str]:
    """Of its snapshots, oldest first."""
    return sorted(path.parent.name for path in shelf.glob(f"{SNAPSHOTS}/[0-9]*/manifest.json"))


def worth_copying(settings: Settings) -> None:
    """Raises AgentError for a shelf that was emptied: copied day after day it would push the good copies out."""
    for shelf in every(settings):
        if not labels(shelf):
            raise AgentError(
                f"{shelf} holds none of the snapshots that were taken, so nothing is copied.",
                f"Bring them back: python3 -m agents.offsite.copies restore --only {shelf}.",
            )


@contextmanager
def still(settings: Settings) -> Iterator[None]:
    """Nothing of a shelf expires inside. Raises AgentError where that does not come to be."""
    if not settings.sqlite.is_dir():
        yield
        return
    busy = AgentError("SQLite's snapshots are being let go for a minute now.", "Try again.")
    with held(settings.sqlite / LOCK, busy, _PATIENCE_S):
        yield


def listed(settings: Settings, nodes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Snapshots by shelf, of what `restic ls` said."""
    found: dict[str, int] = {}
    for node in nodes:
        path = Path(str(node.get("path", "")))
        if path.name == "manifest.json" and path.is_relative_to(settings.sqlite):
            shelf = path.relative_to(settings.sqlite).parts[0]
            found[shelf] = found.get(shelf, 0) + 1
    return found


def merge(found: Path, there: Path) -> int:
    """Move what `found` has and `there` has not: how many snapshots, streams and epochs. Nothing there is changed, but
    proofs of what was not known there, which come before those that were.
    """
    return sum(_merged(shelf, there / shelf.name) for shelf in sorted(found.iterdir()) if shelf.is_dir())


def _merged(found: Path, there: Path) -> int:
    new = 0
    for part in (STREAMS, SNAPSHOTS):  # a snapshot appears once what leads on from it is there
        (there / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        for one in sorted((found / part).glob("[0-9]*")):
            place = there / part / one.name
            if not place.exists():
                one.rename(place)
                new += 1
            elif part == STREAMS:
                new += _epochs(one, place)
        files.sync_folder(there / part)
    files.sync_folder(there)
    _prove(found / PROOFS, there / PROOFS)
    return new


def _epochs(found: Path, there: Path) -> int:
    """Those that are missing before the newest one: behind it the copy is older than what is there."""
    newest = max((path.name for path in there.glob("*.wal")), default="")
    missing = [path for path in sorted(found.glob("*.wal")) if path.name < newest and not (there / path.name).exists()]
    for path in missing:
        path.rename(there / path.name)
    files.sync_folder(there)
    return len(missing)


def _prove(found: Path, there: Path) -> None:
    if not found.exists():
        return
    known = there.read_text(encoding="utf-8").splitlines() if there.exists() else []
    more = [line for line in found.read_text(encoding="utf-8").splitlines() if line not in set(known)]
    if more:
        files.replace(there, "\n".join((*more, *known)) + "\n", 0o644)
