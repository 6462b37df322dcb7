"""Rows of a backup held against the database: which are missing there, which are there with other content."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.tdengine.backup.block import Array, Block, decode, hashes, join
from agents.tdengine.backup.fit import Fit
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.session import GONE, TdengineError
from agents.tdengine.sql import identifier


@dataclass(frozen=True)
class Compared:
    """bool[rows] of the backup's rows: not there; there under the same key with other content."""

    missing: Array
    other: Array


def compare(session: RawSession, database: str, subtable: str, fit: Fit, block: Block) -> Compared:
    """Look for each row of `block`, which has the columns of `fit`, the key's first."""
    ts = block.words(0)
    columns, of = ", ".join(map(identifier, fit.names)), f"{identifier(database)}.{identifier(subtable)}"
    sql = f"SELECT {columns} FROM {of} WHERE _rowts >= {ts.min()} AND _rowts <= {ts.max()}"
    try:
        there = [decode(raw) for raw in session.blocks(sql)]
    except TdengineError as error:
        if error.code not in GONE:
            raise
        there = []
    if not there:
        return Compared(np.ones(block.rows, bool), np.zeros(block.rows, bool))
    live = join(there)
    missing = ~np.isin(_keys(block, fit.keys), _keys(live, fit.keys))
    other = ~missing & ~np.isin(hashes(block, 0), hashes(live, 0))
    return Compared(missing, other)


def _keys(block: Block, keys: int) -> Array:
    return hashes(Block(block.rows, block.columns[:keys]), 0)
