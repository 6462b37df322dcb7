"""Rows of a backup held against the database: which are missing there, which are there with other content."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.tdengine.backup.block import Array, Block, decode, hashes, join
from agents.tdengine.backup.manifest import Subtable
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.sums import Sums, by_hour, hours, seed
from agents.tdengine.session import GONE, TdengineError


@dataclass(frozen=True)
class Compared:
    """bool[rows] of the backup's rows: not there; there under the same key with other content."""

    missing: Array
    other: Array


def compare(session: RawSession, database: str, subtable: str, keys: int, block: Block) -> Compared:
    """Look for each row of `block`, whose first `keys` columns are the key."""
    ts = block.words(0)
    sql = f"SELECT * FROM `{database}`.`{subtable}` WHERE _rowts >= {ts.min()} AND _rowts <= {ts.max()}"
    try:
        there = [decode(raw) for raw in session.blocks(sql)]
    except TdengineError as error:
        if error.code not in GONE:
            raise
        there = []
    if not there:
        return Compared(np.ones(block.rows, bool), np.zeros(block.rows, bool))
    live = join(there)
    missing = ~np.isin(_keys(block, keys), _keys(live, keys))
    other = ~missing & ~np.isin(hashes(block, 0), hashes(live, 0))
    return Compared(missing, other)


def _keys(block: Block, keys: int) -> Array:
    return hashes(Block(block.rows, block.columns[:keys]), 0)


def sums(
    session: RawSession, database: str, subtables: list[Subtable], start: int, end: int
) -> dict[str, dict[int, tuple[int, str]]]:
    """(rows, hash) by supertable and hour of what is in these subtables from `start` to `end` (ns, exclusive)."""
    found = Sums()
    for one in subtables:
        sql = f"SELECT * FROM `{database}`.`{one.name}` WHERE _rowts >= {start} AND _rowts < {end}"
        for raw in session.blocks(sql):
            block = decode(raw)
            found.add(one.stable, by_hour(hours(block), hashes(block, seed(one))))
    return found.told()
