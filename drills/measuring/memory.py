"""The most memory that a process of ours took: this one, and the agents on the hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import DrError
from runbooks.hosts import Estate, Host

_EVERY_S = 1.0
# The kernel keeps the peak of each process, so that a look now and then misses only what has ended in between.
_PEAKS = "for pid in $(pgrep -f 'python3 .*agents'); do grep -s VmHWM /proc/$pid/status; done; true"


@dataclass
class Peak:
    """MiB of the largest process that was seen, and the host it ran on; empty for the operator's machine."""

    mib: float = 0.0
    host: str = ""

    def take(self, mib: float, host: str) -> None:
        if mib > self.mib:
            self.mib, self.host = mib, host


@contextmanager
def watched(estate: Estate) -> Iterator[Peak]:
    """Look at every host each second while the block runs."""
    peak, done = Peak(), threading.Event()
    watchers = [threading.Thread(target=_watch, args=(host, peak, done), daemon=True) for host in estate.hosts]
    for watcher in watchers:
        watcher.start()
    try:
        yield peak
    finally:
        done.set()
        for watcher in watchers:
            watcher.join(5)
        peak.take(_of_this_process(), "")


def _of_this_process() -> float:
    """MiB; getrusage would count whoever started it, too."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def _watch(host: Host, peak: Peak, done: threading.Event) -> None:
    while not done.wait(_EVERY_S):
        with suppress(DrError):  # a host may be gone for a while
            for line in host.run(_PEAKS, expect=None, timeout=5).stdout.splitlines():
                peak.take(int(line.split()[1]) / 1024, host.name)
