"""What of a lab is there, as the engine sees it."""

import re
from dataclasses import dataclass

from lab import containers, state
from lab.containers import ContainerState
from lab.engine import Engine, EngineFailed, find_engine

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True)
class HostStatus:
    """One host: state is running, paused, off, lost, created or missing.

    Status is the engine's word for since when.
    """

    host: str
    address: str
    state: str
    status: str
    memory_bytes: int | None


def look(lab: str) -> tuple[HostStatus, ...]:
    """The hosts of a lab that was brought up; BadInput when it never was."""
    made = state.load(lab)
    engine = find_engine()
    boxes = containers.of_lab(engine, lab)
    used = _memory(engine, [name for name, box in boxes.items() if box.state is ContainerState.RUNNING])
    found: list[HostStatus] = []
    for host in made.hosts.values():
        box = boxes.get(host.container)
        word, since = (box.state.value, box.status) if box else ("missing", "")
        found.append(HostStatus(host.name, host.address, word, since, used.get(host.container)))
    return tuple(found)


def size_in_bytes(text: str) -> int:
    """Read an engine's size such as ``17.01MB`` or ``16.2MiB``."""
    match = re.fullmatch(r"([\d.]+)\s*([kmg]i?|)b", text.strip().lower())
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def _memory(engine: Engine, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    try:
        shown = engine.run("stats", "--no-stream", "--format", "{{.Name}}\t{{.MemUsage}}", *names)
    except EngineFailed:
        return {}  # a host that goes down meanwhile, or an engine without the right to count
    rows = (line.partition("\t") for line in shown.splitlines() if "\t" in line)
    return {name: size_in_bytes(usage.partition("/")[0]) for name, _, usage in rows}
