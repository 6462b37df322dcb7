"""Change side clusters on a host: restore, promote, release for a swap, drop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbooks import agent
from runbooks.hosts import Host
from runbooks.long_work.work import Asker

_PROGRAM = "postgresql.side.cluster"


@dataclass(frozen=True)
class SideRequest:
    """What to restore and where to stop; the words of agents/postgresql/side/. An empty `set` lets the agent choose.

    `listen`: the address at which `readers` (name and address of hosts) may read it; empty: this host alone may.
    `hurries`: with every core, whatever it costs the commits of a server on the same disk.
    """

    name: str
    kind: str = "immediate"
    target: str = ""
    inclusive: bool = False
    timeline: str = "latest"
    set: str = ""
    repo: int = 1
    processes: int = 0
    hurries: bool = False
    engine: str = "pgbackrest"
    replace: bool = False
    listen: str = ""
    readers: tuple[tuple[str, str], ...] = ()

    def pace(self) -> Iterable[str]:
        """How fast it is to be done, which tells no request from another."""
        if self.processes:
            yield from ("--processes", str(self.processes))
        if not self.hurries:
            yield "--gives-way"

    def words(self) -> Iterable[str]:
        yield from ("--name", self.name, "--type", self.kind, "--timeline", self.timeline, "--repo", str(self.repo))
        if self.target:
            yield f"--target={self.target}"
        if self.set:
            yield from ("--set", self.set)
        if self.engine != "pgbackrest":
            yield from ("--engine", self.engine)
        if self.listen:
            yield from ("--listen", self.listen, *(f"--reader={name}={address}" for name, address in self.readers))
        if self.inclusive:
            yield "--inclusive"
        if self.replace:
            yield "--replace"


def restore(host: Host, request: SideRequest, asker: Asker, expects: str = "") -> None:
    """Restore and recover until it is paused at the target; the same request again takes what is there.

    As long work, whose server is meant to outlive it; production, which may live on the same host, comes first.
    Raises BadInput for another request under the same name, TargetFailed with the agent's sentence for what went
    wrong: damaged, WAL missing, target not reached, no space, wrong key.
    """
    wanted = agent.work(
        _PROGRAM, "restore", *request.words(), on=f"side-{request.name}", kind="restore", leaves=True, expects=expects,
        gives_way=True, pace=tuple(request.pace()),
    )  # fmt: skip
    agent.run_work(host, wanted, asker)


def open_standby(host: Host, request: SideRequest, asker: Asker) -> None:
    """Open this host's own, stopped standby at the target; the same request again takes what is there.

    Raises as `restore` does; then nothing runs on its data.
    """
    words = (*request.words(),)
    wanted = agent.work(_PROGRAM, "open", *words, on=f"side-{request.name}", kind="open", leaves=True)
    agent.run_work(host, wanted, asker)


def promote(host: Host, name: str, timeout: float) -> None:
    """End recovery; the side cluster takes writes from then on, on a timeline of its own."""
    agent.run(host, _PROGRAM, "promote", "--name", name, "--patience", f"{timeout:g}", timeout=timeout + 10)


def release(host: Host, name: str, asker: Asker) -> None:
    """Stop a promoted side cluster and make its directory fit to be renamed to the main one: its last checkpoint."""
    wanted = agent.work(_PROGRAM, "release", "--name", name, on=f"side-{name}", kind="release", leaves=True)
    agent.run_work(host, wanted, asker)


def stop(host: Host, name: str, timeout: float) -> None:
    agent.run(host, _PROGRAM, "stop", "--name", name, timeout=timeout)


def start(host: Host, name: str, timeout: float) -> None:
    agent.run(host, _PROGRAM, "start", "--name", name, timeout=timeout)


def drop(host: Host, name: str, timeout: float) -> None:
    """Remove it whatever state it is in, waiting for a restore of it to end; one that is not there is no error."""
    agent.run(host, _PROGRAM, "drop", "--name", name, "--wait", f"{timeout:g}", timeout=timeout + 10)
