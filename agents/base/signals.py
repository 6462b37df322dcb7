"""A signal ends a program as an error does, so that what was begun is cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from agents.base.errors import AgentError


class Interrupted(AgentError):  # noqa: N818 - named after what happened
    """Stopped by a signal; what was begun was cleaned up."""

    exit_code = 4


@contextmanager
def as_errors() -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP raise Interrupted inside."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"Interrupted by {signal.Signals(number).name}.", "Run it again; it begins anew.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
