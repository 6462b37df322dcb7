"""How busy the machine was: pressure stall information, stolen time, and how late a thread that only sleeps woke up.

All hosts of a lab share the machine that reads this, so that its figures are those of the whole estate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

EVERY_S = 0.1
PROC = Path("/proc")
# The kernel defines "full" of the processors as zero for a whole machine, so it would say nothing.
_STALLS = ("cpu some", "io some", "io full", "memory some", "memory full")


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters since the machine's start. `stalls`: microseconds, of what the kernel tells; `ticks`: all, stolen."""

    at: float
    stalls: Mapping[str, int]
    ticks: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Pressure:
    """Shares of `seconds`, 0 to 1: `some` task, or every one (`full`), stood waiting; `steal` is what the hypervisor
    took of all processors. `late_s`: how late a thread woke up at most. None is unknown, never zero.
    """

    seconds: float
    cpu_some: float | None = None
    io_some: float | None = None
    io_full: float | None = None
    memory_some: float | None = None
    memory_full: float | None = None
    steal: float | None = None
    late_s: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of Pressure; beyond its limit the machine stood still, and `says` tells so. None is no limit."""

    key: str
    label: str
    limit: float | None = None
    says: str = ""
    seconds: bool = False

    def of(self, pressure: Pressure | None) -> float | None:
        value: float | None = getattr(pressure, self.key) if pressure else None
        return value

    def beyond(self, value: float | None) -> bool:
        return value is not None and self.limit is not None and value > self.limit

    def text(self, value: float | None) -> str:
        if value is None:
            return "unknown"
        return f"{value:.2f} s" if self.seconds else f"{value * 100:.0f} %"


# On two quiet cores some task waits for a processor 16 to 36 % of a failover, everything waits for the disk 2 to 17 %,
# nothing is stolen, and a sleeper wakes up 0.01 s late; beside a compiler it is 89 % for the processors. The limits
# leave the quiet figures the room that they need: what a machine gives to others it cannot give to a recovery.
FIGURES = (
    Figure("cpu_some", "some task waited for a processor", 0.60, "tasks waited for a processor {} of the time"),
    Figure("io_some", "some task waited for a disk"),
    Figure("io_full", "everything waited for disks", 0.30, "everything waited for disks {} of the time"),
    Figure("memory_some", "some task waited for memory"),
    Figure("memory_full", "everything waited for memory", 0.10, "everything waited for memory {} of the time"),
    Figure("steal", "taken by the hypervisor", 0.10, "the hypervisor took {} of the processors' time"),
    Figure("late_s", "latest wake-up", 0.25, "a thread that only sleeps woke up {} late", seconds=True),
)


def stood_still(pressure: Pressure | None) -> str:
    """What shows that the machine stood still, in words; empty when nothing does, also because nothing is known."""
    told = ((figure, figure.of(pressure)) for figure in FIGURES)
    return ", ".join(figure.says.format(figure.text(value)) for figure, value in told if figure.beyond(value))


def known(pressure: Pressure | None) -> bool:
    """Whether any figure that has a limit is known, so that the absence of a sentence means something."""
    return any(figure.of(pressure) is not None for figure in FIGURES if figure.limit is not None)


def read(proc: Path = PROC, at: float | None = None) -> Reading:
    """The counters now. What cannot be read is left out."""
    return Reading(time.monotonic() if at is None else at, dict(_stalls(proc)), _ticks(proc))


def _stalls(proc: Path) -> Iterator[tuple[str, int]]:
    for resource in ("cpu", "io", "memory"):
        try:
            for line in (proc / "pressure" / resource).read_text().splitlines():
                kind, *pairs = line.split()
                name = f"{resource} {kind}"
                if name in _STALLS:
                    yield name, int(dict(pair.split("=") for pair in pairs)["total"])
        except (OSError, ValueError, KeyError):
            continue


def _ticks(proc: Path) -> tuple[int, int] | None:
    """user, nice, system, idle, iowait, irq, softirq, steal; what guests used is in user and nice already."""
    try:
        numbers = [int(word) for word in (proc / "stat").read_text().partition("\n")[0].split()[1:9]]
        return sum(numbers), numbers[7]
    except (OSError, ValueError, IndexError):
        return None


def between(readings: Sequence[Reading], start: float, end: float) -> Pressure | None:
    """From the last reading before `start` to the first after `end`; None where there are no two of them."""
    before = [reading for reading in readings if reading.at <= start][-1:] or list(readings[:1])
    after = [reading for reading in readings if reading.at >= end][:1] or list(readings[-1:])
    if end <= start or not before or after[0].at <= before[0].at or after[0].at <= start or before[0].at >= end:
        return None
    first, last = before[0], after[0]
    seconds = last.at - first.at
    shares = {name: _share(name, first, last) for name in _STALLS}
    within = [reading.at for reading in readings if first.at <= reading.at <= last.at]
    return Pressure(
        seconds=round(seconds, 3),
        **{name.replace(" ", "_"): share for name, share in shares.items()},
        steal=_stolen(first, last),
        late_s=round(max(max(later - sooner for sooner, later in pairwise(within)) - EVERY_S, 0.0), 3),
    )


def _share(name: str, first: Reading, last: Reading) -> float | None:
    if name not in first.stalls or name not in last.stalls:
        return None
    stalled = (last.stalls[name] - first.stalls[name]) / 1e6
    return round(min(max(stalled / (last.at - first.at), 0.0), 1.0), 4)  # counters are brought up to date a little late


def _stolen(first: Reading, last: Reading) -> float | None:
    if first.ticks is None or last.ticks is None or last.ticks[0] <= first.ticks[0]:
        return None
    return round(max(last.ticks[1] - first.ticks[1], 0) / (last.ticks[0] - first.ticks[0]), 4)


@dataclass
class Watch:
    """What was read so far."""

    readings: list[Reading] = field(default_factory=list)

    def between(self, start: float, end: float) -> Pressure | None:
        return between(tuple(self.readings), start, end)


@contextmanager
def watched(proc: Path = PROC) -> Iterator[Watch]:
    """Read every tenth of a second while the block runs."""
    watch, done = Watch([read(proc)]), threading.Event()

    def look() -> None:
        while not done.wait(EVERY_S):
            watch.readings.append(read(proc))

    looker = threading.Thread(target=look, name="pressure", daemon=True)
    looker.start()
    try:
        yield watch
    finally:
        done.set()
        looker.join(5)
        watch.readings.append(read(proc))
