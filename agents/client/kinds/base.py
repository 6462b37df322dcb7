"""What the kinds share: a value that a column cannot hold, a gap, a scalar of numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from reprlib import Repr
from typing import Any

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 40
_LONG = 10**40
NULL = "\\N"
MAX_BYTES = 64 << 20  # of one value: a batch has to fit into one record of the outbox


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


def is_missing(value: object) -> bool:
    """None, and what pandas and numpy have for it: NaT and NA. NaN is judged by the column's rule."""
    kind = type(value).__name__
    return value is None or kind in ("NaTType", "NAType") or (kind == "datetime64" and value != value)


def is_nan(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return (isinstance(value, float) or type(value).__name__ in ("float16", "float32")) and value != value


def shown(value: object) -> str:
    """Short, however large it is."""
    if isinstance(value, int) and abs(value) >= _LONG:
        return f"a number of {value.bit_length()} bits"  # Python refuses to write out what is larger still
    return _SHORT.repr(value[:_SHORT.maxother] if isinstance(value, (bytes, bytearray)) else value)


def plain(value: Any) -> Any:
    """A scalar of numpy as Python's own, a member of an enumeration as its value; everything else as it is."""
    if isinstance(value, Enum):  # before all else: str() of a member that is a text names the member
        return plain(value.value)
    kind = type(value)
    if kind.__module__ != "numpy":
        return value
    if kind.__name__ == "datetime64":
        return _of_numpy(value)
    return value.item() if hasattr(value, "item") else value


def _of_numpy(value: Any) -> Any:
    """Its moment, with the nanoseconds that a datetime has no room for."""
    moment = value.astype("datetime64[us]")
    if not isinstance(moment.item(), datetime):  # beyond the year 9999 numpy hands out a number
        raise Wrong(f"is {shown(str(value))}, which is no time")
    beyond = int((value - moment).astype("timedelta64[ns]").astype("int64"))
    return Precise(moment.item(), beyond) if beyond else moment.item()


def unlike(value: object, wanted: str) -> Wrong:
    return Wrong(f"is {type(value).__name__} {shown(value)}, not {wanted}")
