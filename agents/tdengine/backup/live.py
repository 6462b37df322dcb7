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
    """bool[rows] of the backup's rows: not there; there under the same key with other content, of which the row that is
    there is `older` or `newer` by its event id.
    """

    missing: Array
    other: Array
    older: Array
    newer: Array


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
    none = np.zeros(block.rows, bool)
    if not there:
        return Compared(~none, none, none, none)
    live = join(there)
    keys, order = _keys(block, fit.keys), np.argsort(_keys(live, fit.keys), kind="stable")
    ordered = _keys(live, fit.keys)[order]
    places = np.minimum(np.searchsorted(ordered, keys), live.rows - 1)
    missing = ordered[places] != keys
    other = ~missing & ~np.isin(hashes(block, 0), hashes(live, 0))
    if fit.event is None:
        return Compared(missing, other, none, none)
    ours, theirs = _events(block, fit.event), _events(live, fit.event)[order][places]
    return Compared(missing, other, ~missing & (theirs < ours), ~missing & (theirs > ours))


def _events(block: Block, column: int) -> Array:
    """The event ids; one that is missing is older than any."""
    return np.where(block.columns[column].nulls, np.int64(-1), block.words(column))


def _keys(block: Block, keys: int) -> Array:
    return hashes(Block(block.rows, block.columns[:keys]), 0)
