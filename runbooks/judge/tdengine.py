"""What of TDengine's servers is not as promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from inventories.catalog.load import load_tables
from inventories.catalog.tables import Store
from runbooks.judge.finding import Finding
from runbooks.probes.jobs import Job, Jobs
from runbooks.probes.tdengine import servers as tdengine
from runbooks.probes.tdengine.servers import Server

TAKING = ("td-full", "td-incr")  # jobs that take backups
CLOCKS_S = 60  # by how much the operator's clock and the hosts' may differ
QUORUM_OF = 3  # nodes: with fewer there is one copy of every row


def findings(servers: Sequence[Server], labels: Sequence[str] | None = None) -> Iterator[Finding]:
    """Servers that do not serve, copies that are missing, a door that stands open. `labels`: of TDengine's backups."""
    blank = [one.name for one in servers if one.blank]
    if not any(one.installed and one.ssh for one in servers):
        yield from (_silent(one, len(servers)) for one in servers if not one.ssh)
        if blank and labels:  # without one nothing was deployed here: `degraded` says so
            measured = f"none is installed on {', '.join(blank)}, and {labels[-1]} is a backup of one that was"
            yield Finding("TDengine", measured, "ready", "./dr tdengine-rebuild --yes")
        return
    outvoted = len(servers) >= QUORUM_OF and 2 * len(blank) > len(servers)
    for one in servers:
        if one.role != "ready":
            yield _outvoted(one, blank) if outvoted and one.ssh else _silent(one, len(servers))
        if one.lacking:
            measured = f"{len(one.lacking)} of its vgroups have no data on its disk"
            yield Finding(f"copies on {one.name}", measured, "all of them", f"./dr tdengine-rejoin {one.name} --yes")
        if one.default_password:
            hint = "./dr deploy replaces it"
            yield Finding(f"TDengine's root on {one.name}", "everybody knows the password", "ours", hint)
    yield from _managers(servers)
    yield from _copies(servers)
    yield from _tables(servers)
    versions = sorted({one.version for one in servers if one.online})
    if len(versions) > 1:
        yield Finding("TDengine's version", " and ".join(versions), "one", "./dr deploy brings the same to every host")


def _silent(server: Server, nodes: int) -> Finding:
    if server.slow:
        hint = f"./dr status asks again; a host that stays so slow shows why on itself: ssh {server.name} uptime"
    elif not server.ssh:
        again = f"./dr tdengine-rejoin {server.name}" if nodes >= QUORUM_OF else f"./dr deploy --limit {server.name}"
        hint = f"bring the host back, then {again}"
    elif nodes >= QUORUM_OF:
        hint = f"./dr tdengine-rejoin {server.name}"
    else:
        hint = f"./dr deploy --limit {server.name} starts it; /var/log/taos says why it stopped"
    return Finding(f"TDengine on {server.name}", server.why or server.role, "ready", hint)


def _outvoted(server: Server, blank: Sequence[str]) -> Finding:
    """The copies on most of the nodes are gone: what is left elects nobody, and nobody can fill the others."""
    hint = f"{', '.join(blank)} lost their copies, so no majority is left: ./dr tdengine-rebuild --replace --yes"
    return Finding(f"TDengine on {server.name}", server.why or server.role, "ready", hint)


def _managers(servers: Sequence[Server]) -> Iterator[Finding]:
    """Nodes that are ready and do not manage the cluster though they should: the next loss may leave no majority."""
    speaker = tdengine.speaker(servers)
    for name, role in sorted(speaker.mnodes.items()) if speaker else ():
        if role not in ("leader", "follower") and speaker and speaker.dnodes.get(name) == "ready":
            hint = f"./dr tdengine-rejoin {name} --yes"
            yield Finding(f"management by {name}", role, "leader or follower", hint)


def _copies(servers: Sequence[Server]) -> Iterator[Finding]:
    """Copies that do not take part although every node says that it is ready."""
    speaker = tdengine.speaker(servers)
    if speaker is None:
        return
    for group in speaker.vgroups:
        serving = sum(replica.serves for replica in group.replicas)
        said = f"{serving} of {len(group.replicas)} copies serve"
        if not group.has_leader:
            hint = "writes to it wait in the outbox; /var/log/taos of its nodes says why they elect none"
            if group.database == tdengine.OURS:
                hint = "no row of yours is in it; ./dr tdengine-rejoin HOST has it made again where its host was lost"
            yield Finding(f"vgroup {group.id} of {group.database}", f"no leader, {said}", "a leader", hint)
        elif serving < len(group.replicas) and all(one.role == "ready" for one in servers):
            hint = "./dr tdengine-rejoin HOST for the host whose copy is away"
            yield Finding(f"vgroup {group.id} of {group.database}", said, "all", hint)


def _tables(servers: Sequence[Server]) -> Iterator[Finding]:
    """Supertables of the catalogue that somebody dropped: writes to them go to the dead letters."""
    speaker = tdengine.speaker(servers)
    if speaker is None:
        return
    for table in load_tables().of(Store.TDENGINE):
        if f"{table.database}.{table.name}" not in speaker.columns:
            hint = "./dr tdengine-restore shows what the backup has of it, and brings it back with --yes"
            yield Finding(f"supertable {table.database}.{table.name}", "missing", "there", hint)


def degraded(servers: Sequence[Server]) -> Iterator[str]:
    """States that work and protect less than they should."""
    if servers and not any(one.installed for one in servers if one.ssh) and any(one.ssh for one in servers):
        names = ", ".join(one.name for one in servers)
        yield (
            f"No TDengine is installed on {names}: name its package (TDENGINE_PACKAGE); ./dr deploy begins an empty "
            "one, ./dr tdengine-rebuild brings a lost one back."
        )


def left_out(jobs: Jobs | None) -> Iterator[str]:
    """Tables that are in no backup, because this edition or version cannot give them."""
    for name, why in jobs.left_out if jobs else ():
        yield f"TDengine's {name} is in no backup: {why.rstrip('.')}."


def backups(labels: Sequence[str] | None, jobs: Jobs | None, at: float, limit_h: float) -> Iterator[Finding]:
    """The newest backup is too old, or all of them are gone. What was never taken is missed by its job."""
    taken = [job for job in jobs.jobs if job.name in TAKING and job.last_success_at] if jobs else []
    if labels is None or not taken:
        return
    hint = "./dr backup.run --store tdengine takes one now and says why it fails"
    if not labels:
        was = "there is none, though there was one"
        back = "agents.offsite.copies restore --only /var/lib/mystocks-dr/tdengine on the backup host brings them back"
        yield Finding("TDengine's newest backup", was, "there is one", back)
    elif (age_h := (at - (newest_began(labels, at) or _success(taken, at))) / 3600) > limit_h:
        yield Finding("age of TDengine's newest backup", f"{age_h:.1f} h", f"{limit_h:g} h", hint)


def newest_began(labels: Sequence[str] | None, at: float) -> float | None:
    """When the newest backup began, in unix seconds; None where there is none, or a clock was ahead that named it."""
    began = taken_at(labels[-1]) if labels else 0.0
    return began if 0 < began <= at + CLOCKS_S else None


def _success(taken: Sequence[Job], at: float) -> float:
    """The last success that has been, where no label tells."""
    return max((job.last_success_at or 0 for job in taken if (job.last_success_at or 0) <= at + CLOCKS_S), default=0.0)


def taken_at(label: str) -> float:
    """When a backup began, in unix seconds, by its label; 0 for what is no label."""
    try:
        return datetime.strptime(label[-16:-1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
