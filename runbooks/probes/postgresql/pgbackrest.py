"""What the backup repository holds, and how far the archive is behind the WAL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from inventories.errors import TargetFailed
from runbooks.hosts import Host

# `.ready` files are segments that wait for archive_command; a history file waits like any segment.
_ARCHIVING = """
select a.last_archived_wal, a.last_archived_time is not null as any_archived,
  extract(epoch from now() - a.last_archived_time) as last_archived_age_s,
  coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) as failing,
  w.waiting, w.oldest_waiting_s,
  case when pg_is_in_recovery() then null else pg_current_wal_lsn()::text end as written
from pg_stat_archiver a, (
  select count(*) as waiting, extract(epoch from now() - min(modification)) as oldest_waiting_s
  from pg_ls_archive_statusdir() where name like '%.ready') w
"""


@dataclass(frozen=True)
class Backup:
    """One backup; times are unix seconds, sizes bytes. `wal_stop` names the segment that makes it consistent."""

    label: str
    type: str
    stopped_at: int
    error: bool
    size_bytes: int
    repository_bytes: int
    wal_stop: str
    started_at: int = 0
    wal_start: str = ""
    references: tuple[str, ...] = ()  # labels of the backups that it is made from, itself not among them
    annotations: Mapping[str, str] = field(default_factory=dict)
    taken_bytes: int = 0  # of the cluster's files, before compression, that this backup holds itself
    database: int = 1  # which cluster's it is, counted by stanza-upgrade

    @property
    def place(self) -> tuple[int, str, int]:
        """In the order in which backups were taken: by cluster, timeline and WAL, which no wrong clock disturbs."""
        return self.database, self.wal_stop, self.stopped_at

    @property
    def timeline(self) -> int:
        return int(self.wal_stop[:8], 16)

    @property
    def revisions(self) -> Mapping[str, str]:
        """The newest migration of each database that had any when it was taken; nothing where nobody noted it."""
        try:
            said = json.loads(self.annotations.get("revisions", "{}"))
        except ValueError:
            return {}
        return {str(name): str(number) for name, number in said.items()} if isinstance(said, dict) else {}


@dataclass(frozen=True)
class Repository:
    """One stanza. `status` is 0 when all is well; `archive_max` names the newest segment, empty without one."""

    status: int
    message: str
    cipher: str
    system_id: int | None
    pg_version: str
    backups: tuple[Backup, ...]
    archive_id: str
    archive_max: str
    busy: bool  # a backup runs now
    trouble: str = ""  # why the repository cannot be read, in pgBackRest's words

    @property
    def newest(self) -> Backup | None:
        return max(self.backups, key=lambda backup: backup.place, default=None)


@dataclass(frozen=True)
class Archiving:
    """One PostgreSQL node's archiver. `waiting`: finished segments that the archive lacks, the oldest
    `oldest_waiting_s` seconds old. `open_bytes`: written since the last archived segment (None: nothing archived yet,
    or a standby).
    """

    last_archived: str
    last_archived_age_s: float | None
    failing: bool
    waiting: int
    oldest_waiting_s: float | None
    open_bytes: int | None


def info(host: Host, stanza: str, timeout: float | None = None) -> Repository:
    """`pgbackrest info` of one stanza. Raises DrError when the host does not answer or the stanza is not there."""
    said = host.run("pgbackrest --stanza=%s --output=json info", stanza, user="postgres", timeout=timeout).json()
    if not said:
        raise TargetFailed(f"{host.name}: the repository has no stanza {stanza}", "./dr deploy makes it")
    return _repository(said[0])


# The key comes on standard input and stays out of every process list.
_WITH_KEY = """
IFS= read -r PGBACKREST_REPO1_CIPHER_PASS && export PGBACKREST_REPO1_CIPHER_PASS
exec pgbackrest --config=/dev/null --repo1-path=/var/lib/pgbackrest --repo1-cipher-type=aes-256-cbc --stanza=%s \\
  --output=json info
"""


def opened_with(host: Host, stanza: str, cipher: SecretStr, timeout: float | None = None) -> Repository:
    """The repository as it is read with another key than the host's own; `status` tells whether it could be."""
    key = f"{cipher.get_secret_value()}\n"
    said = host.run(_WITH_KEY, stanza, user="postgres", stdin=key, timeout=timeout).json()
    return _repository(said[0])


def archiving(host: Host, segment_bytes: int = 16 << 20, timeout: float | None = None) -> Archiving:
    """The archiver of one running node. Raises DrError when its server does not answer."""
    row = host.query(_ARCHIVING, timeout=timeout)[0]
    return Archiving(
        last_archived=row["last_archived_wal"] or "",
        last_archived_age_s=row["last_archived_age_s"],
        failing=row["failing"],
        waiting=row["waiting"],
        oldest_waiting_s=row["oldest_waiting_s"],
        open_bytes=_open_bytes(row["last_archived_wal"], row["written"], segment_bytes),
    )


def _open_bytes(archived: str | None, written: str | None, segment_bytes: int) -> int | None:
    """WAL bytes between the end of the last archived segment and the write position."""
    if not archived or not written or len(archived) < 24 or archived.endswith(".partial"):
        return None
    end = (int(archived[8:16], 16) << 32) + (int(archived[16:24], 16) + 1) * segment_bytes
    high, low = written.split("/")
    return max(0, (int(high, 16) << 32) + int(low, 16) - end)


def _repository(said: dict[str, Any]) -> Repository:
    databases = said.get("db") or [{}]
    archives = said.get("archive") or []
    newest: dict[str, Any] = archives[-1] if archives else {}
    return Repository(
        status=said["status"]["code"],
        message=said["status"]["message"],
        cipher=said.get("cipher", "none"),
        system_id=databases[-1].get("system-id"),
        pg_version=databases[-1].get("version", ""),
        backups=tuple(_backup(one) for one in said.get("backup") or []),
        archive_id=newest.get("id", ""),
        archive_max=newest.get("max") or "",
        busy=bool(said["status"].get("lock", {}).get("backup", {}).get("held")),
        trouble=_trouble(said),
    )


def _backup(said: dict[str, Any]) -> Backup:
    return Backup(
        label=said["label"],
        type=said["type"],
        stopped_at=said["timestamp"]["stop"],
        error=bool(said.get("error")),
        size_bytes=said["info"]["size"],
        repository_bytes=said["info"]["repository"].get("delta", 0),
        wal_stop=said["archive"]["stop"],
        started_at=said["timestamp"]["start"],
        wal_start=said["archive"]["start"],
        references=tuple(said.get("reference") or ()),
        annotations=said.get("annotation") or {},
        taken_bytes=said["info"].get("delta", 0),
        database=int((said.get("database") or {}).get("id", 1)),
    )


def _trouble(said: dict[str, Any]) -> str:
    """What the repository's own status says, when it says more than ours."""
    found = [repo["status"]["message"] for repo in said.get("repo") or [] if repo["status"]["code"]]
    return str(found[0]) if found else ""


@dataclass(frozen=True)
class ArchiveEnd:
    """The newest segment of the archive: its name, when it arrived, and how long ago that is by the same clock."""

    segment: str
    at: float  # unix seconds
    age_s: float


_TIMELINES = "ls /var/lib/pgbackrest/archive/%s/%s 2>/dev/null | cut -c1-8"


def newest_timeline(host: Host, stanza: str, repository: Repository) -> int:
    """The highest timeline that the archive knows, by its history files and its WAL; 0 when it holds nothing."""
    if not repository.archive_id:
        return 0
    said = host.run(_TIMELINES, stanza, repository.archive_id, user="postgres", timeout=10).stdout
    names = (line for line in said.split() if re.fullmatch("[0-9A-F]{8}", line))
    return max((int(name, 16) for name in names), default=0)


_END = """
file=$(find /var/lib/pgbackrest/archive/%s/%s/%s -name %s -printf '%%T@\n' 2>/dev/null | sort | tail -n1)
echo "${file:-0} $(date +%%s)"
"""


def tablespaces(host: Host, stanza: str, label: str, timeout: float | None = None) -> tuple[str, ...]:
    """Where the tablespaces of this backup lay, and go again. Raises DrError."""
    said = host.run(
        "pgbackrest --stanza=%s --set=%s --output=json info", stanza, label, user="postgres", timeout=timeout
    ).json()
    try:
        return tuple(one["destination"] for one in said[0]["backup"][0].get("tablespace") or ())
    except (LookupError, TypeError) as error:
        raise TargetFailed(f"{host} does not say which tablespaces {label} has") from error


def archive_end(host: Host, stanza: str, repository: Repository) -> ArchiveEnd | None:
    """None when the archive holds no segment. Raises DrError when the host does not answer."""
    newest = repository.archive_max
    if not newest:
        return None
    text = host.run(_END, stanza, repository.archive_id, newest[:16], f"{newest}-*", user="postgres").text
    at, now = (float(word) for word in text.split())
    return ArchiveEnd(newest, at, max(0.0, now - at))
