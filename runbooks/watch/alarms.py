"""Alarms of the watch: told by the backup host's own alarm command, in a thread, so that nobody waits for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from runbooks import agent
from runbooks.hosts import Host

_ALARM_S = 60.0  # an alarm command has half of that


class Alarms:
    """`told` hears of an alarm that nobody could be told."""

    def __init__(self, host: Host, told: Callable[[str], None]) -> None:
        self._host, self._told = host, told
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._go, name="alarms", daemon=True)
        self._thread.start()

    def ring(self, sentence: str) -> None:
        self._waiting.put(sentence)

    def end(self) -> None:
        """After the last one has been told, or has failed."""
        self._waiting.put(None)
        self._thread.join(_ALARM_S)

    def _go(self) -> None:
        while (sentence := self._waiting.get()) is not None:
            try:
                agent.run(self._host, "jobs.raising", timeout=_ALARM_S, stdin=f"The watch: {sentence}\n")
            except Exception as error:  # of whatever kind: the next alarm is to be told
                with suppress(OSError):
                    self._told(f"WARNING: nobody could be told by the alarm command of {self._host}: {error}")
