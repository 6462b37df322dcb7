"""Notice, while a transaction hangs on one server, that a promotion has made another one the primary.

A primary that was cut off from its standby still takes connections and even commits, but never answers them.
Waiting out the deadline there would cost seconds after the failover is already done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from agents.base.config import Config
from agents.base.errors import NoPrimary
from agents.postgresql.primary import Primary, find_primary

AFTER_S = 0.5  # an ordinary transaction is over by then
SEARCH_S = 60.0


class RivalWatch:
    """Around a block: calls `abandon` when the block hangs and a host on a higher timeline takes writes."""

    def __init__(self, config: Config, primary: Primary, abandon: Callable[[], None]) -> None:
        here = (primary.name, primary.connection.info.port)
        others = tuple(host for host in config.hosts if (host.name, host.port) != here)
        self._others = replace(config, hosts=others)
        self._timeline = primary.timeline
        self._abandon = abandon
        self._over = threading.Event()
        self._timer = threading.Timer(AFTER_S, self._look)
        self._timer.daemon = True

    def __enter__(self) -> RivalWatch:
        if self._others.hosts:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._timer.cancel()

    def _look(self) -> None:
        try:
            rival = find_primary(self._others, SEARCH_S, "mystocks-rival", self._over)
        except NoPrimary:
            return
        rival.connection.close()
        if rival.timeline > self._timeline and not self._over.is_set():
            self._abandon()
