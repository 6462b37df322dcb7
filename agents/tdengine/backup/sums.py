"""Row counts and content hashes by subtable and hour: what a backup says it holds, and a restore is held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from agents.tdengine.backup.block import Array, Block, hashes
from agents.tdengine.backup.manifest import HOUR_NS, Manifest, Subtable

WORD = 2**64


def seed(subtable: Subtable, tags: bool = False) -> int:
    """Binds the hash of a row to its subtable; in old backups to its tags too, which may change without a row."""
    bound = [subtable.stable, subtable.name, *([subtable.tags] if tags else [])]
    text = json.dumps(bound, ensure_ascii=False, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def seeding(manifest: Manifest) -> Callable[[Subtable], int]:
    """How the rows of this backup were bound."""
    return partial(seed, tags=manifest.format == 1)


def hours(block: Block, column: int = 0) -> Array:
    """The hour of each row, int64[rows], from the timestamps (ns) in `column`."""
    return block.words(column) // HOUR_NS


def by_hour(hour: Array, found: Array) -> list[tuple[int, int, int]]:
    """(hour, rows, sum of hashes) of each run of rows in one hour."""
    starts = np.flatnonzero(np.concatenate(([True], hour[1:] != hour[:-1])))
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(found, starts)
    rows = np.diff(starts, append=len(hour))
    return list(zip(hour[starts].tolist(), rows.tolist(), sums.tolist(), strict=True))


class Sums:
    """Adds up blocks. Keys are whatever tells windows apart besides the hour: a supertable, a subtable."""

    def __init__(self) -> None:
        self.found: dict[str, dict[int, tuple[int, int]]] = {}

    def add(self, key: str, runs: Iterable[tuple[int, int, int]]) -> None:
        windows = self.found.setdefault(key, {})
        for hour, rows, total in runs:
            before = windows.get(hour)
            windows[hour] = (rows, total) if before is None else (before[0] + rows, (before[1] + total) % WORD)

    def told(self) -> dict[str, dict[int, tuple[int, str]]]:
        """The same, hashes as 16 hex digits."""
        return {
            key: {hour: (rows, f"{total:016x}") for hour, (rows, total) in windows.items()}
            for key, windows in self.found.items()
        }


def runs_of(block: Block, seeds: int | Array) -> list[tuple[int, int, int]]:
    """The (hour, rows, sum of hashes) of a block, with the seed of its subtable or of each of its rows."""
    return by_hour(hours(block), hashes(block, seeds))
