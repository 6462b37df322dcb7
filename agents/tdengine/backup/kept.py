"""Rows that a database does not keep any more (KEEP): a server refuses and hides them, so a restore leaves them out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

from agents.tdengine.backup.block import Block, pick
from agents.tdengine.backup.manifest import HOUR_NS, Window
from agents.tdengine.backup.sums import hours
from agents.tdengine.session import TdengineError

SLACK_S = 300.0  # by which the server's clock may differ from ours
_STEPS_S = (0.0, 60.0, SLACK_S)  # how much more is left out after a refusal
# A time outside of KEEP; the same when the limit passes the row between the client library's look and the server's.
_REFUSALS = (0x060B, 0x0115)


class Kept:
    """What is left out of one restore."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._left_out: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    @property
    def left_out(self) -> int:
        """Rows, of hours of which others are kept."""
        return sum(self._left_out.values())

    def limit(self, slack_s: float = 0.0) -> int:
        """The oldest time (ns) that is kept."""
        return int((time.time() - self._keep_s + slack_s) * 1e9)

    def split(self, wanted: dict[str, dict[int, Window]]) -> int:
        """Take the hours out of `wanted` of which no row is kept; how many rows they have."""
        limit, rows = self.limit(), 0
        for windows in wanted.values():
            for hour in [hour for hour in windows if (hour + 1) * HOUR_NS <= limit]:
                rows += windows.pop(hour).rows
        return rows

    def is_edge(self, hour: int) -> bool:
        """Whether rows of this hour may be gone before the others."""
        return hour * HOUR_NS < self.limit(SLACK_S)

    def slacks(self, block: Block) -> Iterator[float]:
        """How much is left out, try after try; only what is old is tried again."""
        return iter(_STEPS_S if self.is_old(block) else _STEPS_S[:1])

    def is_old(self, block: Block) -> bool:
        """Whether rows of it are left out, or may be before they are written."""
        return bool(block.rows) and int(block.words(0).min()) < self.limit(_STEPS_S[-1])

    def may_refuse(self, error: TdengineError, slack: float) -> bool:
        """Whether this is why, and leaving out more may help."""
        return error.code in _REFUSALS and slack < _STEPS_S[-1]

    def divide(self, block: Block, slack_s: float) -> tuple[Block, Block | None]:
        """(the rows that are kept, those that are not, where there are any)"""
        kept = block.words(0) >= self.limit(slack_s)
        return (block, None) if kept.all() else (pick(block, kept), pick(block, ~kept))

    def still(self, table: str, missing: Block) -> Block:
        """Of rows that are missing those that should be there; the others went while nobody looked, and are counted."""
        kept, gone = self.divide(missing, SLACK_S)
        self.count(table, gone)
        return kept

    def forget(self, table: str, hours_: Iterable[int]) -> None:
        """These hours are counted anew."""
        with self._lock:
            for hour in hours_:
                self._left_out.pop((table, hour), None)

    def count(self, table: str, gone: Block | None) -> None:
        """Rows that were left out."""
        with self._lock:
            for hour in hours(gone).tolist() if gone else ():
                self._left_out[table, hour] = self._left_out.get((table, hour), 0) + 1
