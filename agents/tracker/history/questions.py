"""What may be asked, as the seed's paths have it, and the statement that answers it.

    /api/history/{symbol}/daily     from, to      daily bars, oldest first
    /api/history/{symbol}/trades    date          trades of a day of the exchange, oldest first
    /api/history/{symbol}/foreign   from, to      foreign investors
    /api/history/basis              from, to, futures
    /api/history/alerts             from, to, symbol   newest first

Days are those of the exchange, `to` is included; without them: the last 365 days of bars, else the day that it is.
`limit` bounds the rows; one more is asked for, to say whether there are more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
LIMIT, MOST = 10_000, 50_000
YEAR = timedelta(days=365)
_SYMBOL = re.compile(r"[A-Z0-9]{1,10}")
_FUTURE = re.compile(r"[A-Z0-9]{1,20}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
PREFIX = "/api/history/"


class Wrong(Exception):  # noqa: N818 - what the request is
    """A request that cannot be answered: a sentence, a hint, and HTTP's number."""

    def __init__(self, sentence: str, hint: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.hint, self.status = hint, status


@dataclass(frozen=True)
class Question:
    """`sql` gives at most `limit` + 1 rows for `values`."""

    sql: str
    values: tuple[object, ...]
    limit: int


def question(target: str, today: date | None = None) -> Question:
    """Of a request's target: path and query. Raises Wrong."""
    parts = urlsplit(target)
    if not parts.path.startswith(PREFIX):
        raise Wrong(f"There is no {parts.path}.", "The paths begin with /api/history/.", 404)
    names = [unquote(one) for one in parts.path.removeprefix(PREFIX).split("/")]
    kind = _KINDS.get(names[-1])
    if kind is None or len(names) != (2 if kind.of_symbol else 1):
        raise Wrong(f"There is no {parts.path}.", "SYMBOL/daily, SYMBOL/trades, SYMBOL/foreign, basis or alerts.", 404)
    said = _said(parts.query, kind)
    limit = _limit(said.get("limit", ""))
    symbol = (_symbol(names[0]),) if kind.of_symbol else ()
    sql, values = kind.ask(*symbol, said, today or datetime.now(ZONE).date())
    return Question(f"{sql} LIMIT %s", (*values, limit + 1), limit)


def _said(query: str, kind: Kind) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=10)
    except ValueError:
        raise Wrong("The query cannot be read.", "Write it as ?from=2026-01-01&to=2026-06-30.") from None
    said = dict(pairs)
    if len(said) < len(pairs):
        raise Wrong("A word of the query is said twice.", "Say each once.")
    unknown = sorted(said.keys() - {*kind.words, "limit"})
    if unknown:
        raise Wrong(f"{unknown[0]!r} is no word here.", f"There are {', '.join((*kind.words, 'limit'))}.")
    return said


def _limit(text: str) -> int:
    if not text:
        return LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST):
        raise Wrong(f"limit is {text!r}.", f"It is 1 to {MOST}.")
    return int(text)


def _symbol(text: str, pattern: re.Pattern[str] = _SYMBOL) -> str:
    name = text.upper()
    if not pattern.fullmatch(name):
        raise Wrong(f"{text!r} is no symbol.", "It is letters and digits, such as VCB.")
    return name


def _day(said: Mapping[str, str], word: str, default: date) -> date:
    text = said.get(word, "")
    if not text:
        return default
    if found := a_day(text):
        return found
    raise Wrong(f"{word} is {text!r}.", "A day is written as 2026-11-27.")


def a_day(text: str) -> date | None:
    """None for a text that is none."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _days(said: Mapping[str, str], today: date, back: timedelta) -> tuple[date, date]:
    last = _day(said, "to", today)
    first = _day(said, "from", last - back)
    if first > last:
        raise Wrong(f"from is {first}, after to, {last}.", "Exchange them.")
    return first, last


def _moments(first: date, last: date) -> tuple[datetime, datetime]:
    """Of these days of the exchange, the second without."""
    start = datetime.combine(first, datetime.min.time(), ZONE)
    return start, datetime.combine(last + timedelta(days=1), datetime.min.time(), ZONE)


Asked = tuple[str, tuple[object, ...]]


def _daily(symbol: str, said: Mapping[str, str], today: date) -> Asked:
    sql = (
        "SELECT symbol, date, open, high, low, close, volume FROM public.daily_ohlc"
        " WHERE symbol = %s AND date BETWEEN %s AND %s ORDER BY date"
    )
    return sql, (symbol, *_days(said, today, YEAR))


def _trades(symbol: str, said: Mapping[str, str], today: date) -> Asked:
    day = _day(said, "date", today)
    sql = (
        "SELECT event_id AS id, symbol, price, volume, value, trade_type, bid_price, ask_price, traded_at"
        " FROM public.trades WHERE symbol = %s AND traded_at >= %s AND traded_at < %s ORDER BY traded_at, event_id"
    )
    return sql, (symbol, *_moments(day, day))


def _foreign(symbol: str, said: Mapping[str, str], today: date) -> Asked:
    sql = (
        "SELECT symbol, f_buy_vol, f_sell_vol, f_net_vol, buy_speed_per_min, sell_speed_per_min, captured_at"
        " FROM public.foreign_snapshots WHERE symbol = %s AND captured_at >= %s AND captured_at < %s"
        " ORDER BY captured_at, event_id"
    )
    return sql, (symbol, *_moments(*_days(said, today, timedelta())))


def _basis(said: Mapping[str, str], today: date) -> Asked:
    future = said.get("futures", "")
    only, values = (" AND futures_symbol = %s", (_symbol(future, _FUTURE),)) if future else ("", ())
    sql = (
        "SELECT futures_symbol, futures_price, spot_value, basis, captured_at FROM public.basis_history"
        " WHERE captured_at >= %s AND captured_at < %s{} ORDER BY captured_at, event_id"
    )
    return sql.format(only), (*_moments(*_days(said, today, timedelta())), *values)


def _alerts(said: Mapping[str, str], today: date) -> Asked:
    symbol = said.get("symbol", "")
    only, values = (" AND symbol = %s", (_symbol(symbol),)) if symbol else ("", ())
    sql = (
        "SELECT event_id AS id, symbol, alert_type, message, severity, created_at FROM public.alerts"
        " WHERE created_at >= %s AND created_at < %s{} ORDER BY created_at DESC, event_id DESC"
    )
    return sql.format(only), (*_moments(*_days(said, today, timedelta())), *values)


@dataclass(frozen=True)
class Kind:
    """`ask` gives statement and values of what was said; `words` are those of its query."""

    ask: Callable[..., Asked]
    words: tuple[str, ...]
    of_symbol: bool


_KINDS: Mapping[str, Kind] = {
    "daily": Kind(_daily, ("from", "to"), True),
    "trades": Kind(_trades, ("date",), True),
    "foreign": Kind(_foreign, ("from", "to"), True),
    "basis": Kind(_basis, ("from", "to", "futures"), False),
    "alerts": Kind(_alerts, ("from", "to", "symbol"), False),
}
