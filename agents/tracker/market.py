"""A made-up session of the Vietnamese market: trades of 30 stocks, foreign investors, the future's basis, alerts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from agents.tracker.rows import ALERTS, BASIS, FOREIGN, TRADES

VN30 = (
    "ACB", "BCM", "BID", "BVH", "CTG", "FPT", "GAS", "GVR", "HDB", "HPG", "LPB", "MBB", "MSN", "MWG", "PLX", "SAB",
    "SHB", "SSB", "SSI", "STB", "TCB", "TPB", "VCB", "VHM", "VIB", "VIC", "VJC", "VNM", "VPB", "VRE",
)  # fmt: skip
FUTURE = "VN30F2612"
KINDS = ("mua_chu_dong", "ban_chu_dong", "neutral")
Row = tuple[str, dict[str, object]]


@dataclass
class Stock:
    """`bought` and `sold` by foreign investors since the session began."""

    symbol: str
    price: float
    bought: int = 0
    sold: int = 0


class Session:
    """Rows without end: of twenty sixteen are trades, two of foreign investors, one of the basis, one an alert."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - prices, not secrets
        self._stocks = [Stock(symbol, self._chance.uniform(12, 120)) for symbol in VN30]
        self._index = 1300.0

    def rows(self) -> Iterator[Row]:
        """(table, row)."""
        while True:
            for _ in range(16):
                yield TRADES, self._trade()
            for _ in range(2):
                yield FOREIGN, self._foreign()
            yield BASIS, self._basis()
            yield ALERTS, self._alert()

    def _trade(self) -> dict[str, object]:
        stock = self._chance.choice(self._stocks)
        stock.price = max(1.0, round(stock.price + self._chance.choice((-0.05, 0, 0.05)), 2))
        volume = 100 * self._chance.randint(1, 50)
        return {
            "symbol": stock.symbol, "price": stock.price, "volume": volume, "value": round(stock.price * volume, 2),
            "trade_type": self._chance.choice(KINDS), "bid_price": round(stock.price - 0.05, 2),
            "ask_price": round(stock.price + 0.05, 2), "traded_at": _now(),
        }  # fmt: skip

    def _foreign(self) -> dict[str, object]:
        stock = self._chance.choice(self._stocks)
        bought, sold = self._chance.randint(0, 5000), self._chance.randint(0, 5000)
        stock.bought += bought
        stock.sold += sold
        return {
            "symbol": stock.symbol, "f_buy_vol": stock.bought, "f_sell_vol": stock.sold,
            "f_net_vol": stock.bought - stock.sold, "buy_speed_per_min": bought * 1.5, "sell_speed_per_min": sold * 1.5,
            "captured_at": _now(),
        }  # fmt: skip

    def _basis(self) -> dict[str, object]:
        self._index = round(self._index + self._chance.uniform(-0.5, 0.5), 2)
        basis = round(self._chance.uniform(-8, 8), 2)
        return {
            "futures_symbol": FUTURE, "futures_price": round(self._index + basis, 2), "spot_value": self._index,
            "basis": basis, "captured_at": _now(),
        }  # fmt: skip

    def _alert(self) -> dict[str, object]:
        stock = self._chance.choice(self._stocks)
        return {
            "symbol": stock.symbol, "alert_type": "volume_spike", "message": f"Khối lượng đột biến\t{stock.symbol}",
            "severity": self._chance.choice(("info", "warning", "critical")), "created_at": _now(),
        }  # fmt: skip


def _now() -> datetime:
    return datetime.now(timezone.utc)
