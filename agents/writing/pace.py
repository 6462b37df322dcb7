"""How fast the replayer goes: at most so many rows a second, and, when gentle, only with what others leave it.

A store that serves others as well takes longer for the same rows. Gently, the replayer works for a share of the time
that halves whenever a row costs twice the least that one has cost, and grows again while it does not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from agents.writing.counts import PACE
from agents.writing.outbox_file import OutboxFile

LOOK_EVERY_S = 1.0
LEAST_SHARE, STEP = 0.1, 0.1
TELLING_ROWS = 200  # a smaller transaction costs what its commit costs, whoever else is there
TOO_DEAR = 2.0
FORGET = 1.005  # the least cost grows so much with each transaction: a store that became slower is no crowd


@dataclass
class Pace:
    """`rows_per_s` 0 is no limit."""

    rows_per_s: float
    gentle: bool = False
    share: float = 1.0
    _least: float = float("inf")

    def wait_s(self, rows: int, took_s: float) -> float:
        """How long to rest after a transaction of so many rows that took so long."""
        rest = max(0.0, rows / self.rows_per_s - took_s) if self.rows_per_s else 0.0
        if not self.gentle or rows < TELLING_ROWS:
            return rest
        cost = took_s / rows
        self._least = min(self._least * FORGET, cost)
        if cost > self._least * TOO_DEAR:
            self.share = max(LEAST_SHARE, self.share / 2)
        else:
            self.share = min(1.0, self.share + STEP)
        return max(rest, took_s * (1 / self.share - 1))


class Paced:
    """What the settings say, or what somebody told the outbox until it is empty."""

    def __init__(self, outbox: OutboxFile, rows_per_s: float) -> None:
        self._outbox, self._usual = outbox, rows_per_s
        self._now = Pace(rows_per_s)
        self._looked_at = float("-inf")

    def wait_s(self, rows: int, took_s: float) -> float:
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            said = self._outbox.noted(PACE) or {}
            limit, gentle = float(said.get("rows_per_s", self._usual)), bool(said.get("gentle", False))
            if (limit, gentle) != (self._now.rows_per_s, self._now.gentle):
                self._now = Pace(limit, gentle)
        return self._now.wait_s(rows, took_s)

    def emptied(self) -> None:
        """Nothing waits any more: what was told held until now."""
        if self._outbox.noted(PACE):
            self._outbox.note(PACE, None)


def tell(outbox: OutboxFile, rows_per_s: float | None, gentle: bool) -> None:
    """Have the replayer go at this pace until nothing waits; None: as the settings say."""
    outbox.note(PACE, None if rows_per_s is None else {"rows_per_s": rows_per_s, "gentle": gentle})
