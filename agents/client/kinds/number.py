"""Numbers and yes or no."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Context, Decimal, InvalidOperation
from operator import index
from typing import Any

from agents.client.kinds.base import Kind, Wrong, plain, shown, unlike

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_WHOLE = re.compile(r"[+-]?\d{1,20}")
_EXACT = Context(prec=1200, traps=[InvalidOperation])
REAL_MAX = 3.4028234663852886e38
REAL_LEAST = 7.1e-46  # less becomes nothing, which PostgreSQL refuses


def integer(bits: int) -> Kind:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool):
            raise unlike(value, "a whole number")
        try:
            number = index(value)
        except TypeError:
            raise unlike(value, "a whole number") from None
        if not low <= number <= high:
            raise Wrong(f"is {shown(number)}, outside {low} to {high}")
        return str(number)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {int} and low <= min(values) and max(values) <= high:
            return list(map(str, values))
        return None

    return Kind(one, many)


def floating(single: bool, infinite: bool) -> Kind:
    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, str):
            if value in ("Infinity", "-Infinity"):  # what has no number of its own in JSON
                return one(float(value))
            if not _NUMBER.fullmatch(value):
                raise unlike(value, "a number")
            number = float(value)
            if not math.isfinite(number) or (number == 0 and re.search("[1-9]", re.split("[eE]", value)[0])):
                raise Wrong(f"is {value}, out of range")
            return one(number)
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise unlike(value, "a number")
        try:
            number = float(value)
        except OverflowError:
            raise Wrong(f"is {shown(value)}, out of range") from None
        if number != number:
            return "NaN"
        if math.isinf(number):
            if not infinite or not isinstance(value, float):
                raise Wrong("is infinite")
            return "Infinity" if number > 0 else "-Infinity"
        if single and (abs(number) > REAL_MAX or 0 < abs(number) < REAL_LEAST):
            raise Wrong(f"is {number}, out of range of a single-precision number")
        return str(int(value)) if isinstance(value, int) else repr(number)

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types != {float} or single or not all(map(math.isfinite, values)):
            return None
        return list(map(repr, values))

    return Kind(one, many)


def numeric(precision: int, scale: int) -> Kind:
    bound = Decimal(10) ** (precision - scale)
    sure = max(10.0 ** min(precision - scale, 300) - 1, 0.0)
    quantum = Decimal(1).scaleb(-scale)

    def one(value: Any) -> str:
        value = plain(value)
        exact = not isinstance(value, float)
        if isinstance(value, str):
            if not _NUMBER.fullmatch(value):
                raise unlike(value, "a number")
            number = Decimal(value)
        elif isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise unlike(value, "a number")
        else:
            number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if number.is_infinite():
            raise Wrong("is infinite")
        if abs(number) >= bound:
            raise Wrong(f"is {shown(value)}, numeric({precision},{scale}) holds less than {bound:f}")
        # Beyond the precision of the context there is nothing but zeros.
        rounded = number.quantize(quantum, context=_EXACT)
        if abs(rounded) >= bound:
            raise Wrong(f"is {shown(value)}, which rounds to more than numeric({precision},{scale}) holds")
        if exact and rounded != number:
            # A float is never exact and is rounded, as the store would; an exact number is not changed in silence.
            raise Wrong(f"is {shown(value)}, numeric({precision},{scale}) keeps {scale} decimals")
        return f"{rounded:f}"

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        if types == {float}:
            if all(map(math.isfinite, values)) and -sure < min(values) and max(values) < sure:
                return list(map(repr, values))
        elif types == {int} and -sure < min(values) and max(values) < sure:
            return list(map(str, values))
        return None

    return Kind(one, many)


def boolean() -> Kind:
    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, (bool, int, float)) and value in (0, 1):
            return "t" if value else "f"
        raise unlike(value, "true or false")

    def many(types: set[type], values: Sequence[Any]) -> Sequence[str] | None:
        return ["t" if value else "f" for value in values] if types == {bool} else None

    return Kind(one, many)
