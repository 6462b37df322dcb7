"""What a path is before SQLite may have it: a file of its own kind, on a disk of this host, in nobody's way.

Nothing here opens the file of a database that is in use: closing any handle of a file gives back every lock that this
process holds on it, SQLite's too. Its bytes are read only once SQLite itself has said that it is no database.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

from agents.base.errors import AgentError

_SIDECARS = ("-wal", "-shm", "-journal")
MOUNTS = Path("/proc/self/mountinfo")
# Locks and shared memory of these are another host's matter, and SQLite relies on both.
_REMOTE = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|afs|ncpfs|9p|ceph|glusterfs|lustre|beegfs|fuse\.(sshfs|gluster\w*|s3\w*|rclone))"
)
MAGIC = b"SQLite format 3\0"
_LOOKED = 1 << 16
_SECTOR = 512
_RANDOM_BITS = 7.9  # of 8 that a byte of encrypted data carries; text and pages of a database carry fewer
_KINDS = {b"\x1f\x8b": "a gzip file", b"\x28\xb5\x2f\xfd": "a zstd file", b"PK\x03\x04": "a ZIP archive"}


class NoDatabase(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """The file is no SQLite database that could be used."""

    exit_code = 2


class InUse(AgentError):  # noqa: N818
    """Somebody has the database open."""

    exit_code = 3


def sidecar(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def sidecars(path: Path) -> tuple[Path, ...]:
    """Where SQLite lays its own files beside a database; they are not always there."""
    return tuple(sidecar(path, ending) for ending in _SIDECARS)


def check_disk(path: Path, mounts: Path = MOUNTS) -> None:
    """Raises NoDatabase for a file system of another host: its locks let two writers in, and a WAL needs one host."""
    place, kind = _mount(path, mounts)
    if _REMOTE.fullmatch(kind):
        raise NoDatabase(
            f"{path} lies on {place}, which is {kind}: SQLite's locks and its write-ahead log are not safe there.",
            "Put it on a disk of this host.",
        )


def _mount(path: Path, mounts: Path) -> tuple[str, str]:
    """Mount point and file system of the longest mount point above `path`; empty where nobody tells."""
    real = str(path.resolve())
    best = ("", "")
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return best
    for line in lines:
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best[0]):
            best = (place, fields[fields.index("-", 6) + 1])
    return best


def check_file(path: Path) -> None:
    """Raises NoDatabase for what SQLite would take for a new database, or could not open: nothing is opened here."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise NoDatabase(f"There is no {path}.", "Check the path; a restore brings it back.") from error
    except OSError as error:
        raise NoDatabase(f"{path} cannot be looked at: {error.strerror}.", "Check path and rights.") from error
    if not path.is_file():
        raise NoDatabase(f"{path} is no file.", "Name the file of the database.")
    if found.st_size == 0:
        raise NoDatabase(
            f"{path} has 0 bytes: SQLite would take it for a new database, and what was in it is gone.",
            "Restore it; or remove it, when it never held anything.",
        )


def check_head(path: Path) -> None:
    """Raises NoDatabase before SQLite has opened it: closing it, SQLite would copy a log into whatever the file is.

    Another process reads it, for the locks' sake.
    """
    head = subprocess.run(["head", "-c", str(len(MAGIC)), "--", str(path)], capture_output=True, check=False)
    if head.returncode == 0 and head.stdout != MAGIC:
        raise what_it_is(path)


def what_it_is(path: Path) -> NoDatabase:
    """Why SQLite says that it is no database. Call it only once SQLite has said so."""
    try:
        with path.open("rb") as source:
            head = source.read(_LOOKED)
        size = path.stat().st_size
    except OSError as error:
        return NoDatabase(f"{path} cannot be read: {error.strerror}.", "Check path and rights.")
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return NoDatabase(f"{path} is {kind}, no SQLite database.", "Unpack it first.")
    if head.startswith(MAGIC):
        return NoDatabase(f"{path} has a damaged header: its first page is none of a SQLite database.", _RESTORE)
    if size >= _SECTOR and size % _SECTOR == 0 and _bits(head) > _RANDOM_BITS:
        return NoDatabase(
            f"{path} is encrypted (SQLCipher or the like), and its key is not ours.",
            "Decrypt it with the program that made it; our own backups are restored by sqlite-restore.",
        )
    return NoDatabase(f"{path} is no SQLite database: it begins with {head[:12]!r}.", _RESTORE)


_RESTORE = "Is it the right file? A restore puts the last good one in its place."


def _bits(data: bytes) -> float:
    """Bits of information in a byte, 8 for what is random; a short file is judged by what it can have at most."""
    counts = Counter(data)
    entropy = -sum(n / len(data) * math.log2(n / len(data)) for n in counts.values())
    return entropy / min(8.0, math.log2(len(data))) * 8 if len(data) < 4096 else entropy


def users(path: Path) -> list[str]:
    """Other processes that have the database or a sidecar of it open: `python3 (pid 17)`; those that we may see."""
    wanted = {(s.st_dev, s.st_ino) for one in (path, *sidecars(path)) if (s := _stat(one))}
    return [f"{_name(pid)} (pid {pid})" for pid in _others() if _opened(pid) & wanted]


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _others() -> list[int]:
    return sorted(
        int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and int(one.name) != os.getpid()
    )


def _opened(pid: int) -> set[tuple[int, int]]:
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return set()
    return {(s.st_dev, s.st_ino) for one in handles if (s := _stat(one))}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "somebody"
