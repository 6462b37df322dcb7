"""What a message says: readable on a pager's one line, with the command below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inventories.catalog.alarms import Severity
from runbooks.judge.objectives import duration
from runbooks.probes.durations import utc

FIRES, RESOLVED, ESCALATED = "fires", "resolved", "escalated"
_TITLES = {FIRES: "{severity}", RESOLVED: "RESOLVED", ESCALATED: "ESCALATED {severity}"}


def title(estate: str, what: str, alarm: Mapping[str, Any]) -> str:
    word = _TITLES[what].format(severity=Severity(alarm["severity"]).name)
    return f"[{word}] {estate}: {_first_part(alarm['says'])}"


def body(estate: str, what: str, alarm: Mapping[str, Any], now: float) -> str:
    """The sentence, since when, what to run, and how to answer."""
    lines = [f"{alarm['says'].rstrip('.')}."]
    if what == RESOLVED:
        lasted = duration(max(0.0, now - alarm["first_at"]))
        lines = [f"It is over: {lines[0]}", f"It was so from {utc(alarm['first_at'])} to {utc(now)}, {lasted}."]
    else:
        lines.append(f"Since {utc(alarm['first_at'])}.")
        if what == ESCALATED:
            lines.append(f"Nobody has acknowledged it for {duration(max(0.0, now - alarm['told_at']))}.")
        if alarm["hint"]:
            lines.append(f"What to run: {alarm['hint']}")
        lines.append(f"./dr alarms.ack {alarm['id']} says that somebody is at it.")
    lines.append(f"Alarm {alarm['id']} of {estate}, rule {alarm['rule']}; {what}.")
    return "\n".join(lines)


def _first_part(says: str) -> str:
    """A title of at most a hundred characters."""
    return says if len(says) <= 100 else f"{says[:99]}…"
