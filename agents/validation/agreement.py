"""Which fills and bars have no tick of their symbol near them. Reads TDengine, an hour at a time; prints JSON.

    python3 -m agents.validation.agreement [--config FILE] < {"from": s, "to": s, "ticks": "db.stable", "within": 1,
        "symbol": "symbol", "symbols": "regular expression", "fills": [[symbol, minute], ...],
        "bars": "db.stable" or null, "traded": "volume > 0" or ""}

Seconds and minutes since 1970; `to` is the last second. Prints {"fills": {"looked": n, "lacks": n, "some": [[symbol,
minute], ...]}, "bars": the same}. Exit codes: 0 it was looked, 1 nobody answers, 2 what came is no such request.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.base.errors import run
from agents.validation.asked import Asked, BadRequest, answer

HOUR_S, MINUTE_NS, S_NS = 3600, 60 * 10**9, 10**9
NAMED = 1000  # of those that lack a tick
Minute = tuple[str, int]  # a symbol, and minutes since 1970
Json = dict[str, Any]


@dataclass
class Lacking:
    """How many were looked at, how many of them lack a tick, and which those are, in part."""

    looked: int = 0
    lacks: int = 0
    some: list[Minute] = field(default_factory=list)

    def take(self, wanted: Iterable[Minute], ticks: set[Minute], within: int) -> None:
        for symbol, minute in sorted(wanted, key=lambda one: (one[1], one[0])):
            self.looked += 1
            if not any((symbol, near) in ticks for near in range(minute - within, minute + within + 1)):
                self.lacks += 1
                if len(self.some) < NAMED:
                    self.some.append((symbol, minute))


def look(session: Asked, request: Any) -> Json:
    """Raises BadRequest, TdengineError."""
    try:
        first, last, within = int(request["from"]), int(request["to"]), int(request["within"])
        names = re.compile(request["symbols"])
        symbol, ticks, bars = (request[key] for key in ("symbol", "ticks", "bars"))
        fills = defaultdict[int, set[Minute]](set)
        for name, minute in request["fills"]:
            fills[int(minute) * 60 // HOUR_S].add((str(name), int(minute)))
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise BadRequest(f"That is no request: {error!r}.") from error
    of_fills, of_bars = Lacking(), Lacking()
    for hour in range(first // HOUR_S, last // HOUR_S + 1):
        start, end = max(first, hour * HOUR_S), min(last + 1, (hour + 1) * HOUR_S)
        stand = _bars(session, bars, symbol, request.get("traded") or "", start, end) if bars else set()
        stand = {one for one in stand if names.search(one[0])}
        if not stand and not fills[hour]:
            continue
        there = _ticks(session, ticks, symbol, start - (within + 1) * 60, end + (within + 1) * 60)
        of_fills.take(fills[hour], there, within)
        of_bars.take(stand, there, within)
    return {"fills": vars(of_fills), "bars": vars(of_bars)}


def _bars(session: Asked, table: str, symbol: str, traded: str, start: int, end: int) -> set[Minute]:
    where = f" AND {traded}" if traded else ""
    rows = session.rows(f"SELECT {symbol}, ts FROM {table} WHERE {_span(start, end)}{where}")
    return {(str(name), int(at) // MINUTE_NS) for name, at in rows}


def _ticks(session: Asked, table: str, symbol: str, start: int, end: int) -> set[Minute]:
    """Symbols and minutes that have one."""
    rows = session.rows(
        f"SELECT {symbol}, _wstart, COUNT(*) FROM {table} WHERE {_span(start, end)} PARTITION BY {symbol} INTERVAL(1m)"
    )
    return {(str(name), int(at) // MINUTE_NS) for name, at, _ in rows}


def _span(start: int, end: int) -> str:
    return f"ts >= {start * S_NS} AND ts < {end * S_NS}"


def main(arguments: Sequence[str] | None = None) -> int:
    return answer("agents.validation.agreement", "Find what has no tick.", look, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
