"""Side clusters on a host: backups restored beside what runs, as agents/postgresql/side/cluster.py describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inventories.errors import TargetFailed
from runbooks.hosts import Host

AGENT = "cd /opt/mystocks-dr && exec python3 -m agents.postgresql.side.cluster"


@dataclass(frozen=True)
class SideTarget:
    """Where recovery was to stop: `kind` is immediate, time, lsn, xid, name or latest."""

    kind: str
    value: str
    inclusive: bool
    timeline: str


@dataclass(frozen=True)
class SideCluster:
    """One side cluster. Seconds of the restore and of the replay, bytes of the data and of the WAL replayed.

    `phase` is ready only for one that was restored and reached its target; `lsn`, `timeline` and `last_commit_at`
    (PostgreSQL's text, with zone) say where it stands, `reached` where recovery had stopped, `stopped` is what its log
    says of the stop. `socket` is a directory that only postgres may enter, `collations` say where text is ordered
    otherwise than it was in production, `standby`: it is the host's own delayed standby, opened where it lies.
    `readers` are the other hosts that may read it; None: its agent is of an earlier release, which does not tell.
    """

    name: str
    data: str
    socket: str
    port: int
    phase: str
    running: bool
    paused: bool
    promoted: bool
    set: str
    target: SideTarget | None
    restore_s: float
    replay_s: float
    bytes: int
    wal_bytes: int
    lsn: str
    timeline: int
    last_commit_at: str | None
    stopped: str
    sentence: str | None
    collations: tuple[str, ...] = ()
    reached: str = ""
    standby: bool = False
    readers: tuple[str, ...] | None = None

    @property
    def ready(self) -> bool:
        return self.phase == "ready"

    @property
    def connection(self) -> tuple[str, ...]:
        """Options for psql, pg_dump and the like, run as postgres on the same host."""
        return ("-h", self.socket, "-p", str(self.port))


def closing(name: str, version: int) -> str:
    """The command, on its host, that lets a delayed standby go on which is open as this side cluster."""
    drop = f"sudo -u postgres python3 -m agents.postgresql.side.cluster drop --name {name}"
    return f"cd /opt/mystocks-dr && {drop} && sudo systemctl start postgresql@{version}-main"


def look(host: Host, name: str, timeout: float | None = None) -> SideCluster | None:
    """The side cluster of this name; None where there is none. Raises DrError when the host does not answer."""
    return next((one for one in every(host, timeout) if one.name == name), None)


def every(host: Host, timeout: float | None = None) -> tuple[SideCluster, ...]:
    """Every side cluster of a host."""
    said = host.run(f"{AGENT} list", user="postgres", timeout=timeout).json()
    return tuple(parse(one) for one in said)


def query(host: Host, name: str, database: str, sql: str, timeout: float | None = None) -> list[dict[str, Any]]:
    """Rows of one SELECT on a running side cluster."""
    rows = host.run(
        f"{AGENT} sql --name %s --database %s", name, database, user="postgres", stdin=sql, timeout=timeout
    ).json()
    assert isinstance(rows, list)
    return rows


def parse(said: Any) -> SideCluster:
    """The agent's JSON. Raises TargetFailed when it is something else."""
    try:
        target = said["target"] and SideTarget(**said["target"])
        return SideCluster(
            name=said["name"], data=said["data"], socket=said["socket"], port=said["port"], phase=said["phase"],
            running=said["running"], paused=said["paused"], promoted=said["promoted"], set=said["set"] or "",
            target=target, restore_s=said["restore_s"] or 0.0, replay_s=said["replay_s"] or 0.0,
            bytes=said["bytes"] or 0, wal_bytes=said["wal_bytes"], lsn=said["lsn"] or "",
            timeline=said["timeline"] or 0, last_commit_at=said["last_commit_at"], stopped=said["stopped"] or "",
            sentence=said["sentence"], collations=tuple(said.get("collations") or ()),
            reached=said.get("reached") or said["lsn"] or "", standby=bool(said.get("standby")),
            readers=tuple(said["readers"]) if "readers" in said else None,
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise TargetFailed(f"no description of a side cluster: {error!r}", "./dr deploy brings the agents") from error
