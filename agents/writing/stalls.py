"""Tables that take nothing for now: their records wait apart from all others, and are tried ever less often."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

FIRST_S, LAST_S = 0.5, 30.0


@dataclass
class _Stall:
    due_at: float
    wait_s: float
    why: str


class Stalls:
    """Times are of a clock that nobody sets, and are forgotten with the process: what is held is tried at once then."""

    def __init__(self, tables: list[str]) -> None:
        now = time.monotonic()
        self._of: dict[str, _Stall] = {table: _Stall(now, FIRST_S, "") for table in tables}
        self.lifted: set[str] = set()  # they take rows again, and records that waited for them are still marked so

    def __contains__(self, table: object) -> bool:
        return table in self._of

    def stall(self, table: str, why: str) -> None:
        """It took nothing; the next try is later than the last wait, by chance a little more or less."""
        known = self._of.get(table)
        wait_s = FIRST_S if known is None else min(known.wait_s * 2, LAST_S)
        self.lifted.discard(table)
        self._of[table] = _Stall(time.monotonic() + wait_s * (0.75 + random.random() / 2), wait_s, why)  # noqa: S311

    def soon(self, table: str) -> None:
        """A new row came, which may tell more than the old ones did."""
        known = self._of[table]
        known.due_at = min(known.due_at, time.monotonic() + FIRST_S)

    def lift(self, table: str) -> None:
        if self._of.pop(table, None) is not None:
            self.lifted.add(table)

    def due(self) -> str | None:
        """A table whose time has come."""
        now = time.monotonic()
        return next((table for table, stall in self._of.items() if stall.due_at <= now), None)

    def why(self, table: str) -> str:
        return self._of[table].why
