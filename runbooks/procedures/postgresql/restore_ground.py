"""What restore-cluster must know before it touches anything: hosts, repository, key, backup, room."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import ClassVar

from inventories.errors import Refused
from runbooks.actions import offsite
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql.directory import Incoming
from runbooks.engine.context import Options
from runbooks.hosts import Host, Run
from runbooks.layout import Layout
from runbooks.long_work.work import Asker
from runbooks.probes.durations import span
from runbooks.probes.postgresql import backups, ground, pgbackrest
from runbooks.probes.postgresql.ground import Ground, Holds
from runbooks.probes.postgresql.pgbackrest import Repository
from runbooks.probes.postgresql.server import SEGMENT_BYTES, begins
from runbooks.procedures.postgresql.roles import Roles, layout
from runbooks.record.arbiter import FileOn
from runbooks.record.types import Record

EMPTY = (1, 2, 3)  # of pgBackRest's status: no stanza, no backup, nothing there
SPARE = 1.3  # room for the restored files, as a multiple of their size


class RestoreClusterOptions(Options):
    """`replace`: move data aside that lie where the cluster is restored to. `backup_set`: this backup and no other.

    `from_offsite`: take the off-site copy although the repository answers. `accept_loss`: promote before a gap in the
    archive.
    """

    replace: bool = False
    backup_set: str = ""
    from_offsite: bool = False
    added_later: ClassVar[frozenset[str]] = frozenset({"accept_loss"})
    accept_loss: bool = False


class RestoreCluster(Roles):
    """What was found, chosen and measured. Times are unix seconds."""

    provision: tuple[str, ...] = ()  # hosts to be deployed first
    replaced: tuple[str, ...] = ()  # hosts whose data directory is moved aside
    offsite: bool = False
    offsite_at: float | None = None  # when the off-site copy was made
    together: bool = True  # both directories are restored at the same time
    label: str = ""
    backup_at: int = 0
    bytes: int = 0
    wal_bytes: int = 0  # to be replayed
    repository_bytes: int = 0  # fetched from off-site
    links: tuple[str, ...] | None = None  # where the backup's tablespaces go; None: not asked yet
    passed_over: tuple[str, ...] = ()
    archive_end: str = ""  # newest segment of the archive
    archived_at: float | None = None
    last_commit_at: float | None = None  # the last commit that came back
    requeued: bool = False


def needed(context: Run) -> tuple[Host, ...]:
    estate = context.estate
    return (*estate.postgres, estate.backup, estate.app)


def hosts_answer(context: Run) -> None:
    """Raises Refused naming those that do not: one that is only cut off may still take writes."""
    silent = [host for host in needed(context) if not host.reachable()]
    if silent:
        names = ", ".join(f"{host.name} ({host.address})" for host in silent)
        raise Refused(
            f"{names} cannot be reached",
            "power it on, or put another machine in its place in the inventory; a blank one will do",
        )


def nothing_runs(context: Run) -> None:
    """Raises Refused while a server runs, or where data would be overwritten unasked."""
    seen = ground.survey(context.estate.postgres, layout(context), context.estate)
    running = [one.host.name for one in seen if one.running]
    if running:
        raise Refused(
            f"PostgreSQL runs on {' and '.join(running)}, so the cluster is not lost",
            "./dr status says what it is; ./dr failover or ./dr rejoin mends one host",
        )
    held = [one for one in seen if one.holds is Holds.DATA]
    if held and not context.options.replace:
        raise Refused(
            f"{' and '.join(one.host.name for one in held)}: {layout(context).data} holds data",
            "./dr start-cluster starts what is there, if its disk is sound; ./dr restore-cluster --replace moves it "
            "aside and deletes nothing",
        )
    for one in held:
        if one.provisioned:  # else it is asked when it has been
            directory.would_make_room(one.host, layout(context), Incoming(aside=f".{_stamp(context)}"))


def aside(context: Run, paths: Layout) -> str:
    """Where the data of this host are moved: the same place for every attempt of one run."""
    return f"{paths.data}.{_stamp(context)}"


def incoming(context: Run, state: RestoreCluster, host: Host) -> Incoming:
    """What is to come into this host's data directory; what lies there is put aside only where that was asked for."""
    links = state.links
    if links is None:
        links = pgbackrest.tablespaces(context.estate.backup, str(context.estate.data["stanza"]), state.label)
    return Incoming(
        label=state.label, aside=f".{_stamp(context)}" if host.name in state.replaced else "", host=host.name,
        end=state.archive_end, links=links,
    )  # fmt: skip


def _stamp(context: Run) -> str:
    return f"replaced-{context.run_dir.name.partition('-')[0]}"


def assess(context: Run, state: RestoreCluster) -> RestoreCluster:
    estate = context.estate
    with ThreadPoolExecutor(1) as pool:  # what a blank host answers meanwhile is not looked at
        asked = pool.submit(pgbackrest.info, estate.backup, str(estate.data["stanza"]))
        seen = {one.host.name: one for one in ground.survey(needed(context), layout(context), estate)}
    first = estate.groups["pg_primary"][0]
    others = [host.name for host in estate.postgres if host.name != first]
    other = next((host.name for host in estate.candidates if host.name != first), others[0])
    state = state.model_copy(
        update={
            "primary": first, "other": other,
            "provision": _unprovisioned(context, seen),
            "replaced": tuple(h.name for h in estate.postgres if seen[h.name].holds is Holds.DATA),
            # Restoring takes a client's cores, ten times those of the repository: on one machine the first would wait.
            "together": seen[first].machine not in {seen[name].machine for name in others},
        }
    )  # fmt: skip
    repository = _repository(context, seen[estate.backup.name], asked)
    if repository is None:
        return _offsite(context, state)
    return chosen(context, state, repository, [seen[host.name] for host in estate.postgres])


def _unprovisioned(context: Run, seen: Mapping[str, Ground]) -> tuple[str, ...]:
    """Hosts to be deployed first; a new backup host learns the off-site host's key from that host itself."""
    names = tuple(name for name, one in seen.items() if not one.ready)
    if context.estate.backup.name not in names:
        return names
    copies = [context.estate.host(name) for name in context.estate.groups.get("offsite", ())]
    return (*names, *(host.name for host in copies if host.reachable()))


def _repository(context: Run, seen: Ground, asked: Future[Repository]) -> Repository | None:
    """What the backup host holds; None when that is nothing, or shall not be used."""
    if not seen.provisioned:
        return None
    repository = asked.result()
    if repository.status in EMPTY and not repository.backups:
        return None
    if context.options.from_offsite:
        if context.options.replace:
            return None
        raise Refused(
            f"the repository on {seen.host} is not empty, and nothing is fetched over it",
            "./dr restore-cluster --from-offsite --replace moves it aside and deletes nothing",
        )
    if repository.status:
        raise _unreadable(repository)
    return repository


def _unreadable(repository: Repository) -> Refused:
    first = repository.trouble.splitlines()[0] if repository.trouble else repository.message
    if "FormatError" in repository.trouble or "CryptoError" in repository.trouble:
        return Refused(
            "the repository cannot be read with the key pgbackrest_cipher that this estate's secrets hold",
            "./dr keys.restore lays out the keys of an escrow bundle; put them into place and repeat",
        )
    return Refused(f"the repository cannot be read: {first[:200]}", "mend it, or take --from-offsite")


def _offsite(context: Run, state: RestoreCluster) -> RestoreCluster:
    """Raises Refused when there is no off-site host either."""
    if not context.estate.groups.get("offsite"):
        raise Refused(
            f"{context.estate.backup} holds no backup, and the inventory names no off-site host",
            "bring back what holds a copy of the repository",
        )
    copy = context.estate.group("offsite")[0]
    if not copy.reachable():
        raise Refused(f"{context.estate.backup} holds no backup, and {copy} does not answer", "bring either back")
    context.say(f"the off-site copy on {copy} is fetched before anything is restored")
    return state.model_copy(update={"offsite": True})


def fetch(context: Run, state: RestoreCluster) -> RestoreCluster:
    """Bring the repository back from off-site, then choose as if it had been there."""
    estate = context.estate
    aside = f"/var/lib/pgbackrest.{_stamp(context)}" if context.options.replace else ""
    copy = offsite.restore(estate.backup, Asker.of(context), aside)
    age = max(0.0, time.time() - copy.made_at)
    context.say(f"the off-site copy was made {_utc(copy.made_at)}, {span(age)} ago: what is younger is not in it")
    repository = pgbackrest.info(estate.backup, str(estate.data["stanza"]))
    if repository.status:
        raise _unreadable(repository)
    state = state.model_copy(update={"offsite_at": copy.made_at, "repository_bytes": copy.bytes})
    return chosen(context, state, repository, ground.survey(estate.postgres, layout(context), estate))


def chosen(context: Run, state: RestoreCluster, repository: Repository, hosts: list[Ground] | tuple[Ground, ...]) -> (
    RestoreCluster
):  # fmt: skip
    """The backup, the end of the archive, and the room for both. Raises Refused, BadInput."""
    estate, stanza = context.estate, str(context.estate.data["stanza"])
    with ThreadPoolExecutor(4) as pool:
        noted, failed = pool.submit(FileOn(estate.backup).read), pool.submit(backups.failed_proofs, estate.backup)
        ended = pool.submit(pgbackrest.archive_end, estate.backup, stanza, repository)
        _require_own(context, repository, noted.result().record)
        choice = backups.choose(repository, failed.result(), context.options.backup_set)
        links = pool.submit(pgbackrest.tablespaces, estate.backup, stanza, choice.backup.label)
    backup = choice.backup
    for label, why in choice.passed_over:
        context.say(f"WARNING: {label} is passed over: {why}")
    end = ended.result()
    _room(backup, _wal(backup, end), hosts)
    context.say(
        f"restoring {backup.label} ({backup.type}, {backup.size_bytes / 2**20:.0f} MiB, "
        f"{span(time.time() - backup.stopped_at)} old)"
    )
    context.say(_missing(end))
    return state.model_copy(
        update={
            "label": backup.label, "backup_at": backup.stopped_at, "bytes": backup.size_bytes,
            "wal_bytes": _wal(backup, end),
            "links": links.result(),
            "passed_over": tuple(label for label, _ in choice.passed_over),
            "archive_end": end.segment if end else "", "archived_at": end.at if end else None,
        }
    )  # fmt: skip


def _require_own(context: Run, repository: Repository, record: Record | None) -> None:
    """Raises Refused for the repository of another database system than the estate's, unless a backup was named."""
    system = str(repository.system_id or "")
    if record is None or not system or context.options.backup_set or record.system_identifier == system:
        return
    raise Refused(
        f"the repository on {context.estate.backup} holds backups of database system {system}, and the lost cluster is "
        f"{record.system_identifier} by the estate record",
        "is it the repository of another estate? --set LABEL restores that very backup all the same",
    )


def _wal(backup: pgbackrest.Backup, end: pgbackrest.ArchiveEnd | None) -> int:
    """Bytes of WAL from the backup's first segment to the end of the archive."""
    if end is None or not backup.wal_start:
        return 0
    return max(0, begins(end.segment) + SEGMENT_BYTES - begins(backup.wal_start))


def _room(backup: pgbackrest.Backup, wal: int, hosts: list[Ground] | tuple[Ground, ...]) -> None:
    wanted = int(backup.size_bytes * SPARE) + min(wal, 2**30)
    for one in hosts:
        if one.free_bytes < wanted:
            raise Refused(
                f"{one.host.name} has {one.free_bytes / 2**30:.1f} GiB free for the data directory, "
                f"{wanted / 2**30:.1f} GiB are needed for {backup.label}",
                "give it a larger disk",
            )


def _missing(end: pgbackrest.ArchiveEnd | None) -> str:
    """How much may be missing afterwards, as a sentence."""
    if end is None:
        return "the archive holds no WAL: everything after the backup is missing"
    return (
        f"the archive ends with {end.segment}, archived {_utc(end.at)}: what was committed after it, "
        f"at most {span(end.age_s)} if the cluster was lost only now, is missing unless the application host kept it"
    )


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
