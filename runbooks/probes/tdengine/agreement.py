"""Which fills and bars have no tick of their symbol near them, asked on the backup host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from inventories.errors import TargetFailed
from runbooks.agent import ask
from runbooks.hosts import Host

Minute = tuple[str, int]  # a symbol, and minutes since 1970


@dataclass(frozen=True)
class Wanted:
    """`first` and `last` are unix seconds; `ticks` and `bars` supertables with their database, bars empty for none."""

    first: int
    last: int
    ticks: str
    within_min: int
    symbol: str
    symbols: str
    fills: Sequence[Minute]
    bars: str = ""
    traded: str = ""


@dataclass(frozen=True)
class Lacking:
    """So many were looked at, so many have no tick near them; `some` of those, the earliest."""

    looked: int
    lacks: int
    some: tuple[Minute, ...]


def look(backup: Host, wanted: Wanted, timeout: float) -> tuple[Lacking, Lacking]:
    """Of fills, each a symbol's minute, and of bars. Raises DrError."""
    request = {
        "from": wanted.first, "to": wanted.last, "ticks": wanted.ticks, "within": wanted.within_min,
        "symbol": wanted.symbol, "symbols": wanted.symbols, "fills": [*wanted.fills], "bars": wanted.bars or None,
        "traded": wanted.traded,
    }  # fmt: skip
    said = ask(backup, "validation.agreement", timeout=timeout, stdin=json.dumps(request))
    try:
        fills, bars = (
            Lacking(int(one["looked"]), int(one["lacks"]), tuple((str(name), int(at)) for name, at in one["some"]))
            for one in (said["fills"], said["bars"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TargetFailed(f"{backup} told no agreement: {error!r}", "./dr deploy brings the agents") from error
    return fills, bars
