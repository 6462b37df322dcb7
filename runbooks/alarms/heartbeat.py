"""The dead man's switch: a sign of life after each look that was kept; who misses it knows that nobody alarms.

A sign is a GET of a URL of somebody outside, or the time in a file that an outside job reads. Application hosts get
one each minute, and say themselves when it stays away (agents/alarms/heard.py).
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from inventories.errors import BadInput, DrError
from runbooks import files
from runbooks.hosts import Host

_ANSWER_S = 10.0
_TOUCH = "touch /var/lib/mystocks-dr/heard/beat"
_TOUCH_EVERY_S = 60.0


class Heartbeat:
    """`say` hears, once, of a sign that nobody takes."""

    def __init__(self, targets: Sequence[str], say: Callable[[str], None], listeners: Sequence[Host] = ()) -> None:
        for target in targets:
            if not target.startswith(("https://", "http://", "/")):
                raise BadInput(
                    f"alarm_heartbeat has {target!r}, which is neither a URL nor the path of a file",
                    "give https://..., or a path that begins with /",
                )
        self._targets, self._say, self._listeners = tuple(targets), say, tuple(listeners)
        self._touched = float("-inf")
        self._thread: threading.Thread | None = None
        self._failing: set[str] = set()

    def beat(self, at: float) -> None:
        """In a thread: an outside host that hangs keeps nobody from alarming."""
        if (self._targets or self._listeners) and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._go, args=(at,), name="heartbeat", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def _go(self, at: float) -> None:
        self._touch()
        for target in self._targets:
            try:
                _sign(target, at)
                self._failing.discard(target)
            except (OSError, ValueError) as error:
                if target not in self._failing:
                    self._say(f"WARNING: nobody takes the sign of life at {target.partition('?')[0]}: {error}")
                self._failing.add(target)

    def _touch(self) -> None:
        """A host that does not answer is a finding of its own."""
        if time.monotonic() - self._touched < _TOUCH_EVERY_S:
            return
        self._touched = time.monotonic()
        for host in self._listeners:
            with suppress(DrError):
                if host.reachable():
                    host.run(_TOUCH, timeout=_ANSWER_S)


def _sign(target: str, at: float) -> None:
    if target.startswith("/"):
        files.put(Path(target), f"{at:.0f}\n")
        return
    with urllib.request.urlopen(target, timeout=_ANSWER_S) as answer:  # noqa: S310 - http and https alone come here
        answer.read(1024)
