"""What lies where a PostgreSQL data directory belongs: control file, WAL, mounts, links, and who works on it.

Only the files are asked, and the kernel: no mark of ours says anything here. Changes nothing.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
FSTAB = Path("/etc/fstab")
MOUNTS = Path("/proc/self/mountinfo")
IN_RECOVERY = ("in archive recovery", "shut down in recovery")
FIRST_NORMAL_OID = 16384  # a server that was ever asked to make anything hands out none below
LOST_FOUND = "lost+found"
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:\.partial)?")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
# What initdb makes, and a server that nobody asked for anything; marks of earlier versions of ours lie there too.
_OF_UNUSED = re.compile(
    r"PG_VERSION|base|global|pg_(clog|commit_ts|dynshmem|logical|multixact|notify|replslot|serial|snapshots|stat|"
    r"stat_tmp|subtrans|tblspc|twophase|wal|xact)|postgresql(\.auto)?\.conf|pg_(hba|ident)\.conf|postmaster\.\w+|"
    r"current_logfiles|log|(server|root)\.(crt|key)|lost\+found|\.clone|mystocks-[\w-]+"
)
_WORKERS = ("postgres", "pgbackrest", "pg_rewind", "pg_basebackup")


@dataclass(frozen=True)
class Seen:
    """One data directory. `real` is where a symbolic link leads; `inode` that of the directory itself, 0 without one.

    `control` is None where there is no control file, `trouble` says why one cannot be read. `wal` is where pg_wal
    leads when it is a link, `tablespaces` oid -> directory. `written`: the end of the WAL that really lies in pg_wal.
    `worker`: who works on it now, in words. `mounts`: mount points below it, `unmounted`: one that /etc/fstab names
    here or where a link leads, without a mount.
    """

    path: Path
    real: Path
    inode: int = 0
    names: tuple[str, ...] = ()
    mounted: bool = False
    mounts: tuple[str, ...] = ()
    unmounted: str = ""
    worker: str = ""
    control: Mapping[str, str] | None = None
    trouble: str = ""
    is_standby: bool = False
    has_label: bool = False
    has_old_label: bool = False  # a server was started from a backup here
    wal: str = ""
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    histories: int = 0  # the highest timeline of its history files
    written: int = 0

    @property
    def is_nothing(self) -> bool:
        return not self.names

    @property
    def system(self) -> str:
        return self._said("Database system identifier")

    @property
    def state(self) -> str:
        return self._said("Database cluster state")

    @property
    def timeline(self) -> int:
        """The highest timeline that anything in it is of."""
        told = (self._said("Latest checkpoint's TimeLineID"), self._said("Min recovery ending loc's timeline"))
        return max(self.histories, *(int(one) for one in told if one.isdigit()), 0)

    @property
    def reaches(self) -> int:
        """The furthest position that anything in it may be of."""
        return max(self.written, self._noted)

    @property
    def has_been_at(self) -> int:
        """A position that something in it is certainly of: its last segment holds WAL from its first page on."""
        return max(self.written - self.segment_bytes, self._noted)

    @property
    def _noted(self) -> int:
        named = ("Latest checkpoint location", "Minimum recovery ending location")
        return max(position(self._said(name)) for name in named)

    @property
    def in_recovery(self) -> bool:
        return self.state in IN_RECOVERY

    @property
    def strangers(self) -> tuple[str, ...]:
        """What lies in it and is no part of a cluster that nobody has used."""
        return tuple(name for name in self.names if not _OF_UNUSED.fullmatch(name))

    @property
    def segment_bytes(self) -> int:
        """0 where nobody can say."""
        size = self._said("Bytes per WAL segment")
        return int(size) if size.isdigit() else 0

    @property
    def is_unused(self) -> bool:
        """initdb made it, and no server that ever ran in it was asked to make a table, a role or a database."""
        oid = self._said("Latest checkpoint's NextOID")
        return (
            self.state == "shut down" and self.timeline == 1 and not self.is_standby and not self.has_label
            and oid.isdigit() and int(oid) < FIRST_NORMAL_OID
        )  # fmt: skip

    def _said(self, name: str) -> str:
        return (self.control or {}).get(name, "")

    def __str__(self) -> str:
        if self.control is None:
            return "files, but no control file" if not self.trouble else f"a control file that says {self.trouble}"
        return f"a cluster of system {self.system} on timeline {self.timeline}, {self.state!r}"


def look(path: Path, programs: Path) -> Seen:
    """`programs`: where this version's pg_controldata is. Raises OSError where the directory cannot be read."""
    real = path.resolve()
    if not real.is_dir():
        return Seen(path, real, unmounted=_unmounted(real), worker=_worker(real))
    control, trouble = _control(real, programs)
    wal, tablespaces = real / "pg_wal", _tablespaces(real)
    linked = [os.path.normpath(real / wal.readlink())] if wal.is_symlink() else []
    return Seen(
        path, real,
        inode=real.stat().st_ino,
        names=tuple(sorted(entry.name for entry in os.scandir(real))),
        mounted=os.path.ismount(real),
        mounts=_mounts(real),
        unmounted=next(filter(None, map(_unmounted, (real, *map(Path, (*linked, *tablespaces.values()))))), ""),
        worker=_worker(real),
        control=control,
        trouble=trouble,
        is_standby=any((real / name).exists() for name in ("standby.signal", "recovery.signal")),
        has_label=(real / "backup_label").exists(),
        has_old_label=(real / "backup_label.old").exists(),
        wal=str(wal.readlink()) if wal.is_symlink() else "",
        tablespaces=tablespaces,
        histories=max((int(found[1], 16) for found in map(_HISTORY.fullmatch, _names(wal)) if found), default=0),
        written=_written(wal, control or {}),
    )  # fmt: skip


def position(text: str) -> int:
    """An LSN as a number; 0 for what is none."""
    high, _, low = text.partition("/")
    try:
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        return 0


def _control(real: Path, programs: Path) -> tuple[dict[str, str] | None, str]:
    if not (real / "global" / "pg_control").exists():
        return None, ""
    try:
        done = subprocess.run(
            [programs / "pg_controldata", real], capture_output=True, text=True, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        return None, f"nothing, for {error.filename} is not there"
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    said = {name.strip(): value.strip() for name, _, value in pairs}
    # It warns of a wrong checksum and prints on all the same: what it then says may be anything.
    if done.returncode or "WARNING" in said or "Database system identifier" not in said:
        words = (done.stderr or done.stdout).split("\n")[0].strip()
        return None, repr(words[:120])
    return said, ""


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []


def _tablespaces(real: Path) -> dict[str, str]:
    folder = real / "pg_tblspc"
    return {name: str((folder / name).readlink()) for name in _names(folder) if (folder / name).is_symlink()}


def _written(wal: Path, control: Mapping[str, str]) -> int:
    """Behind the last segment whose first page is of itself: recycled ones have names of WAL that is still to come."""
    size = int(control.get("Bytes per WAL segment", "0") or 0)
    if not size:
        return 0
    ends = [0]
    for name in _names(wal):
        found = _SEGMENT.fullmatch(name)
        if found:
            begins = (int(found[2], 16) << 32) + int(found[3], 16) * size
            if _page(wal / name) == (int(found[1], 16), begins):
                ends.append(begins + size)
    return max(ends)


def _page(segment: Path) -> tuple[int, int]:
    """Timeline and position that the segment's first page has in its header."""
    try:
        with segment.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:  # a server that runs has removed it meanwhile
        return 0, 0
    if len(head) < 16:
        return 0, 0
    _, _, timeline, begins = struct.unpack("=HHIQ", head)
    return timeline, begins


def _worker(real: Path) -> str:
    """A process that runs in the directory, or restores, rewinds or clones into it. Numbers in files prove nothing.

    One that may be such a process counts: a root without CAP_SYS_PTRACE cannot read where another user's works.
    """
    for process in PROC.glob("[0-9]*"):
        name = ""
        try:
            name = (process / "comm").read_text().strip()
            if name not in _WORKERS:
                continue
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if name == "postgres" and (process / "cwd").readlink() == real:
                return f"PostgreSQL runs in it (process {process.name})"
            if name != "postgres" and str(real) in _targets(words):
                return f"{name} works on it (process {process.name})"
        except PermissionError:
            return f"{name} runs, and nobody may read where (process {process.name})"
        except OSError:
            continue  # it has ended
    return ""


def _targets(words: list[str]) -> Iterator[str]:
    """Directories that a program was told to work on, as `-D DIR` or `--pg1-path=DIR`."""
    for before, word in zip(["", *words], words, strict=False):
        if before in ("-D", "--pgdata", "--target-pgdata"):
            yield os.path.realpath(word)
        elif word.startswith(("--pg1-path=", "--pgdata=", "--target-pgdata=")):
            yield os.path.realpath(word.partition("=")[2])


def _mounts(real: Path) -> tuple[str, ...]:
    points = (_unescaped(line.split()[4]) for line in MOUNTS.read_text().splitlines())
    return tuple(sorted(point for point in points if real in Path(point).parents))


def _unescaped(text: str) -> str:
    """As the kernel and fstab write a blank in a path."""
    return text.replace("\\040", " ")


def _unmounted(real: Path) -> str:
    """A mount point at the directory, above or below it, that /etc/fstab declares and that nothing is mounted on."""
    try:
        rows = [line.split() for line in FSTAB.read_text().splitlines()]
    except OSError:
        return ""
    for row in rows:
        if len(row) < 3 or row[0].startswith("#") or not row[1].startswith("/") or row[1] == "/":
            continue
        point = Path(_unescaped(row[1]))
        near = point == real or point in real.parents or point == real / "pg_wal"
        if near and not os.path.ismount(point):
            return str(point)
    return ""
