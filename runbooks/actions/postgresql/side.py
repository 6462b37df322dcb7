"""Change side clusters on a host: restore, promote, release for a swap, drop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inventories.errors import BadInput, DrError, Interrupted, TargetFailed
from runbooks.hosts import Host, Ran

AGENT = "cd /opt/mystocks-dr && exec python3 -m agents.postgresql.side.cluster"


@dataclass(frozen=True)
class SideRequest:
    """What to restore and where to stop; the words of agents/postgresql/side/. An empty `set` lets the agent choose."""

    name: str
    kind: str = "immediate"
    target: str = ""
    inclusive: bool = False
    timeline: str = "latest"
    set: str = ""
    repo: int = 1
    processes: int = 0
    engine: str = "pgbackrest"
    replace: bool = False

    def words(self) -> Iterable[str]:
        yield from ("--name", self.name, "--type", self.kind, "--timeline", self.timeline, "--repo", str(self.repo))
        if self.target:
            yield f"--target={self.target}"
        if self.set:
            yield from ("--set", self.set)
        if self.processes:
            yield from ("--processes", str(self.processes))
        if self.engine != "pgbackrest":
            yield from ("--engine", self.engine)
        if self.inclusive:
            yield "--inclusive"
        if self.replace:
            yield "--replace"


def restore(host: Host, request: SideRequest, timeout: float) -> None:
    """Restore and recover until it is paused at the target; the same request again takes what is there.

    Raises BadInput for another request under the same name, TargetFailed with the agent's sentence for what went
    wrong: damaged, WAL missing, target not reached, no space, wrong key.
    """
    _agent(host, "restore", tuple(request.words()), timeout)


def promote(host: Host, name: str, timeout: float) -> None:
    """End recovery; the side cluster takes writes from then on, on a timeline of its own."""
    _agent(host, "promote", ("--name", name, "--patience", f"{timeout:g}"), timeout + 10)


def release(host: Host, name: str, timeout: float) -> None:
    """Stop a promoted side cluster and make its directory fit to be renamed to the main one."""
    _agent(host, "release", ("--name", name), timeout)


def stop(host: Host, name: str, timeout: float) -> None:
    _agent(host, "stop", ("--name", name), timeout)


def start(host: Host, name: str, timeout: float) -> None:
    _agent(host, "start", ("--name", name), timeout)


def drop(host: Host, name: str, timeout: float) -> None:
    """Remove it whatever state it is in, waiting for a restore of it to end; one that is not there is no error."""
    _agent(host, "drop", ("--name", name, "--wait", f"{timeout:g}"), timeout + 10)


def _agent(host: Host, command: str, words: tuple[str, ...], timeout: float) -> None:
    slots = " ".join(["%s"] * (len(words) + 1))
    ran = host.run(f"{AGENT} {slots}", command, *words, user="postgres", expect=None, timeout=timeout)
    if ran.rc:
        raise failure(host, command, ran)


def failure(host: Host, command: str, ran: Ran) -> DrError:
    """The agent's own sentence and hint, as the family that its exit code says."""
    lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
    hint = next((line.removeprefix("HINT:").strip() for line in reversed(lines) if line.startswith("HINT:")), "")
    plain = [line for line in lines if not line.startswith("HINT:")]
    sentence = f"{host.name}: {plain[-1] if plain else f'the side agent ended with {ran.rc} on {command}'}"
    family = {2: BadInput, 4: Interrupted}.get(ran.rc, TargetFailed)
    return family(sentence, hint)
