"""The containers that are there, as the engine tells it; and making one."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from inventories.errors import Refused, TargetFailed
from lab import limits
from lab.engine import Engine, EngineFailed, Kind
from lab.spec import LABEL_HOST, LABEL_LAB, HostSpec, LabSpec, container_name, network_name


class ContainerState(Enum):
    """What matters of a container's state: one that never ran is not worth keeping.

    LOST: its processes and their keeper were ended from outside (the machine's own restart, without one of /run).
    Podman calls such a container running for ever, and can neither start nor stop it, only remove it.
    """

    RUNNING = "running"
    LOST = "lost"
    PAUSED = "paused"
    OFF = "off"
    NEVER_RAN = "created"


@dataclass(frozen=True)
class Container:
    """One container: its name, labels, state and the engine's own word for that (``Up 3 minutes``)."""

    name: str
    labels: Mapping[str, str]
    state: ContainerState
    status: str


def list_all(engine: Engine) -> dict[str, Container]:
    """Every container of the engine by name, running or not."""
    found: dict[str, Container] = {}
    for row in engine.json("ps", "--all", "--format", "json" if engine.kind is Kind.PODMAN else "{{json .}}"):
        name = row["Names"][0] if isinstance(row["Names"], list) else row["Names"]
        labels = row.get("Labels") or {}
        if isinstance(labels, str):  # docker prints them as one comma-separated text
            labels = dict(pair.partition("=")[::2] for pair in labels.split(","))
        word, pid = str(row["State"]), int(row.get("Pid") or 0)
        lost = LABEL_LAB in labels and word in ("running", "stopping") and _is_lost(engine, name, pid)
        seen = ContainerState.LOST if lost else _state(word)
        found[name] = Container(name, labels, seen, str(row.get("Status", row["State"])))
    return found


def _is_lost(engine: Engine, name: str, pid: int) -> bool:
    """Only of our own: in somebody else's container nothing is tried."""
    return bool(pid) and not _is_first_process(pid) and not _answers(engine, name)


def _state(word: str) -> ContainerState:
    if word in ("created", "configured", "initialized"):  # making it was interrupted, or its start failed
        return ContainerState.NEVER_RAN
    return ContainerState(word) if word in ("running", "paused") else ContainerState.OFF


def _is_first_process(pid: int) -> bool:
    """Whether this process is the first one of a container: a number that somebody else got meanwhile is not."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


def _answers(engine: Engine, name: str) -> bool:
    """Whether the engine can work in it: a machine may hide processes of others, or the engine be on another one."""
    try:
        engine.execute(name, "true")
    except EngineFailed:
        return False
    return True


def of_lab(engine: Engine, lab: str) -> dict[str, Container]:
    """The containers that carry this lab's label, by container name."""
    return {name: box for name, box in list_all(engine).items() if box.labels.get(LABEL_LAB) == lab}


def refuse_foreign(lab: str, host: str, box: Container) -> None:
    """Refuse to touch a container that has our name and not our label."""
    if box.labels.get(LABEL_LAB) != lab:
        raise Refused(
            f"There is a container named {box.name} which no lab of ours made.",
            f"Choose another lab with --lab, or remove that container by hand; {host} needs its name.",
        )


def remove(engine: Engine, name: str) -> None:
    """Remove a container and its disk. Killed, not shut down: nothing of it is needed any more."""
    engine.run("rm", "--force", *(("--time", "0") if engine.kind is Kind.PODMAN else ()), name)


def create(engine: Engine, lab: LabSpec, host: HostSpec, image: str) -> None:
    """Make and start one host.

    No restart policy: a host that lost power stays off until somebody turns it on.
    """
    # Names come from the hosts file, not from the engine's DNS, which forgets a host when it loses power.
    peers = [word for peer in lab.hosts for word in ("--add-host", f"{peer.name}:{lab.address(peer)}")]
    argv = (
        *limits.runtime(engine),
        *("run", "--detach", "--name", container_name(lab.name, host.name), "--hostname", host.name),
        *("--label", f"{LABEL_LAB}={lab.name}", "--label", f"{LABEL_HOST}={host.name}"),
        *("--network", network_name(lab.name), "--ip", str(lab.address(host))),
        *("--mac-address", lab.mac(host), *peers),
        *limits.systemd(engine),
        *limits.ulimits(),
        *("--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "AUDIT_WRITE"),
        # Root of a real host may read where a process works, and how much it has read and written.
        *("--cap-add", "SYS_PTRACE"),
        # Makes the kernel drop what comes from where we could not answer: isolate() cuts both ways.
        *("--sysctl", "net.ipv4.conf.all.rp_filter=1"),
        *("--shm-size", "256m", "--restart", "no", image, "/sbin/init"),
    )
    try:
        engine.run(*argv)
    except EngineFailed as failed:
        if "already allocated" not in failed.stderr:
            raise
        again = f"./dr lab.down --lab {lab.name} and lab.up again give the lab other addresses."
        raise TargetFailed(
            f"The engine holds the address of {host.name} for a dead container.", again
        ) from failed
