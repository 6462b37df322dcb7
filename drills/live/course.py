"""course.jsonl: what a running drill says of itself, a line each, beside its ledger.

The first line says what is drilled and by which process; then each phase as it begins, and each sentence.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from runbooks.engine.process import started_at

FILE = "course.jsonl"
_CLOSES_S = 1.0


@dataclass(frozen=True)
class Header:
    """What is drilled. `at`: monotonic seconds of this machine; `pid` and `born` tell its process from a later one."""

    at: float
    run: str
    scenario: str
    summary: str
    twin: str
    pid: int
    born: str


class Writer:
    """Of the drill that this process runs. A thread of its own writes: no drill waits for this file, and none ends
    because of it. `marks` are its phases so far, as (name, moment).
    """

    def __init__(self, folder: Path, scenario: str, summary: str, twin: str = "") -> None:
        self.head = Header(time.monotonic(), folder.name, scenario, summary, twin, os.getpid(), started_at(os.getpid()))
        self.marks: list[tuple[str, float]] = []
        self.over = False
        self._path = folder / FILE
        self._lines: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._lines.put(asdict(self.head))
        self._thread = threading.Thread(target=self._keep, name="course", daemon=True)
        self._thread.start()

    def mark(self, name: str, at: float) -> None:
        self.marks.append((name, at))
        self._lines.put({"at": at, "mark": name})

    def hearing(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Whatever is said is written, too."""

        def aloud(sentence: str) -> None:
            self._lines.put({"at": time.monotonic(), "says": sentence})
            say(sentence)

        return aloud

    def close(self) -> None:
        """The drill is over. What its disk has not taken within a second is given up."""
        self.over = True
        self._lines.put(None)
        self._thread.join(_CLOSES_S)

    def _keep(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError), self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def alive(header: Header) -> bool:
    """Whether the very process that wrote it still runs."""
    return header.born != "" and started_at(header.pid) == header.born
