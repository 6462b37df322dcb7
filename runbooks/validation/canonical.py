"""One text for one value, whichever store it comes from: the rule by which rows of two stores are the same.

It is spelt twice, in SQL for PostgreSQL and in Python for everything else, and a test holds the two together:

- NULL is a column that is not there.
- Numbers are their value in the column's type: 1.0 is 1.000, what is finer than a numeric's scale is rounded half up,
  a float on its way to a numeric has 15 digits, as PostgreSQL makes it. -0 is 0, and every NaN is one.
- Floats are their bits, so that no text of one rounds it. A moment is the microseconds since 1970 (and what is finer),
  whatever zone it is written in; one without a zone is read in the column's, else in that of the catalogue.
- Of json neither the order of keys nor white space counts, nor a key that is given again later; a number's scale does.
- Texts are their letters, as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from inventories.catalog.tables import Column
from runbooks.table_copy.names import literal, quoted

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_WHOLE = ("smallint", "integer", "bigint", "tinyint", "int")
_FLOATS = {"real": ">f", "float": ">f", "double precision": ">d", "double": ">d"}
_MOMENTS = ("timestamptz", "timestamp")
_TRUE, _FALSE = (True, 1, "t", "true", "1"), (False, 0, "f", "false", "0")
_EXACT = Context(prec=1000)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?\s*(Z|[+-]\d\d(?::?\d\d)?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoValue(Exception):  # noqa: N818
    """This is no value of the column's type, so nobody can tell whether it is the same one."""


def expression(column: Column) -> str:
    """SQL: the text of a column of PostgreSQL, NULL for NULL. TimeZone is UTC, DateStyle ISO."""
    name = quoted(column.name)
    if _NUMERIC.fullmatch(column.type):
        return f"trim_scale({name})::text"
    if column.type in _FLOATS:
        sent = "float4send" if _FLOATS[column.type] == ">f" else "float8send"
        kind = "real" if sent == "float4send" else "double precision"
        return f"CASE WHEN {name} = 'NaN' THEN 'nan' ELSE encode({sent}(({name} + 0::{kind})::{kind}), 'hex') END"
    if column.type == "boolean":
        return f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END"
    if column.type in _MOMENTS:
        since = f"(extract(epoch FROM {name}) * 1000000)::bigint::text"
        return f"CASE WHEN isfinite({name}) THEN {since} ELSE {name}::text END"
    return f"{name}::text"


def text(column: Column, value: Any, zone: str | None) -> str | None:
    """The same of a value of another store. `zone`: of the catalogue, for times without one. Raises NoValue."""
    if value is None:
        return None
    try:
        return _KINDS.get(column.type, _other)(column, value, zone)
    except (ValueError, TypeError, ArithmeticError, OverflowError, struct.error) as error:
        why = str(error) or type(error).__name__
        raise NoValue(f"{column.name} is {value!r}, which is no {column.type}: {why}") from error


def _other(column: Column, value: Any, _zone: str | None) -> str:
    found = _NUMERIC.fullmatch(column.type)
    return _numeric(value, int(found[2])) if found else _letters(value)


def _letters(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__}")
    return value


def _whole(_column: Column, value: Any, _zone: str | None) -> str:
    number = Decimal(str(value)) if not isinstance(value, int) else Decimal(int(value))
    if number != number.to_integral_value():
        raise ValueError("it has a fraction")
    return str(int(number))


def _numeric(value: Any, scale: int) -> str:
    number = Decimal(format(value, ".15g")) if isinstance(value, float) else Decimal(str(value))
    if number.is_nan():
        return "NaN"
    if number.is_infinite():
        return "Infinity" if number > 0 else "-Infinity"
    rounded = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _EXACT)
    return trimmed(format(rounded, "f"))


def trimmed(number: str) -> str:
    """Without zeros at the end of a fraction; -0 is 0."""
    short = number.rstrip("0").rstrip(".") if "." in number else number
    return "0" if short in ("-0", "") else short


def _float(column: Column, value: Any, _zone: str | None) -> str:
    number = float(value)
    if math.isnan(number):
        return "nan"
    return struct.pack(_FLOATS[column.type], number + 0.0).hex()


def _boolean(_column: Column, value: Any, _zone: str | None) -> str:
    if value in _TRUE:
        return "t"
    if value in _FALSE:
        return "f"
    raise ValueError("it is neither true nor false")


def _date(_column: Column, value: Any, _zone: str | None) -> str:
    if isinstance(value, datetime):
        raise TypeError("a moment")
    if isinstance(value, date):
        return value.isoformat()
    return value if value in ("infinity", "-infinity") else date.fromisoformat(value).isoformat()


def _moment(column: Column, value: Any, zone: str | None) -> str:
    if value in ("infinity", "-infinity"):
        return str(value)
    whole, finer = divmod(_nanoseconds(value, column.zone or zone), 1000)
    return f"{whole}.{finer:03d}" if finer else str(whole)


def _nanoseconds(value: Any, zone: str | None) -> int:
    """Since 1970. An integer is that already, as TDengine and an export of it have it."""
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return (_placed(value, zone) - _EPOCH) // timedelta(microseconds=1) * 1000
    found = _INSTANT.fullmatch(value)
    if found is None:
        raise ValueError("it is written as none")
    offset = found[4] or ""
    if len(offset) == 3:
        offset += ":00"
    at = datetime.fromisoformat(f"{found[1]}T{found[2]}{offset}")
    return (_placed(at, zone) - _EPOCH) // timedelta(seconds=1) * 10**9 + int((found[3] or "").ljust(9, "0"))


def _placed(at: datetime, zone: str | None) -> datetime:
    if at.tzinfo is not None:
        return at
    if zone is None:
        raise ValueError("it has no zone, and the catalogue names none")
    return at.replace(tzinfo=ZoneInfo(zone))


def _json(_column: Column, value: Any, _zone: str | None) -> str:
    said = value if isinstance(value, str) else json.dumps(value)
    return _said(json.loads(said, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is none in json")


def _said(value: Any) -> str:
    """As jsonb has it: keys by their length and bytes, a number as a numeric with its scale."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_said(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_said, value)) + "]"
    if isinstance(value, Decimal):
        number = format(value, "f")
        return number.removeprefix("-") if value == 0 else number
    return json.dumps(value, ensure_ascii=False)


_KINDS: Mapping[str, Callable[[Column, Any, str | None], str]] = {
    **dict.fromkeys(_WHOLE, _whole), **dict.fromkeys(_FLOATS, _float), **dict.fromkeys(_MOMENTS, _moment),
    "boolean": _boolean, "bool": _boolean, "date": _date, "jsonb": _json,
}  # fmt: skip


def shown(column: Column | None, said: str | None) -> str:
    """For people, what a text stands for."""
    if said is None or column is None or not said:
        return "NULL" if said is None else repr(said)
    if column.type in _MOMENTS and not said.endswith("infinity"):
        whole, _, finer = said.partition(".")
        return f"{_EPOCH + timedelta(microseconds=int(whole)):%Y-%m-%d %H:%M:%S.%f}{finer}+00"
    if column.type in _FLOATS and said != "nan":
        return repr(struct.unpack(_FLOATS[column.type], bytes.fromhex(said))[0])
    return said


def row_expression(columns: Iterable[Column]) -> str:
    """SQL: the text of a row, from which its hash is made."""
    parts = (
        f"coalesce({literal(f'{column.name}=')} || octet_length({expression(column)}) || ':' || "
        f"{expression(column)} || ';', '')"
        for column in sorted(columns, key=lambda one: one.name)
    )
    return " || ".join(parts)


def row(texts: Mapping[str, str | None]) -> str:
    """The same of texts by column."""
    parts = (f"{name}={len(said.encode())}:{said};" for name, said in sorted(texts.items()) if said is not None)
    return "".join(parts)


def halves(said: str) -> tuple[int, int]:
    """128 bits of a row's text: two numbers, as PostgreSQL reads the halves of an md5 as bigint."""
    one = hashlib.md5(said.encode(), usedforsecurity=False).digest()
    return int.from_bytes(one[:8], signed=True), int.from_bytes(one[8:], signed=True)


def sums_expression(said: str) -> str:
    """SQL: two sums over rows, of the halves of the md5 of their text, as texts."""
    return ", ".join(
        f"coalesce(sum(('x' || substr(md5({said}), {first}, 16))::bit(64)::bigint::numeric), 0)::text AS {name}"
        for name, first in (("one", 1), ("other", 17))
    )


__all__ = ["NoValue", "expression", "halves", "row", "row_expression", "shown", "sums_expression", "text", "trimmed"]
