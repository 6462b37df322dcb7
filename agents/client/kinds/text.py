"""Texts and JSON documents."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from agents.client.kinds.base import MAX_BYTES, Kind, Wrong, plain, shown, unlike
from agents.writing.batch import ESCAPES

DIGITS, DECIMALS = 131_072, 16_383  # of PostgreSQL's numeric
_SPECIAL = re.compile(r"[\\\t\n\r\b\f\v]")
_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def text(most: int | None, in_bytes: bool, allowed: frozenset[str]) -> Kind:
    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise Wrong("is bytes, not text: decode it")
        if not isinstance(value, str):
            raise unlike(value, "text")
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
            raise Wrong(f"is {shown(value)}, none of {', '.join(sorted(allowed))}")
        return str.translate(value, ESCAPES)

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


def document() -> Kind:
    def one(value: Any) -> str:
        value = plain(value)
        if isinstance(value, str) and len(value) > MAX_BYTES:
            raise _too_large(len(value), "characters")
        try:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
            if len(text) > MAX_BYTES:
                raise _too_large(len(text), "characters")
            known = _read(text) if isinstance(value, str) else value
            size = len(text.encode())
            json.dumps(known, ensure_ascii=False).encode()  # an escaped half of a pair is no character either
        except UnicodeEncodeError as error:
            raise Wrong(f"holds a text that is no valid Unicode: {error.reason}") from None
        except RecursionError:
            raise Wrong("is nested too deeply") from None
        except Wrong:
            raise
        except (TypeError, ValueError) as error:
            raise Wrong(f"is no JSON: {str(error).rstrip('.')}") from None
        if "\0" in text or _NUL_IN_JSON.search(text):
            raise Wrong("holds a NUL character")
        if size > MAX_BYTES:
            raise _too_large(size, "bytes")
        return text.translate(ESCAPES)

    return Kind(one, lambda types, values: None)


def _too_large(size: int, unit: str) -> Wrong:
    return Wrong(f"is a document of {size} {unit}, {MAX_BYTES} are the most for one value")


def _read(text: str) -> Any:
    """Its texts as they are, its numbers only judged: they reach the store as they are written."""
    return json.loads(text, parse_constant=_no_constant, parse_float=_fits, parse_int=_fits)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _fits(number: str) -> int:
    """JSON bounds no number; PostgreSQL keeps those of a document as numeric. Raises Wrong."""
    try:
        exact = Decimal(number)
    except InvalidOperation:  # more than a decimal can say, let alone the store
        exact = Decimal("Infinity")
    exponent = exact.as_tuple().exponent
    sure = isinstance(exponent, int) and -exponent <= DECIMALS
    if not sure or (exact and exact.adjusted() >= DIGITS):
        short = number if len(number) <= 40 else f"{number[:20]}...{number[-10:]}"
        raise Wrong(f"holds the number {short}, {DIGITS} digits before and {DECIMALS} after the point are the most")
    return 0
