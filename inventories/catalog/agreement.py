"""The shape of quality.yaml's agreement: what belongs together across stores, and is listed where it is not there."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from inventories.catalog.base import Entry, Identifier


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]


class Orders(Entry):
    """Of PostgreSQL. `filled`: an SQL condition for those that must have a fill."""

    table: Identifier
    key: Identifier
    time: Identifier
    filled: str


class Fills(Entry):
    """Of PostgreSQL. `order` names an order by its key."""

    table: Identifier
    key: Identifier
    time: Identifier
    order: Identifier


class Series(Entry):
    """A supertable of TDengine. `volume`: only rows with more than 0 of it are looked at; `only`: those for which this
    condition of TDengine's holds.
    """

    table: Identifier
    volume: Identifier | None = None
    only: str = ""


class Agreement(Entry):
    """Filled orders have a fill, fills and bars have ticks of their symbol, at most `within_min` minutes away.

    What is not declared is not judged. `symbols`: a regular expression of those whose ticks are kept.
    """

    symbols: Pattern
    symbol: Identifier = "symbol"
    within_min: Annotated[int, Field(ge=0, le=60)] = 1
    orders: Orders | None = None
    fills: Fills | None = None
    ticks: Series | None = None
    bars: Series | None = None
