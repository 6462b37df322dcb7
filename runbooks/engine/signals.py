"""Interrupt, hang-up and termination end a run in one way, so that it is journalled and can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
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


@contextmanager
def ended_by_signal(interrupt: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """For what has no other end; `interrupt` hears of it in the signal's handler."""
    over = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        over.set()
        interrupt()

    # A signal that the caller ignores (nohup) stays ignored.
    heard = [sig for sig in _SIGNALS if signal.getsignal(sig) is not signal.SIG_IGN]
    before = {sig: signal.signal(sig, end) for sig in heard}
    try:
        yield over
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
