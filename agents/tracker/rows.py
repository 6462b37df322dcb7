"""What the tracker's processor hands over, as rows of its tables; any object with the seed's attributes will do."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

TRADES, FOREIGN, BASIS, ALERTS = "trades", "foreign_snapshots", "basis_history", "alerts"
DAILY = "daily_ohlc"
FED = (TRADES, FOREIGN, BASIS, ALERTS)  # what a feed makes; daily bars are imported


def trade(one: Any) -> dict[str, object]:
    """A classified trade."""
    kind = one.trade_type
    return {
        "symbol": one.symbol, "price": one.price, "volume": one.volume, "value": one.value,
        "trade_type": getattr(kind, "value", kind), "bid_price": one.bid_price, "ask_price": one.ask_price,
        "traded_at": one.timestamp,
    }  # fmt: skip


def foreign(one: Any, now: datetime | None = None) -> dict[str, object]:
    """Cumulative volumes of foreign investors and their speed, as of now."""
    return {
        "symbol": one.symbol, "f_buy_vol": one.buy_volume, "f_sell_vol": one.sell_volume, "f_net_vol": one.net_volume,
        "buy_speed_per_min": one.buy_speed_per_min, "sell_speed_per_min": one.sell_speed_per_min,
        "captured_at": now or _now(),
    }  # fmt: skip


def basis(one: Any) -> dict[str, object]:
    """A futures price beside the spot value."""
    return {
        "futures_symbol": one.futures_symbol, "futures_price": one.futures_price, "spot_value": one.spot_value,
        "basis": one.basis, "captured_at": one.timestamp,
    }  # fmt: skip


def alert(one: Any, now: datetime | None = None) -> dict[str, object]:
    """An alert, as of now."""
    return {
        "symbol": one.symbol, "alert_type": getattr(one.alert_type, "value", one.alert_type), "message": one.message,
        "severity": getattr(one.severity, "value", one.severity), "created_at": now or _now(),
    }  # fmt: skip


def _now() -> datetime:
    return datetime.now(timezone.utc)
