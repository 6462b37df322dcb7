"""One daily bar, whatever the spelling of its source, checked before anybody keeps it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

SYMBOL = re.compile(r"[A-Z0-9]{1,10}")
_THERE = re.compile(r"(\d{2})/(\d{2})/(\d{4})")
# Our names, and those of the source that the seed names (SSI's DailyOHLC).
_NAMES = {
    "symbol": ("symbol",), "date": ("date", "tradingdate"), "open": ("open",), "high": ("high",), "low": ("low",),
    "close": ("close",), "volume": ("volume",),
}  # fmt: skip


class NoBar(Exception):  # noqa: N818 - what the row is
    """A row that is no daily bar: why, without where it stands."""


@dataclass(frozen=True)
class Bar:
    symbol: str
    date: date
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    volume: int | None

    def row(self) -> dict[str, object]:
        """As the client saves it."""
        return asdict(self)


def bar(raw: object) -> Bar:
    """Raises NoBar."""
    if not isinstance(raw, Mapping):
        raise NoBar("it is no object of names and values")
    said = {str(name).strip().lower(): value for name, value in raw.items()}
    values = {ours: next((said[one] for one in names if one in said), None) for ours, names in _NAMES.items()}
    symbol = str(values["symbol"] or "").strip().upper()
    if not SYMBOL.fullmatch(symbol):
        raise NoBar(f"its symbol is {values['symbol']!r}")
    prices = {name: _price(name, values[name]) for name in ("open", "high", "low", "close")}
    made = Bar(symbol, _date(values["date"]), **prices, volume=_volume(values["volume"]))
    _is_sound(made)
    return made


def _date(value: object) -> date:
    text = str(value or "").strip()
    try:
        if found := _THERE.fullmatch(text):
            return date(int(found[3]), int(found[2]), int(found[1]))
        return date.fromisoformat(text[:10])
    except ValueError:
        raise NoBar(f"its date is {value!r}") from None


def _price(name: str, value: object) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        price = Decimal(str(value).strip())
    except InvalidOperation:
        raise NoBar(f"its {name} is {value!r}") from None
    if not price.is_finite() or price <= 0 or price >= 10**10:
        raise NoBar(f"its {name} is {value!r}")
    if price != round(price, 2):
        raise NoBar(f"its {name} is {value!r}, and two decimals are kept")
    return round(price, 2)


def _volume(value: object) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip().removesuffix(".0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NoBar(f"its volume is {value!r}")
    return int(text)


def _is_sound(one: Bar) -> None:
    high, low = one.high, one.low
    if high is not None and low is not None and high < low:
        raise NoBar(f"its high, {high}, is below its low, {low}")
    for name, price in (("open", one.open), ("close", one.close)):
        if price is not None and ((high is not None and price > high) or (low is not None and price < low)):
            raise NoBar(f"its {name}, {price}, is not between its low and its high")
