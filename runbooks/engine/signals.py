"""Interrupt, hang-up and termination end a run in one way, so that it is journalled and can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn these signals into KeyboardInterrupt with the signal's name, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal that the caller ignores (nohup) stays ignored.
    before = {sig: signal.getsignal(sig) for sig in _SIGNALS if signal.getsignal(sig) is not signal.SIG_IGN}
    for sig in before:
        signal.signal(sig, _stop)
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, signal.SIG_DFL if handler is None else handler)


@contextmanager
def held_back() -> Iterator[list[str]]:
    """Let what is short and must be whole come to its end. Gives the names of the signals that came meanwhile."""
    came: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {sig: signal.getsignal(sig) for sig in _SIGNALS if signal.getsignal(sig) is not signal.SIG_IGN}
    for sig in before:
        signal.signal(sig, lambda number, _frame: came.append(signal.Signals(number).name))
    try:
        yield came
    finally:
        for sig, handler in before.items():
            signal.signal(sig, signal.SIG_DFL if handler is None else handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
