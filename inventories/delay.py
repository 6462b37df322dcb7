"""Delayed standbys: `apply_delay` of a host, which keeps the last hour, or day, within reach of a restore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inventories.errors import BadInput

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DELAY = re.compile(rf"([0-9]{{1,9}}) ?({'|'.join(_UNITS)})")
_MOST_S = 24 * 86400  # recovery_min_apply_delay counts milliseconds in 31 bits
EXAMPLE = '"apply_delay": "1h" (units: s, min, h, d)'


def seconds(text: str) -> int:
    """`1h` as 3600; no delay is 0. The text was checked when the inventory was read."""
    match = _DELAY.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else 0


def declared(path: Path, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """What a host's entry says, with `synchronous` as a delay implies it. Raises BadInput for a delay that is none."""
    said = data.get("apply_delay")
    if said is None:
        return data
    match = _DELAY.fullmatch(said) if isinstance(said, str) else None
    if match is None:
        raise BadInput(
            f"{path}: apply_delay of {name} is {said!r}, and a delay is a whole number with its unit", EXAMPLE
        )
    if not 0 < seconds(said) <= _MOST_S:
        raise BadInput(
            f"{path}: apply_delay of {name} is {said!r}, and a standby can be behind by 1 s to {_MOST_S // 86400} d",
            f"{EXAMPLE}; without apply_delay it is a standby as the others",
        )
    if data.get("synchronous", False):
        raise BadInput(
            f"{path}: {name} is synchronous and has an apply_delay, and no commit can wait for what is put off",
            "leave `synchronous` off it; a delayed standby is never waited for and never promoted",
        )
    return {**data, "synchronous": False}


def check(path: Path, delayed: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]) -> None:
    """Raises BadInput where a host is delayed that is no standby, or none is left that a commit could wait for."""
    standbys = groups.get("pg_standby", ())
    for name, text in delayed.items():
        if name not in standbys:
            raise BadInput(
                f"{path}: {name} has an apply_delay, {text}, and is in no group pg_standby",
                "only a standby can be behind: take apply_delay off it, or put it into pg_standby",
            )
    if delayed and set(standbys) <= set(delayed):
        raise BadInput(
            f"{path}: every standby ({', '.join(standbys)}) is delayed, so no commit could wait for one and every loss "
            "of the primary would lose rows",
            "leave apply_delay off one of them, or add a standby without it",
        )
