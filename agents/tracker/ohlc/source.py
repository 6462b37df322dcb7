"""Daily bars of one symbol from a REST source: every page, held against what the source itself says of them.

    GET URL?symbol=VCB&fromDate=01/01/2026&toDate=31/12/2026&pageIndex=1&pageSize=100&ascending=true
    {"status": "Success", "totalRecord": 245, "data": [{"Symbol": "VCB", "TradingDate": "05/01/2026", "Open": ...}]}

Nothing of a range is given to anybody before all of it was read and found consistent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from agents.base.errors import AgentError
from agents.tracker.ohlc.bars import Bar, NoBar, bar
from agents.tracker.ohlc.web import SourceRefuses, Web

PAGE_SIZE = 100
_HINT = "Nothing of it was kept. Repeat later; if it stays so, ask whoever runs the source, or import from files."


class SourceLies(AgentError):  # noqa: N818 - named after what it does
    """The pages of a source contradict each other, or what was asked for."""


@dataclass(frozen=True)
class Range:
    """One request's worth: a symbol and days, both included."""

    symbol: str
    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.symbol} from {self.first} to {self.last}"


class Source:
    def __init__(self, web: Web, page_size: int = PAGE_SIZE) -> None:
        self._web, self._size = web, page_size

    @property
    def url(self) -> str:
        return self._web.url

    def bars(self, wanted: Range) -> list[Bar]:
        """All of a range, by day. Raises SourceLies, SourceAway, SourceRefuses."""
        found: dict[date, int] = {}
        bars: list[Bar] = []
        total, page = -1, 0
        while total < 0 or len(bars) < total:
            page += 1
            rows, said = self._page(wanted, page)
            if total >= 0 and said != total:
                raise _lies(f"says {total} rows on page 1 and {said} on page {page}", wanted)
            if total < 0 and said > (wanted.last - wanted.first).days + 1:
                raise _lies(f"says {said} rows, more than there are days", wanted)
            total = said
            self._judge(rows, page, total - len(bars), wanted)
            for number, raw in enumerate(rows, 1):
                one = _bar(raw, page, number, wanted)
                if one.date in found:
                    raise _lies(f"gives {one.date} on page {found[one.date]} and again on page {page}", wanted)
                found[one.date] = page
                bars.append(one)
        return sorted(bars, key=lambda one: one.date)

    def _page(self, wanted: Range, page: int) -> tuple[list[Any], int]:
        """Its rows, and how many it says there are in all."""
        words = {
            "symbol": wanted.symbol, "fromDate": f"{wanted.first:%d/%m/%Y}", "toDate": f"{wanted.last:%d/%m/%Y}",
            "pageIndex": page, "pageSize": self._size, "ascending": "true",
        }  # fmt: skip
        said = self._web.ask(words)
        if not isinstance(said, Mapping) or not isinstance(said.get("data"), list):
            status = said.get("message") or said.get("status") if isinstance(said, Mapping) else None
            why = f" but {str(status)[:100]!r}" if status else ""
            raise SourceRefuses(f"{self.url} gives no rows{why} for {wanted}, page {page}.", _HINT)
        total = said.get("totalRecord")
        if isinstance(total, bool) or not isinstance(total, int) or total < 0:
            raise _lies(f"says on page {page} that there are {total!r} rows", wanted)
        return said["data"], total

    def _judge(self, rows: list[Any], page: int, left: int, wanted: Range) -> None:
        if len(rows) > self._size:
            raise _lies(f"gives {len(rows)} rows on page {page}, asked for {self._size}", wanted)
        if len(rows) > left:
            raise _lies(f"gives more rows than it says: {len(rows)} on page {page}, where {left} were left", wanted)
        if len(rows) < min(left, self._size):
            raise _lies(f"gives {len(rows)} rows on page {page}, where {left} were left", wanted)


def _bar(raw: object, page: int, number: int, wanted: Range) -> Bar:
    try:
        one = bar(raw)
    except NoBar as why:
        raise _lies(f"gives a row that is no daily bar (page {page}, row {number}: {why})", wanted) from why
    if one.symbol != wanted.symbol:
        raise _lies(f"gives {one.symbol} on page {page}", wanted)
    if not wanted.first <= one.date <= wanted.last:
        raise _lies(f"gives {one.date} on page {page}", wanted)
    return one


def _lies(what: str, wanted: Range) -> SourceLies:
    return SourceLies(f"The source {what}, asked for {wanted}.", _HINT)
