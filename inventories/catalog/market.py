"""The shape of quality.yaml's calendar: which days and hours a market trades, and which rows are held to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from inventories.catalog.base import Entry, Identifier, contradiction
from inventories.catalog.tables import Zone

_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
Session = Annotated[str, StringConstraints(pattern=rf"^{_CLOCK}-{_CLOCK}$")]
Text = Annotated[str, StringConstraints(min_length=1)]


class Held(Entry):
    """A table whose rows belong to open days, those with a time to the sessions as well.

    `every_open_day`: each open day between the first row and the last has rows.
    """

    column: Identifier
    symbol: Identifier = "symbol"
    every_open_day: bool = False


class Calendar(Entry):
    """Days are those of `table` (columns exchange, calendar_date, is_open) where it has them, else those of `package`.

    `symbols` is a regular expression of the market's own symbols, of which alone rows are held to it. A session's first
    and last minute count. `package` is a calendar's name in exchange_calendars.
    """

    table: Identifier
    exchanges: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    symbols: Text
    zone: Zone
    package: Text | None = None
    warn_days: Annotated[int, Field(gt=0)] = 45
    sessions: Annotated[tuple[Session, ...], Field(strict=False)] = ()
    held: Annotated[Mapping[Identifier, Held], Field(min_length=1)]

    @model_validator(mode="after")
    def _sessions_end(self) -> Self:
        for session in self.sessions:
            first, _, last = session.partition("-")
            if first > last:
                raise contradiction("sessions", session, "it ends before it begins", "Give it as 09:30-11:30.")
        return self
