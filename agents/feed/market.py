"""Rows as a trading day makes them.

Real daily bars, and orders, executions and positions around their prices.

Natural keys never repeat within a run, so that every acknowledged row can be counted afterwards.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

from agents.base.config import Table
from agents.writing.batch import RUN_SHIFT

BARS = Path(__file__).parent / "data" / "daily_bars.csv"
ACCOUNTS = 2000
STRATEGIES = ("momentum", "mean-reversion", "pairs", "index-arbitrage")
REMARKS = (None, None, None, "止损", "手动撤单", "partial\tfill")
# Shares of a batch, in tenths.
SHARES = {"order_records": 4, "transaction_records": 3, "position_records": 1, "daily_kline": 2}


@dataclass(frozen=True)
class Bar:
    day: date
    open: float
    high: float
    low: float
    close: float
    volume: int


def read_bars(path: Path = BARS) -> list[Bar]:
    """The committed daily bars, oldest first."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Bar(
                date.fromisoformat(r["date"]), float(r["open"]), float(r["high"]), float(r["low"]),
                float(r["close"]), int(r["volume"]),
            )
            for r in csv.DictReader(file)
        ]  # fmt: skip


def fitted(
    tables: Mapping[str, Table], rows: Mapping[str, Sequence[tuple[object, ...]]]
) -> dict[str, list[tuple[object, ...]]]:
    """Rows of a feed for a catalogue whose tables have more columns than it knows: optional ones, before any tags."""
    made = {}
    for name, values in rows.items():
        table = tables[name]
        lacks = len(table.column_names) - len(values[0])
        known = len(table.columns) - lacks
        if lacks > 0 and all(column.nullable for column in table.columns[known:]):
            made[name] = [(*row[:known], *[None] * lacks, *row[known:]) for row in values]
        else:
            made[name] = list(values)
    return made


class Market:
    """An endless, reproducible source of rows in the catalogue's column order.

    Event ids count from 1 over all tables, or from behind `first`, and so do the natural keys.
    """

    def __init__(self, run: int, seed: int = 1, first: int = 0) -> None:
        self._base = run << RUN_SHIFT
        self._seq = first
        self._random = random.Random(seed)  # noqa: S311 - a market, not a secret
        self._bars = read_bars()
        self._today = datetime.now(timezone.utc).date()
        self._n_bars = self._n_positions = first

    @staticmethod
    def counts(size: int) -> dict[str, int]:
        """Rows of each table in a batch of about `size`, in their order."""
        return {name: max(1, size * share // 10) for name, share in SHARES.items()}

    def batch(self, size: int) -> dict[str, list[tuple[object, ...]]]:
        """About `size` rows; the event ids of each table are consecutive."""
        counts = self.counts(size)
        bar = self._bars[self._n_bars % len(self._bars)]
        now = datetime.now(timezone.utc)
        orders = [self._order(bar, now) for _ in range(counts["order_records"])]
        fills = [self._execution(orders[k % len(orders)], now) for k in range(counts["transaction_records"])]
        return {
            "order_records": orders,
            "transaction_records": fills,
            "position_records": [self._position(bar) for _ in range(counts["position_records"])],
            "daily_kline": [self._daily() for _ in range(counts["daily_kline"])],
        }

    def _next_id(self) -> int:
        self._seq += 1
        return self._base + self._seq

    def _order(self, bar: Bar, now: datetime) -> tuple[object, ...]:
        event, pick = self._next_id(), self._random
        price = round(bar.low + (bar.high - bar.low) * pick.random(), 2)
        return (
            event, f"O{event:x}", now, f"ACC{int(pick.random() * ACCOUNTS):05d}",
            STRATEGIES[event % len(STRATEGIES)], "GOOG", "BUY" if event & 1 else "SELL", "LIMIT", price,
            100 * (1 + int(pick.random() * 20)), "FILLED" if event & 3 else "NEW",
            REMARKS[event % len(REMARKS)],
        )  # fmt: skip

    def _execution(self, order: tuple[object, ...], now: datetime) -> tuple[object, ...]:
        event = self._next_id()
        price, quantity = order[8], order[9]
        assert isinstance(price, float)
        assert isinstance(quantity, int)
        amount = price * quantity
        duty = amount * 0.0005 if order[6] == "SELL" else 0.0
        return (
            event, f"T{event:x}", now, order[1], order[3], order[5], order[6], price, quantity,
            f"{amount:.4f}", f"{max(5.0, amount * 0.00025):.4f}", f"{duty:.4f}",
        )  # fmt: skip

    def _position(self, bar: Bar) -> tuple[object, ...]:
        event, number = self._next_id(), self._n_positions
        self._n_positions += 1
        account, symbol = number % ACCOUNTS, number // ACCOUNTS
        quantity = 100 * (1 + int(self._random.random() * 50))
        return (
            event, f"ACC{account:05d}", f"S{symbol % 5000:05d}.SIM",
            self._today - timedelta(days=symbol // 5000), quantity, quantity, bar.open, bar.close,
            f"{bar.close * quantity:.4f}",
            f"{(bar.close - bar.open) * quantity:.4f}",
        )  # fmt: skip

    def _daily(self) -> tuple[object, ...]:
        event, number = self._next_id(), self._n_bars
        self._n_bars += 1
        turn, index = divmod(number, len(self._bars))
        bar, before = self._bars[index], self._bars[index - 1] if index else self._bars[0]
        # The first pass are the real bars; later ones give the same history to made-up symbols.
        symbol = f"G{turn:05d}.SIM" if turn else "GOOG"
        change = (bar.close / before.close - 1) * 100
        return (
            event, symbol, bar.day, bar.open, bar.high, bar.low, bar.close, bar.volume,
            f"{bar.close * bar.volume:.4f}", f"{change:.4f}", 1,
        )  # fmt: skip
