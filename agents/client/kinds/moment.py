"""Days, moments, and TDengine's nanoseconds."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.base.config import Column
from agents.base.errors import BadConfig
from agents.client.kinds.base import Kind, Precise, Wrong, plain, shown, unlike

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY_NS = 86_400 * 10**9


def day() -> Kind:
    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, datetime):
            if (value.hour, value.minute, value.second, value.microsecond, getattr(value, "nanosecond", 0)) != (0,) * 5:
                raise Wrong(f"is {value.isoformat()}, a time and not a date")
            return value.date().isoformat()
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, str):
            try:
                return date.fromisoformat(value if len(value) == len("2026-01-01") else "").isoformat()
            except ValueError:
                raise Wrong(f"is {shown(value)}, not a date such as 2026-11-27") from None
        raise unlike(value, "a date")

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        return list(map(date.isoformat, values)) if types == {date} else None

    return Kind(one, many)


def zone_of(column: Column) -> ZoneInfo | None:
    try:
        return ZoneInfo(column.zone) if column.zone else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadConfig(
            f"{column.name} reads times in {column.zone}, which this host does not know.", "Install tzdata."
        ) from error


def _aware(value: Any, zone: tzinfo | None) -> tuple[datetime, int]:
    """A moment with its zone, and nanoseconds beyond its microseconds."""
    value = plain(value)
    extra = getattr(value, "nanosecond", 0)
    if isinstance(value, Precise):
        value = value.moment
    if isinstance(value, str):
        value, extra = _parsed(value)
    if not isinstance(value, datetime):
        raise unlike(value, "a time")
    if hasattr(value, "to_pydatetime"):  # of pandas, which else warns that it drops nanoseconds
        value = value.to_pydatetime(warn=False)
    if value.utcoffset() is not None:
        return value, extra
    if zone is None:
        raise Wrong(f"is {value.isoformat()} without a time zone, and the catalogue declares none for it")
    aware = value.replace(tzinfo=zone)
    if aware.utcoffset() != aware.replace(fold=1 - aware.fold).utcoffset():
        raise Wrong(f"is {value.isoformat()}, which {zone} has twice or never: give the offset")
    return aware, extra


def _parsed(text: str) -> tuple[datetime, int]:
    found = _TIME.fullmatch(text)
    if found is None:
        raise Wrong(f"is {shown(text)}, not a time such as 2026-11-27T09:30:00+08:00")
    date_, minutes, seconds, fraction, offset = found.groups()
    digits = (fraction or "").ljust(9, "0")
    offset = "+00:00" if offset == "Z" else offset or ""
    if offset and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:] or '00'}"
    try:
        return datetime.fromisoformat(f"{date_}T{minutes}{seconds or ':00'}.{digits[:6]}{offset}"), int(digits[6:])
    except ValueError:
        raise Wrong(f"is {shown(text)}, which is no time") from None


def moment(zone: ZoneInfo | None) -> Kind:
    def one(value: Any) -> str:
        return _aware(value, zone)[0].isoformat()

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {datetime} and all(value.tzinfo is timezone.utc for value in values):
            return list(map(datetime.isoformat, values))
        return None

    return Kind(one, many)


def nanoseconds(zone: ZoneInfo | None, keep_days: float | None) -> Kind:
    def earliest() -> int:
        return -(1 << 63) if keep_days is None else time.time_ns() - int(keep_days * _DAY_NS)

    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            at, extra = _aware(value, zone)
            number = (at - _EPOCH) // timedelta(microseconds=1) * 1000 + extra
        if not -(1 << 63) <= number < 1 << 63:
            raise Wrong(f"is {shown(value)}, outside what nanoseconds in 64 bits can say")
        if number <= earliest():
            raise Wrong(f"is {shown(value)}, older than the {keep_days:g} days that TDengine keeps")
        return str(number)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {int} and earliest() < min(values) and max(values) < 1 << 63:
            return list(map(str, values))
        return None

    return Kind(one, many)
