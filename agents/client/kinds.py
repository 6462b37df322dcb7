"""One column's values as COPY text, checked by the catalogue's type: what the store would refuse for ever is refused.

Each kind has two ways: `one` value with its reason, and `many` at a time where all are alike, which is most of the time
and several times faster. `many` gives None where it is not sure; it never refuses by itself.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Context, Decimal, InvalidOperation
from operator import index
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.base.config import Column
from agents.base.errors import BadConfig
from agents.writing.batch import ESCAPES

NULL = "\\N"
MAX_BYTES = 64 << 20  # of one value: a batch has to fit into one record of the outbox
_SPECIAL = re.compile(r"[\\\t\n\r\b\f\v]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_WHOLE = re.compile(r"[+-]?\d{1,20}")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_EXACT = Context(prec=1200, traps=[InvalidOperation])
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY_NS = 86_400 * 10**9
REAL_MAX = 3.4028234663852886e38
REAL_LEAST = 7.1e-46  # less becomes nothing, which PostgreSQL refuses
_INTEGERS = {
    "smallint": 16, "integer": 32, "bigint": 64, "int": 32, "tinyint": 8,
}  # fmt: skip


class Wrong(ValueError):  # noqa: N818 - no error of a program
    """A value that the column cannot hold; the text says why, as the rest of `<column> ...`."""


@dataclass(frozen=True)
class Precise:
    """A moment with nanoseconds, for which a datetime has no room."""

    moment: datetime
    nanosecond: int


@dataclass(frozen=True)
class Kind:
    one: Callable[[object], str]
    many: Callable[[set[type], Sequence[Any]], Sequence[str] | None]


def kind_of(column: Column, store_is_tdengine: bool, keep_days: float | None = None) -> Kind:
    """NaN comes to a kind only where it is to be kept. Raises BadConfig for a type that nobody knows here, as one of a
    newer catalogue is.
    """
    name, _, size = column.type.partition("(")
    number = size.rstrip(")")
    if name in _INTEGERS:
        return _integer(_INTEGERS[name])
    if name in ("real", "double precision", "float", "double"):
        return _float(name in ("real", "float"), infinite=not store_is_tdengine)
    if name == "numeric":
        whole, _, scale = number.partition(",")
        return _numeric(int(whole), int(scale))
    if name in ("text", "varchar", "nchar", "binary"):
        return _text(int(number) if number else None, name == "binary", frozenset(column.values))
    if name == "date":
        return _day()
    if name == "timestamptz":
        return _moment(_zone(column))
    if name == "timestamp":
        return _nanoseconds(_zone(column), keep_days)
    if name in ("boolean", "bool"):
        return _boolean()
    if name == "jsonb":
        return _document()
    raise BadConfig(f"{column.name} has the type {column.type}, which this library does not know.", "Update it.")


def is_missing(value: object) -> bool:
    """None, and what pandas has for it: NaT and NA. NaN is judged by the column's rule."""
    return value is None or type(value).__name__ in ("NaTType", "NAType")


def is_nan(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return (isinstance(value, float) or type(value).__name__ in ("float16", "float32")) and value != value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _plain(value: Any) -> Any:
    """A scalar of numpy as Python's own; everything else as it is."""
    kind = type(value)
    if kind.__module__ != "numpy":
        return value
    if kind.__name__ == "datetime64":
        return value.astype("datetime64[us]").item()
    return value.item() if hasattr(value, "item") else value


def _unlike(value: object, wanted: str) -> Wrong:
    return Wrong(f"is {type(value).__name__} {_shown(value)}, not {wanted}")


def _integer(bits: int) -> Kind:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def one(value: Any) -> str:
        value = _plain(value)
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool):
            raise _unlike(value, "a whole number")
        try:
            number = index(value)
        except TypeError:
            raise _unlike(value, "a whole number") from None
        if not low <= number <= high:
            raise Wrong(f"is {number}, outside {low} to {high}")
        return str(number)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {int} and low <= min(values) and max(values) <= high:
            return list(map(str, values))
        return None

    return Kind(one, many)


def _float(single: bool, infinite: bool) -> Kind:
    def one(value: Any) -> str:
        value = _plain(value)
        if isinstance(value, str):
            if value in ("Infinity", "-Infinity"):  # what has no number of its own in JSON
                return one(float(value))
            if not _NUMBER.fullmatch(value):
                raise _unlike(value, "a number")
            number = float(value)
            if not math.isfinite(number) or (number == 0 and re.search("[1-9]", re.split("[eE]", value)[0])):
                raise Wrong(f"is {value}, out of range")
            return one(number)
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise _unlike(value, "a number")
        try:
            number = float(value)
        except OverflowError:
            raise Wrong(f"is {_shown(value)}, out of range") from None
        if number != number:
            return "NaN"
        if math.isinf(number):
            if not infinite or not isinstance(value, float):
                raise Wrong("is infinite")
            return "Infinity" if number > 0 else "-Infinity"
        if single and (abs(number) > REAL_MAX or 0 < abs(number) < REAL_LEAST):
            raise Wrong(f"is {number}, out of range of a single-precision number")
        return str(value) if isinstance(value, int) else repr(number)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types != {float} or single or not all(map(math.isfinite, values)):
            return None
        return list(map(repr, values))

    return Kind(one, many)


def _numeric(precision: int, scale: int) -> Kind:
    bound = Decimal(10) ** (precision - scale)
    sure = max(10.0 ** (precision - scale) - 1, 0.0)
    quantum = Decimal(1).scaleb(-scale)

    def one(value: Any) -> str:
        value = _plain(value)
        exact = not isinstance(value, float)
        if isinstance(value, str):
            if not _NUMBER.fullmatch(value):
                raise _unlike(value, "a number")
            number = Decimal(value)
        elif isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise _unlike(value, "a number")
        else:
            number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if number.is_infinite():
            raise Wrong("is infinite")
        if abs(number) >= bound:
            raise Wrong(f"is {_shown(value)}, numeric({precision},{scale}) holds less than {bound:f}")
        # Beyond the precision of the context there is nothing but zeros.
        rounded = number.quantize(quantum, context=_EXACT)
        if abs(rounded) >= bound:
            raise Wrong(f"is {_shown(value)}, which rounds to more than numeric({precision},{scale}) holds")
        if exact and rounded != number:
            # A float is never exact and is rounded, as the store would; an exact number is not changed in silence.
            raise Wrong(f"is {_shown(value)}, numeric({precision},{scale}) keeps {scale} decimals")
        return f"{rounded:f}"

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {float}:
            if all(map(math.isfinite, values)) and -sure < min(values) and max(values) < sure:
                return list(map(repr, values))
        elif types == {int} and -sure < min(values) and max(values) < sure:
            return list(map(str, values))
        return None

    return Kind(one, many)


def _text(most: int | None, in_bytes: bool, allowed: frozenset[str]) -> Kind:
    def one(value: Any) -> str:
        value = _plain(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise Wrong("is bytes, not text: decode it")
        if not isinstance(value, str):
            raise _unlike(value, "text")
        if len(value) > MAX_BYTES:
            raise Wrong(f"is a text of {len(value)} characters, {MAX_BYTES} are the most for one value")
        if "\0" in value:
            raise Wrong("holds a NUL character")
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise Wrong(f"is no valid Unicode at character {error.start}: {error.reason}") from None
        if most is not None and (size if in_bytes else len(value)) > most:
            unit = "bytes" if in_bytes else "characters"
            raise Wrong(f"has {size if in_bytes else len(value)} {unit}, {most} are the most")
        if allowed and value not in allowed:
            raise Wrong(f"is {_shown(value)}, none of {', '.join(sorted(allowed))}")
        return str(value).translate(ESCAPES)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types != {str}:
            return None
        texts: Sequence[str] = values
        joined = "\0".join(texts)
        if len(joined) > MAX_BYTES or joined.count("\0") != len(texts) - 1:
            return None
        if most is not None and max(map(len, texts)) > most:
            return None
        if not joined.isascii():
            try:
                joined.encode()
            except UnicodeEncodeError:
                return None
            if in_bytes and most is not None and max(len(text.encode()) for text in texts) > most:
                return None
        if allowed and not allowed.issuperset(texts):
            return None
        return texts if _SPECIAL.search(joined) is None else [text.translate(ESCAPES) for text in texts]

    return Kind(one, many)


def _boolean() -> Kind:
    def one(value: Any) -> str:
        value = _plain(value)
        if isinstance(value, (bool, int, float)) and value in (0, 1):
            return "t" if value else "f"
        raise _unlike(value, "true or false")

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        return ["t" if value else "f" for value in values] if types == {bool} else None

    return Kind(one, many)


def _document() -> Kind:
    def one(value: Any) -> str:
        value = _plain(value)
        try:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
            known = json.loads(text, parse_constant=_no_constant) if isinstance(value, str) else value
            size = len(text.encode())
            json.dumps(known, ensure_ascii=False).encode()  # an escaped half of a pair is no character either
        except UnicodeEncodeError as error:
            raise Wrong(f"holds a text that is no valid Unicode: {error.reason}") from None
        except RecursionError:
            raise Wrong("is nested too deeply") from None
        except (TypeError, ValueError) as error:
            raise Wrong(f"is no JSON: {str(error).rstrip('.')}") from None
        if "\0" in text or _NUL_IN_JSON.search(text):
            raise Wrong("holds a NUL character")
        if size > MAX_BYTES:
            raise Wrong(f"is a document of {size} bytes, {MAX_BYTES} are the most for one value")
        return text.translate(ESCAPES)

    return Kind(one, lambda types, values: None)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _day() -> Kind:
    def one(value: Any) -> str:
        value = _plain(value)
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
                raise Wrong(f"is {_shown(value)}, not a date such as 2026-11-27") from None
        raise _unlike(value, "a date")

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        return list(map(date.isoformat, values)) if types == {date} else None

    return Kind(one, many)


def _zone(column: Column) -> ZoneInfo | None:
    try:
        return ZoneInfo(column.zone) if column.zone else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadConfig(
            f"{column.name} reads times in {column.zone}, which this host does not know.", "Install tzdata."
        ) from error


def _aware(value: Any, zone: tzinfo | None) -> tuple[datetime, int]:
    """A moment with its zone, and nanoseconds beyond its microseconds."""
    value = _plain(value)
    extra = getattr(value, "nanosecond", 0)
    if isinstance(value, Precise):
        value = value.moment
    if isinstance(value, str):
        value, extra = _parsed(value)
    if not isinstance(value, datetime):
        raise _unlike(value, "a time")
    floor = getattr(value, "floor", None)
    if floor is not None:  # of pandas, which warns when it drops nanoseconds by itself
        value = floor("us").to_pydatetime()
    if value.utcoffset() is not None:
        return value, extra
    if zone is None:
        raise Wrong(f"is {value.isoformat()} without a time zone, and the catalogue declares none for it")
    moment = value.replace(tzinfo=zone)
    if moment.utcoffset() != moment.replace(fold=1 - moment.fold).utcoffset():
        raise Wrong(f"is {value.isoformat()}, which {zone} has twice or never: give the offset")
    return moment, extra


def _parsed(text: str) -> tuple[datetime, int]:
    found = _TIME.fullmatch(text)
    if found is None:
        raise Wrong(f"is {_shown(text)}, not a time such as 2026-11-27T09:30:00+08:00")
    day, minutes, seconds, fraction, offset = found.groups()
    digits = (fraction or "").ljust(9, "0")
    offset = "+00:00" if offset == "Z" else offset or ""
    if offset and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:] or '00'}"
    try:
        return datetime.fromisoformat(f"{day}T{minutes}{seconds or ':00'}.{digits[:6]}{offset}"), int(digits[6:])
    except ValueError:
        raise Wrong(f"is {_shown(text)}, which is no time") from None


def _moment(zone: ZoneInfo | None) -> Kind:
    def one(value: Any) -> str:
        return _aware(value, zone)[0].isoformat()

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {datetime} and all(value.tzinfo is timezone.utc for value in values):
            return list(map(datetime.isoformat, values))
        return None

    return Kind(one, many)


def _nanoseconds(zone: ZoneInfo | None, keep_days: float | None) -> Kind:
    def earliest() -> int:
        return -(1 << 63) if keep_days is None else time.time_ns() - int(keep_days * _DAY_NS)

    def one(value: Any) -> str:
        value = _plain(value)
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            moment, extra = _aware(value, zone)
            number = (moment - _EPOCH) // timedelta(microseconds=1) * 1000 + extra
        if not -(1 << 63) <= number < 1 << 63:
            raise Wrong(f"is {_shown(value)}, outside what nanoseconds in 64 bits can say")
        if number <= earliest():
            raise Wrong(f"is {_shown(value)}, older than the {keep_days:g} days that TDengine keeps")
        return str(number)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {int} and earliest() < min(values) and max(values) < 1 << 63:
            return list(map(str, values))
        return None

    return Kind(one, many)
