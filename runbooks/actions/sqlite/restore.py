"""Restore a SQLite database on its host, and stop and start what has it open."""

from __future__ import annotations

from typing import Any

from runbooks import agent
from runbooks.hosts import Host
from runbooks.layout import SQLITE_PROGRAM, SQLITE_USER
from runbooks.long_work.work import Asker


def restore(host: Host, name: str, words: tuple[str, ...], asker: Asker) -> dict[str, Any]:
    """Build it beside, check it, put it in its place and keep the old one; `words` name target and table.

    What the program printed. As long work. Raises BadInput where no backup leads there, Refused naming who has it open,
    TargetFailed with the old one back; nothing between old and new, however it ends.
    """
    return _done(host, name, words, "restore", asker)


def build(host: Host, name: str, words: tuple[str, ...], asker: Asker) -> dict[str, Any]:
    """The same without putting it there: it ends before the swap."""
    return _done(host, name, (*words, "--plan"), "build", asker)


def _done(host: Host, name: str, words: tuple[str, ...], kind: str, asker: Asker) -> dict[str, Any]:
    on = f"sqlite-{name.replace('_', '-')}"
    wanted = agent.work(SQLITE_PROGRAM, "--name", name, *words, on=on, kind=kind, user=SQLITE_USER)
    said: dict[str, Any] = agent.run_work(host, wanted, asker).json()
    return said


def stop(host: Host, units: tuple[str, ...], timeout: float) -> None:
    """Harmless when repeated."""
    if units:
        host.run("systemctl stop" + " %s" * len(units), *units, timeout=timeout)


def start(host: Host, units: tuple[str, ...], timeout: float) -> None:
    """Also one that failed too often meanwhile."""
    if units:
        words = " %s" * len(units)
        host.run(f"systemctl reset-failed{words} 2>/dev/null; systemctl start{words}", *units, *units, timeout=timeout)
