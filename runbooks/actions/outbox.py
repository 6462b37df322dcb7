"""Decide about dead letters of an outbox, and about its replayer's pace. Each deed is in the outbox's own journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from runbooks.agent import ask
from runbooks.hosts import Host

ASK_S = 60.0
AT_ONCE = 5000  # numbers on one command line


class Box(Protocol):
    """One outbox: its host, and the settings there of the store that it is for."""

    @property
    def host(self) -> Host: ...
    @property
    def config(self) -> str: ...


def edit(
    box: Box, number: int, values: Mapping[str, str | None], event: int | None, reason: str
) -> Mapping[str, str | None]:
    """Give a row other values; the row as it is now. Raises BadInput."""
    words: list[object] = ["edit", number, f"--reason={reason}", *([] if event is None else [f"--event={event}"])]
    words += [f"--null={name}" if value is None else f"--set={name}={value}" for name, value in values.items()]
    now: Mapping[str, str | None] = _said(box, words)  # type: ignore[assignment]
    return now


def retry(box: Box, numbers: Sequence[int], table: str, as_: str, reason: str) -> tuple[int, Sequence[int]]:
    """Put letters back into the queue (all, when none is named): how many, and those too damaged to be."""
    said = _said(box, ["retry-dead", *numbers, f"--reason={reason}", *_table(table), *([f"--as={as_}"] if as_ else [])])
    return int(str(said["retried"])), [int(str(one)) for one in said["damaged"]]  # type: ignore[attr-defined]


def discard(box: Box, numbers: Sequence[int], reason: str) -> int:
    """Give letters up."""
    done = 0
    for first in range(0, len(numbers), AT_ONCE):
        words = ["discard", *numbers[first : first + AT_ONCE], f"--reason={reason}"]
        done += int(str(_said(box, words)["discarded"]))
    return done


def bury(box: Box, table: str, reason: str) -> int:
    """What waits for this table becomes dead letters."""
    return int(str(_said(box, ["bury", *_table(table), f"--reason={reason}"])["buried"]))


def adopt(box: Box, timeout: float) -> int:
    """Take over what a lost outbox of this host left on another host; how many records."""
    said = ask(
        box.host, "writing.outbox_cli", "--config", box.config, "adopt", user="mystocks", timeout=timeout
    )
    return int(said["adopted"])


def pace(box: Box, rows_per_s: float, gentle: bool) -> None:
    """How fast its replayer goes until the outbox is empty; 0 is no limit."""
    _said(box, ["pace", f"--rows-per-s={rows_per_s}", *(["--gentle"] if gentle else [])])


def usual_pace(box: Box) -> None:
    """As its settings say."""
    _said(box, ["pace"])


def _table(table: str) -> list[object]:
    return [f"--table={table}"] if table else []


def _said(box: Box, words: Sequence[object]) -> Mapping[str, object]:
    found: Mapping[str, object] = ask(
        box.host, "writing.outbox_cli", "--config", box.config, *words, user="mystocks", timeout=ASK_S
    )
    return found
