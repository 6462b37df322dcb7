"""Content from a day on: of tables with a time column only its days from then on are hashed and compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime

from runbooks.table_copy.rowhash import EPOCH, LAST_DAY
from runbooks.validation.baseline import Baseline
from runbooks.validation.hashing import Hashed


@dataclass(frozen=True)
class FromDay(Hashed):
    """`first`: the first day, since 2000."""

    first: int = 0

    def _rows(self, conditions: Iterable[str]) -> str:
        return super()._rows((*conditions, self._between(self.first, LAST_DAY)))


def day_of(moment: datetime) -> int:
    """In UTC, since 2000."""
    return (moment.astimezone(UTC).date() - date.fromisoformat(EPOCH.split("'")[1])).days


def narrowed(tables: Mapping[str, Hashed], since: datetime | None) -> dict[str, Hashed]:
    """The tables from the day of that moment on; all of those that have no time column."""
    if since is None:
        return dict(tables)
    first = day_of(since)
    return {name: _from(one, first) if one.time_column else one for name, one in tables.items()}


def _from(one: Hashed, first: int) -> FromDay:
    return FromDay(**{field.name: getattr(one, field.name) for field in fields(one)}, first=first)


def kept_from(kept: Baseline, tables: Mapping[str, Hashed]) -> Baseline:
    """The baseline with the days alone that these tables are narrowed to."""
    days = {
        name: table.model_copy(update={"days": {day: one for day, one in table.days.items() if day >= of.first}})
        for name, table in kept.tables.items() if isinstance(of := tables.get(name), FromDay)
    }  # fmt: skip
    return kept.model_copy(update={"tables": {**kept.tables, **days}})
