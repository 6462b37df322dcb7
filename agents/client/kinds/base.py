"""What the kinds share: a value that a column cannot hold, a gap, a scalar of numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from reprlib import Repr
from typing import Any

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 40
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
    """None, and what pandas has for it: NaT and NA. NaN is judged by the column's rule."""
    return value is None or type(value).__name__ in ("NaTType", "NAType")


def is_nan(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return (isinstance(value, float) or type(value).__name__ in ("float16", "float32")) and value != value


def shown(value: object) -> str:
    """Short, however large it is."""
    return _SHORT.repr(value)


def plain(value: Any) -> Any:
    """A scalar of numpy as Python's own; everything else as it is."""
    kind = type(value)
    if kind.__module__ != "numpy":
        return value
    if kind.__name__ == "datetime64":
        return value.astype("datetime64[us]").item()
    return value.item() if hasattr(value, "item") else value


def unlike(value: object, wanted: str) -> Wrong:
    return Wrong(f"is {type(value).__name__} {shown(value)}, not {wanted}")
