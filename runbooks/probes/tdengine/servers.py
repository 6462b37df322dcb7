"""TDengine's servers: what each says of itself and of its cluster, asked as root on its own host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from inventories.catalog import load_tables
from inventories.catalog.tdengine.shape import Shape, declared
from inventories.errors import DrError, TargetFailed, TimedOut
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host

T = TypeVar("T")
PROGRAM = "/opt/tdengine/current/bin/taosd"
PORT = 6030
OURS = "mystocks_dr"  # the tool's own database: what a backup covers, and no row of anybody else
_LOOK = (
    f"test -e {PROGRAM} || {{ echo null; exit 0; }}; "
    "cd /opt/mystocks-dr && exec timeout %s python3 -m agents.tdengine.admin state"
)


@dataclass(frozen=True)
class Replica:
    """One copy of a vgroup: what its node is for it, and the last entry of the log that it has applied."""

    node: int
    role: str  # leader, follower, learner, candidate, offline ...
    applied: int
    committed: int

    @property
    def serves(self) -> bool:
        return self.role in ("leader", "follower")


@dataclass(frozen=True)
class Vgroup:
    """A share of a database's tables, and its copies."""

    id: int
    database: str
    replicas: tuple[Replica, ...]

    @property
    def has_leader(self) -> bool:
        return any(replica.role == "leader" for replica in self.replicas)

    def is_ours_alone(self, node: int | None) -> bool:
        """A share of the tool's own database whose only copy is on this node: nobody can fill it, and nobody must."""
        return self.database == OURS and {replica.node for replica in self.replicas} == {node}

    @property
    def committed(self) -> int:
        """The last entry that any copy told to be committed."""
        return max((replica.committed for replica in self.replicas), default=0)

    @property
    def is_whole(self) -> bool:
        """Every copy takes part and has what is committed, while nobody writes."""
        return self.has_leader and all(r.serves and r.applied >= self.committed for r in self.replicas)


@dataclass(frozen=True)
class Server:
    """One TDengine host. Where `online` is false everything below it is empty and `why` says what is wrong.

    `slow`: it did not answer in time, although nothing says that it is away: what it has nobody knows.
    """

    host: Host = field(repr=False)
    ssh: bool
    slow: bool = False
    installed: bool = True
    online: bool = False
    why: str = ""
    version: str = ""
    edition: str = ""
    default_password: bool = False
    users: tuple[str, ...] = ()
    dnodes: Mapping[str, str] = field(default_factory=dict)  # host name -> ready, offline ...
    numbers: Mapping[str, int] = field(default_factory=dict)  # host name -> id of its dnode
    mnodes: Mapping[str, str] = field(default_factory=dict)  # host name -> leader, follower, offline
    databases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    vgroups: tuple[Vgroup, ...] = ()
    held: tuple[int, ...] = ()  # vgroups that have data on this very host
    features: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def lacking(self) -> tuple[int, ...]:
        """Vgroups that the cluster counts on here, and whose data are not on this host."""
        mine = self.numbers.get(self.name)
        wanted = [group.id for group in self.vgroups if any(r.node == mine for r in group.replicas)]
        return tuple(number for number in wanted if number not in self.held)

    @property
    def blank(self) -> bool:
        """It answers, and no TDengine is installed on it."""
        return self.ssh and not self.installed

    @property
    def silent(self) -> bool:
        """Nobody knows yet what it is: its host is there, and the server told nothing, which more time may change."""
        return self.slow or (self.ssh and self.installed and not self.online)

    @property
    def role(self) -> str:
        """One word for a screen."""
        if not self.ssh:
            return "unknown" if self.slow else "unreachable"
        if not self.installed:
            return "not installed"
        return self.dnodes.get(self.name, "not joined") if self.online else "down"


@dataclass(frozen=True)
class Local:
    """What lies on one host's disk, whether or not its server runs; dnode 0 where it was never part of a cluster."""

    dnode: int = 0
    cluster: str = ""
    vgroups: tuple[int, ...] = ()
    running: bool = False


def local(host: Host) -> Local:
    """Raises DrError when the host, or its files, cannot be read."""
    said = host.run("cd /opt/mystocks-dr && exec python3 -m agents.tdengine.seed local").json()
    return Local(said["dnode"], said["cluster"], tuple(said["vgroups"]), said["running"])


def hosts(estate: Estate) -> tuple[Host, ...]:
    """The inventory's TDengine hosts, none where it names none."""
    names = estate.groups.get("tdengine", ())
    return tuple(host for host in estate.hosts if host.name in names)


def look(host: Host, timeout: float | None = None) -> Server:
    """Never raises for a host that is down: that is what is asked."""
    if not host.reachable():
        return Server(host, ssh=False, why=f"{host.name} does not answer at {host.dialled}")
    limit = timeout if timeout is not None else budget("ssh.command")
    try:
        said = host.run(_LOOK, f"{limit:g}", timeout=limit + 1).json()
    except TargetFailed as error:
        return Server(host, ssh=True, why=str(error))
    except TimedOut as error:
        return Server(host, ssh=False, slow=True, why=str(error))
    except DrError as error:
        return Server(host, ssh=False, why=str(error))
    try:
        return parse(host, said)
    except KeyError as error:
        why = f"its agents tell nothing of {error.args[0]}, as older ones do: ./dr deploy --limit {host}"
        return Server(host, ssh=True, why=why)


def parse(host: Host, said: Any) -> Server:
    """The answer of agents.tdengine.admin; None where no server is installed."""
    if said is None:
        return Server(host, ssh=True, installed=False, why="no TDengine is installed")
    return Server(
        host, ssh=True, online=True,
        version=said["version"], edition=said["edition"], default_password=said["default_password"],
        users=tuple(said["users"]), dnodes=_by_host(said["dnodes"]), numbers=_by_host(said["numbers"]),
        mnodes=_by_host(said["mnodes"]),
        databases=said["databases"], columns=said["columns"], vgroups=tuple(map(_vgroup, said["vgroups"])),
        held=tuple(said["held"]), features=said["features"],
    )  # fmt: skip


def _by_host(endpoints: Mapping[str, T]) -> dict[str, T]:
    return {endpoint.rpartition(":")[0]: known for endpoint, known in endpoints.items()}


def _vgroup(said: Mapping[str, Any]) -> Vgroup:
    replicas = tuple(Replica(int(node), *known) for node, known in sorted(said["replicas"].items()))
    return Vgroup(int(said["id"]), said["database"], replicas)


def survey(estate: Estate, timeout: float | None = None) -> tuple[Server, ...]:
    """All of them at once; empty where the inventory names none."""
    ours = hosts(estate)
    if not ours:
        return ()
    with ThreadPoolExecutor(len(ours)) as pool:
        return tuple(pool.map(lambda host: look(host, timeout), ours))


def speaker(servers: Sequence[Server]) -> Server | None:
    """A server that can speak for the cluster: one that answers and is part of it, the first in the inventory."""
    return next((one for one in servers if one.online and one.dnodes.get(one.name) == "ready"), None)


def leader(servers: Sequence[Server], database: str) -> Server | None:
    """The server that leads most of a database, the first in the inventory of several; None where nobody tells."""
    told = speaker(servers)
    leads = [
        replica.node for group in (told.vgroups if told else ()) if group.database == database
        for replica in group.replicas if replica.role == "leader"
    ]  # fmt: skip
    if told is None or not leads:
        return None
    return max(servers, key=lambda one: leads.count(told.numbers.get(one.name, 0)))


def shape(estate: Estate) -> Shape:
    """What the inventory and the catalogue declare for this estate's TDengine."""
    return declared(estate.data, load_tables(), len(hosts(estate)))


def abilities(servers: Sequence[Server]) -> str:
    """One sentence: what this edition and version can do, as a deploy found out; empty when it has not looked."""
    found = next((one.features for one in servers if one.features), None)
    return f"TDengine {found['version']} ({found['edition']}): {'; '.join(_abilities(found))}." if found else ""


def _abilities(found: Mapping[str, Any]) -> Iterator[str]:
    if found["privileges_hold"]:
        yield "privileges are enforced"
    else:
        yield "every user may do everything, because GRANT is noted and not enforced"
    if found["restores_dnodes"]:
        yield "RESTORE DNODE works"
    else:
        yield "RESTORE DNODE answers OK and does nothing, so ./dr tdengine-rejoin does without"
    yield "clients may use REST (6041)" if found["rest"] else "no taosAdapter answers, so clients use port 6030"
