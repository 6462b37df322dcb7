"""When a program ends that a drill has started: by a signal, or when whoever holds its standard input is gone."""

from __future__ import annotations

import os
import signal
import threading


def when_told() -> threading.Event:
    """Set by SIGTERM, by SIGINT, and at the end of standard input."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_at_end_of_input, args=(stop,), daemon=True).start()
    return stop


def _at_end_of_input(stop: threading.Event) -> None:
    # Not sys.stdin: a thread that still waits inside its buffer makes the interpreter abort at exit.
    while os.read(0, 4096):
        continue
    stop.set()
