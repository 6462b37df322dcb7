"""Ticks, order-book depth, minute bars: what the market sends all day, for TDengine.

Several ticks of one symbol fall into the same nanosecond on purpose, as trades of one match do: only the event id
tells them apart.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict

from agents.feed.market import read_bars
from agents.writing.batch import RUN_SHIFT

SYMBOLS = 200
TOGETHER = 3  # ticks of one match
MINUTE_NS = 60 * 10**9
# Shares of a batch, in tenths.
SHARES = {"tick_data": 7, "depth_data": 2, "minute_kline": 1}
EXCHANGES = ("SSE", "SZSE")


class Ticks:
    """An endless source of rows in the catalogue's column order, tags last. Event ids count from 1 over all tables."""

    def __init__(self, run: int, seed: int = 1) -> None:
        self._base = run << RUN_SHIFT
        self._seq = 0
        self._random = random.Random(seed)  # noqa: S311 - a market, not a secret
        self._bars = read_bars()
        self._minutes: dict[int, int] = defaultdict(int)
        # Bars of a run have minutes of their own, so that each of them can be counted afterwards.
        self._first_minute = time.time_ns() // MINUTE_NS * MINUTE_NS - run % 50_000 * MINUTE_NS

    def batch(self, size: int) -> dict[str, list[tuple[object, ...]]]:
        """About `size` rows; the event ids of each table are consecutive."""
        counts = {name: max(1, size * share // 10) for name, share in SHARES.items()}
        now = time.time_ns()
        return {
            "tick_data": [self._tick(now + n // TOGETHER * 1000, n // TOGETHER) for n in range(counts["tick_data"])],
            "depth_data": [self._depth(now + n * 1000) for n in range(counts["depth_data"])],
            "minute_kline": [self._minute() for _ in range(counts["minute_kline"])],
        }

    def _next_id(self) -> int:
        self._seq += 1
        return self._base + self._seq

    def _price(self, symbol: int) -> float:
        bar = self._bars[symbol % len(self._bars)]
        return round(bar.low + (bar.high - bar.low) * self._random.random(), 2)

    def _tick(self, ts: int, match: int) -> tuple[object, ...]:
        symbol = match % SYMBOLS
        price, volume = self._price(symbol), 100 * (1 + int(self._random.random() * 20))
        return (
            ts, self._next_id(), price, volume, round(price * volume, 2), price - 0.01, 200, price + 0.01, 300,
            "B" if self._seq & 1 else "S", _code(symbol), EXCHANGES[symbol & 1],
        )  # fmt: skip

    def _depth(self, ts: int) -> tuple[object, ...]:
        event = self._next_id()
        symbol = event % SYMBOLS
        price = self._price(symbol)
        levels = [
            value
            for level in range(1, 6)
            for value in (round(price - level / 100, 2), 100 * level, round(price + level / 100, 2), 100 * level)
        ]
        return (ts, event, *levels, _code(symbol), EXCHANGES[symbol & 1])

    def _minute(self) -> tuple[object, ...]:
        event = self._next_id()
        symbol = event % SYMBOLS
        ts = self._first_minute + self._minutes[symbol] * MINUTE_NS
        self._minutes[symbol] += 1
        bar = self._bars[event % len(self._bars)]
        return (
            ts, event, bar.open, bar.high, bar.low, bar.close, bar.volume, round(bar.close * bar.volume, 2),
            _code(symbol), "1m",
        )  # fmt: skip


def _code(symbol: int) -> str:
    return f"{600000 + symbol:06d}"
