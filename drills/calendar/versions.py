"""Versions of what serves and restores, as upstream numbers them: a distribution's own revision makes no difference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_PACKAGED_FOR = re.compile(r"-\d+(?=-|$)")  # postgresql-17, postgresql-17-timescaledb
_UPSTREAM = re.compile(r"(?:\d+:)?([^-+~ ]+)")


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...] | None:
    """What is of another version now, by name; None where nothing can be compared."""
    before, after = _plain(then), _plain(now)
    common = [name for name in before if name in after]
    return tuple(_differ(common, before, after)) if common else None


def _differ(names: list[str], before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        if before[name] != after[name]:
            yield f"{name} was {before[name]}, is {after[name]}"


def _plain(packages: Mapping[str, str]) -> dict[str, str]:
    """Name without the major version in it -> upstream's version."""
    return {_PACKAGED_FOR.sub("", name): _upstream(version) for name, version in packages.items()}


def _upstream(version: str) -> str:
    found = _UPSTREAM.match(version)
    return found[1] if found else version
