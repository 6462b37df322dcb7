"""`./dr status --watch`: look after look, drawn over each other on a terminal, one below the other elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doors.support import screen
from inventories.errors import BadInput

if TYPE_CHECKING:
    from rich.console import RenderableType

LEAST_S = 1.0
_USUAL_S = 2.0


@dataclass(frozen=True)
class Look:
    """One look as it is shown; `line` is the same as one line of JSON, `failed` whether anything is not as promised."""

    shown: RenderableType
    line: str
    failed: bool


def seconds(every: str) -> float:
    """From one look's beginning to the next. Raises BadInput for what hosts would be asked too often with."""
    try:
        asked = float(every) if every else _USUAL_S
    except ValueError:
        raise BadInput(f"--every {every} is no number of seconds", "--every 5 looks every five seconds") from None
    if not LEAST_S <= asked <= 86400:
        raise BadInput(f"a look every {every} s is none that can be had", f"{LEAST_S:g} s is the least")
    return asked


def watch(look: Callable[[], Look], every_s: float, json: bool) -> bool:
    """Until it is interrupted, which is how it ends; whether anything was not as promised at the last look."""
    last: list[Look] = []

    def seen() -> Look:
        last[:] = [look()]
        return last[0]

    try:
        if json:
            _on(every_s, lambda: print(seen().line, flush=True))
        elif screen().is_terminal:
            _drawn(seen, every_s)
        else:
            _on(every_s, lambda: screen().print(_headed(seen(), every_s), "", highlight=False))
    except KeyboardInterrupt:
        if last and not json and screen().is_terminal:  # what was drawn over the terminal's own lines is gone with them
            screen().print(last[0].shown, highlight=False)
    return bool(last) and last[0].failed


def _on(every_s: float, do: Callable[[], object]) -> None:
    never = threading.Event()
    while True:
        began = time.monotonic()
        do()
        never.wait(max(0.0, every_s - (time.monotonic() - began)))


def _drawn(seen: Callable[[], Look], every_s: float) -> None:
    from rich.live import Live

    console = screen(highlight=False)
    with Live("looking ...", console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        _on(every_s, lambda: live.update(_headed(seen(), every_s), refresh=True))


def _headed(one: Look, every_s: float) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    now = time.strftime("%H:%M:%S", time.gmtime())
    return Group(Text(f"{now} UTC, every {every_s:g} s; ctrl-c ends", style="dim"), one.shown)
