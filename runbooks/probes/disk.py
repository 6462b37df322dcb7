"""How full the disks are that hold what must not be lost; and, in the same question, what a host's clock says."""

from __future__ import annotations

import time
from dataclasses import dataclass

from inventories.errors import TargetFailed
from runbooks.hosts import Estate, Host

REPOSITORY = "/var/lib/pgbackrest"


@dataclass(frozen=True)
class Disk:
    """One file system: where it is mounted, its bytes, and those that an ordinary user may still take."""

    mount: str
    total_bytes: int
    free_bytes: int

    @property
    def used_percent(self) -> float:
        """Of what an ordinary user can have: 100 is when writing fails."""
        return 100 * (1 - self.free_bytes / self.total_bytes) if self.total_bytes else 100.0


def paths(estate: Estate, host: Host) -> tuple[str, ...]:
    """What of this host must not run full: data and WAL, the repository, the outbox."""
    version = estate.data["postgres_version"]
    found = ["/var/lib/mystocks-dr"]
    if host in estate.postgres:
        found += [f"/var/lib/postgresql/{version}/main", f"/var/lib/postgresql/{version}/main/pg_wal"]
    if host == estate.backup:
        found.append(REPOSITORY)
    return tuple(found)


def look(host: Host, where: tuple[str, ...], timeout: float | None = None) -> tuple[Disk, ...]:
    """The file systems that hold these paths, each once; a path that is not there holds nothing. Raises DrError."""
    return parse(host.run(_filled(_DF, where), *where, expect=None, timeout=timeout).stdout)


def with_clock(host: Host, where: tuple[str, ...], timeout: float | None = None) -> tuple[tuple[Disk, ...], float]:
    """The same, and by how many seconds the host's clock is ahead of this machine's. Raises DrError."""
    ran = host.run(_filled(f"date +%%s.%%N; {_DF}", where), *where, expect=None, timeout=timeout)
    first, _, rest = ran.stdout.partition("\n")
    try:
        return parse(rest), float(first) - (time.time() - ran.seconds / 2)
    except ValueError as error:
        raise TargetFailed(f"{host} does not say what time it is: {first[:80]!r}") from error


_DF = 'for path in %s; do df -B1 --output=target,size,avail "$path" 2>/dev/null | tail -n +2; done'


def _filled(command: str, where: tuple[str, ...]) -> str:
    return command.replace("%s;", " ".join(["%s"] * len(where)) + ";")


def parse(text: str) -> tuple[Disk, ...]:
    """Lines of `df --output=target,size,avail`, each file system once."""
    rows = (line.rsplit(maxsplit=2) for line in text.splitlines() if line.strip())
    return tuple(dict.fromkeys(Disk(mount, int(total), int(free)) for mount, total, free in rows))
