"""What differs from the declared state and pyinfra cannot see: servers, settings not in force, tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from inventories.catalog import load_tables
from inventories.catalog.tdengine import shape
from inventories.errors import DrError
from runbooks.hosts import Estate, Host
from runbooks.letting_in import due
from runbooks.probes.postgresql import schema
from runbooks.probes.postgresql import server as postgres
from runbooks.probes.postgresql.server import Node
from runbooks.probes.tdengine import servers as tdengine

# Whatever file is not the declared one or the runbooks' own; what stands there wins over the declared one.
_ALTERED = (
    "select name, setting, sourcefile from pg_file_settings where name is not null "
    "and sourcefile not like '%/postgresql.conf' and sourcefile not like '%/90-synchronous.conf' order by 1, 3"
)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as declared: `what` in a few words, `detail` as a sentence."""

    what: str
    host: str
    detail: str


def silent(estate: Estate, only: Collection[str] = ()) -> tuple[Difference, ...]:
    """Hosts that do not answer; everything else about them is unknown."""
    hosts = [host for host in estate.hosts if not only or host.name in only]
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(lambda host: host.reachable(), hosts))
    return tuple(
        Difference("host answers", host.name, f"{host.name} does not answer at {host.dialled}.")
        for host, answered in zip(hosts, answers, strict=True)
        if not answered
    )


def look(estate: Estate, only: Collection[str] = ()) -> tuple[Difference, ...]:
    """Differences of the servers that answer, all of them or `only` some."""
    nodes = [node for node in postgres.survey(estate) if not only or node.name in only]
    found = [difference for node in nodes if node.ssh for difference in _of_node(estate, node)]
    return (*found, *_of_tdengine(estate, only))


def _of_tdengine(estate: Estate, only: Collection[str]) -> Iterator[Difference]:
    """What a deploy alters, and what it leaves alone because rows would be lost, each as a sentence."""
    servers = [server for server in tdengine.survey(estate) if not only or server.name in only]
    for server in servers:
        if server.ssh and server.installed and not server.online:
            yield Difference("TDengine runs", server.name, f"{server.name}: {server.why}")
    speaker = tdengine.speaker(servers)
    if speaker is None:
        return
    for line in shape.differences(tdengine.shape(estate), speaker.databases, speaker.columns):
        yield Difference("TDengine's tables are the catalogue's", speaker.name, f"{speaker.name}: {line}.")


def _of_node(estate: Estate, node: Node) -> Iterator[Difference]:
    if node.hangs:
        yield Difference("PostgreSQL answers", node.name, f"{node.name}: {node.why}.")
        return
    if not node.online:
        if not node.fenced:  # a fenced one is down on purpose: status tells, rejoin ends it
            yield Difference("PostgreSQL runs", node.name, f"PostgreSQL is down on {node.name}, which is not fenced.")
        return
    for name in node.pending_restart:
        detail = f"{node.name}: {name} takes effect at the next restart only."
        yield Difference("settings are in force", node.name, detail)
    yield from _altered(node.host)
    if node.is_primary:
        yield from _waits(estate, node)
        yield from _schema(estate, node.host)


def _waits(estate: Estate, primary: Node) -> Iterator[Difference]:
    if not estate.least and primary.synchronous:
        detail = f"{primary.name}: commits wait for a standby, and by the inventory they wait for nobody."
        yield Difference("commits wait for nobody", primary.name, detail)
    wanted = due(estate, primary)
    if wanted:
        others = " and ".join(wanted.others(primary.name))
        detail = f"{primary.name}: commits do not wait for {wanted.least} of {others}, all of which stream."
        yield Difference("commits wait for the standbys", primary.name, detail)


def _altered(host: Host) -> Iterator[Difference]:
    for row in host.query(_ALTERED):
        where = str(row["sourcefile"])
        by = "ALTER SYSTEM set" if where.endswith("/postgresql.auto.conf") else f"{where} sets"
        detail = f"{host.name}: {by} {row['name']} to {row['setting']!r}."
        yield Difference("settings are the file's", host.name, detail)


def _schema(estate: Estate, host: Host) -> Iterator[Difference]:
    try:
        live = schema.look(host, str(estate.data["database"]))
    except DrError as error:  # no database yet
        yield Difference("schema is the catalogue's", host.name, str(error))
        return
    for line in schema.differences(load_tables(), live):
        yield Difference("schema is the catalogue's", host.name, f"{host.name}: {line}.")
