"""How full the disks are that hold what must not be lost."""

from __future__ import annotations

from dataclasses import dataclass

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
    ran = host.run(
        "for path in %s; do df -B1 --output=target,size,avail \"$path\" 2>/dev/null | tail -n +2; done".replace(
            "%s", " ".join(["%s"] * len(where))
        ),
        *where, expect=None, timeout=timeout,
    )  # fmt: skip
    return parse(ran.stdout)


def parse(text: str) -> tuple[Disk, ...]:
    """Lines of `df --output=target,size,avail`, each file system once."""
    rows = (line.rsplit(maxsplit=2) for line in text.splitlines() if line.strip())
    return tuple(dict.fromkeys(Disk(mount, int(total), int(free)) for mount, total, free in rows))
