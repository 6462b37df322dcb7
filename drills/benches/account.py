"""A control group of a process's own: what it costs, with all that it starts, also what cuts itself loose or has ended.

A watch's SSH sessions hang on shared connections whose processes are nobody's children; a sum over its family leaves
out what they cost, and what those cost that have ended meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import DrError, TargetFailed
from runbooks.engine.wait import until

ROOT = Path("/sys/fs/cgroup")
_ENDS_S = 5.0
# A process enters by itself, before it is what it will be: nothing of it is left out.
_ENTER = """
n=$1; shift
while [ "$n" -gt 0 ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; n=$((n - 1)); done
exec "$@"
"""


@dataclass(frozen=True)
class Account:
    """`cpu` and `memory`: the group's folder, which the older hierarchy has twice; `unified` tells the newer one."""

    cpu: Path
    memory: Path
    unified: bool

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.cpu, self.memory)))

    @property
    def within(self) -> tuple[str, ...]:
        """Words before a command, which is in the group from its first instruction on."""
        return ("sh", "-c", _ENTER, "sh", str(len(self.folders)), *map(str, self.folders))

    def processes(self) -> tuple[int, ...]:
        return tuple(int(line) for line in (self.cpu / "cgroup.procs").read_text().split())

    def programs(self) -> tuple[str, ...]:
        """Their names, as the kernel has them."""
        found = []
        for process in self.processes():
            with suppress(OSError):
                found.append(Path(f"/proc/{process}/comm").read_text().strip())
        return tuple(found)

    def seconds(self) -> float:
        """Of a processor, since it is there: whoever is, or was, in it."""
        if not self.unified:
            return int((self.cpu / "cpuacct.usage").read_text()) / 1e9
        stat = dict(line.split() for line in (self.cpu / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) / 1e6

    def peak_mib(self) -> float:
        """The most memory that all in it had at one time, what the kernel has for them included."""
        name = "memory.peak" if self.unified else "memory.max_usage_in_bytes"
        return int((self.memory / name).read_text()) / 2**20


@contextmanager
def opened(name: str, root: Path = ROOT) -> Iterator[Account]:
    """A group of this name; whatever is in it in the end is ended. Raises TargetFailed where none can be made here."""
    mine = f"{name}-{os.getpid()}-{time.monotonic_ns()}"
    unified = (root / "cgroup.controllers").exists()
    cpu, memory = (root / mine, root / mine) if unified else (root / "cpuacct" / mine, root / "memory" / mine)
    account = Account(cpu, memory, unified)
    try:
        for folder in account.folders:
            folder.mkdir()
        account.seconds(), account.peak_mib()
    except (OSError, KeyError) as error:
        _remove(account)
        raise TargetFailed(f"no control group can be made, so that nothing counts: {error}", "it takes root") from error
    try:
        yield account
    finally:
        _end(account)
        _remove(account)


def _end(account: Account) -> None:
    """SSH's shared connections outlive those that began them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in account.processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)
        with suppress(DrError):
            until(lambda: not account.processes(), _ENDS_S, what="the end of all in a control group", every=0.05)
            return


def _remove(account: Account) -> None:
    for folder in account.folders:
        with suppress(OSError):
            folder.rmdir()
