"""Declared maintenance: from when no watch acts until it ends, which it does by itself."""

from __future__ import annotations

import re
from typing import Any

from inventories.errors import BadInput
from runbooks.engine import process
from runbooks.hosts import Estate
from runbooks.watch.desk import call

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_LONGEST_S = 7 * 86400
_HOW = "./dr watch.maintenance --for 2h --reason 'a new disk in pg1'; --end ends it"


def seconds(text: str) -> int:
    """`90s`, `30min`, `2h` or `1d`. Raises BadInput."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})(s|min|h|d)", text.strip())
    if not found:
        raise BadInput(f"{text!r} is no length of time", f"90s, 30min, 2h or 1d: {_HOW}")
    length = int(found[1]) * _UNITS[found[2]]
    if length > _LONGEST_S:
        raise BadInput(f"maintenance of {text} is longer than 7 days", "declare it again when the time is over")
    return length


def declare(estate: Estate, length: str, reason: str) -> dict[str, Any]:
    """Raises BadInput for one without an end or without a reason, Refused and others where it cannot be kept."""
    if not length:
        raise BadInput("a maintenance without an end is one that somebody forgets, and no watch would act again", _HOW)
    if not reason.strip():
        raise BadInput(
            "whoever is woken by the watch needs to read why it does nothing, and there is no --reason", _HOW
        )
    request = {"for_s": seconds(length), "reason": reason.strip(), "by": process.user_at_machine()}
    return call(estate.backup, "declare", request)


def end(estate: Estate) -> dict[str, Any]:
    return call(estate.backup, "end", {})


def told(notes: dict[str, Any]) -> str:
    """What is declared, in one sentence."""
    declared = notes["maintenance"]
    if not declared:
        return "No maintenance is declared: a watch that may act does."
    minutes = max(1, round(declared["left_s"] / 60))
    return f"Maintenance for {minutes} min more: {declared['reason']} ({declared['by']}, since {declared['since']})."
