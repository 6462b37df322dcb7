"""TDengine's spans of time (`90m`, `48h`, `3650d`) and KEEP, which has up to three: one for each tier of storage.

Rows live until the longest of the three. The catalogue reads the same text in inventories/catalog/tdengine/shape.py,
because agents import nobody and nobody below a runbook imports an agent; a test holds the two together.
"""

from __future__ import annotations

from agents.base.errors import AgentError

_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def seconds(span: str) -> int:
    """A number alone counts days. Raises AgentError for what is none."""
    number, unit = (span[:-1], span[-1:]) if span[-1:] in _SECONDS else (span, "d")
    if not number.strip().isdigit():
        raise AgentError(f"{span!r} is no span of time of TDengine's.", "It is a number and m, h or d.")
    return int(number) * _SECONDS[unit]


def in_hours(n: int) -> str:
    """So many, for people."""
    return "1 hour" if n == 1 else f"{n} hours"


def longest(keep: str) -> str:
    """The span for which a database with this KEEP has its rows. Raises AgentError."""
    return max((one.strip() for one in keep.split(",")), key=seconds)
