"""What the numbers were measured on, and what they therefore do not say."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

LIMITS = (
    "Killing a container loses no page cache: this is a host crash for clients and replication, "
    "not a power cut for fsync.",
    "All hosts of the lab share one machine: its cores, its disk and its clock. "
    "Network latency between sites is not in these numbers.",
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The machine a drill ran on; memory in GiB."""

    cores: int
    memory_gib: float
    kernel: str
    container_engine: str
    limits: tuple[str, ...] = LIMITS


def fingerprint(container_engine: str, meminfo: Path = Path("/proc/meminfo")) -> Fingerprint:
    """`container_engine` in words (`podman 4.3.1, runc`), as the lab knows it."""
    return Fingerprint(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=_memory_gib(meminfo),
        kernel=platform.release(),
        container_engine=container_engine,
    )


def _memory_gib(meminfo: Path) -> float:
    try:
        total = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemTotal:"))
        return round(int(total.split()[1]) / 2**20, 1)
    except (OSError, StopIteration, ValueError, IndexError):
        return 0.0
