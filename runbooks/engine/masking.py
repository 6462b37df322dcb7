"""Secrets stay wrapped; where text is written anyway, their values are replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

MASK = "**********"  # what pydantic writes for a wrapped value


def secrets_in(value: object) -> Iterator[str]:
    """Every wrapped secret's plain text inside models, dataclasses, mappings and sequences."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    else:
        for inner in _parts(value):
            yield from secrets_in(inner)


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, BaseModel):
        yield from (inner for _name, inner in value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, field.name) for field in fields(value))
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value


class Mask:
    """Knows the secrets it has met, and takes them out of text and of JSON data."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, *values: object) -> None:
        """Remember every secret inside the values."""
        for value in values:
            self._known.update(secret for secret in secrets_in(value) if secret and secret != MASK)

    def text(self, text: str) -> str:
        """The text without any known secret; the longest first, since one may contain another."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def data(self, value: Any) -> Any:
        """The JSON value with `text` applied to every string in it."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.data(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(inner) for inner in value]
        return value
