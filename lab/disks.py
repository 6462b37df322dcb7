"""Faults of disks: one that is small and can run full, and a byte that rots.

The small disk is a tmpfs over a directory. The real directory stays reachable through a bind mount, so that what was
written meanwhile is copied back. One small disk a host at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.power import find

_ROOM_MIB = 160
_SHRINK = """
set -e
mountpoint -q /mnt/real && exit 0
systemctl stop "$2"
mkdir -p /mnt/real
mount --bind "$1" /mnt/real
size=$(( $(du -sm /mnt/real | cut -f1) + $3 ))
mount -t tmpfs -o "size=${size}m,mode=0700" tmpfs "$1"
cp -a /mnt/real/. "$1"
systemctl start "$2"
"""
_GROW = """
set -e
mountpoint -q /mnt/real || exit 0
rm -f "$1/ballast"
systemctl stop "$2"
find /mnt/real -mindepth 1 -delete
cp -a "$1/." /mnt/real
umount "$1" /mnt/real
systemctl start "$2"
"""
_FLIP = """
import os, sys
path = sys.argv[1]
if not os.path.exists(path):
    sys.exit(0)
with open(path, "r+b") as file:
    at = file.seek(0, 2) // 2
    file.seek(at)
    byte = file.read(1)[0]
    file.seek(at)
    file.write(bytes([byte ^ 0xFF]))
"""


@dataclass(frozen=True)
class SmallDisk:
    """A file system with little room mounted over `path` of a host; `unit` stands still while the directory moves."""

    lab: str
    host: str
    path: str
    unit: str

    def shrink(self, room_mib: int = _ROOM_MIB) -> None:
        """Give the directory a disk of its own with this much room. Does nothing when it has one already."""
        self._inside(_SHRINK, self.path, self.unit, str(room_mib))

    def fill(self) -> None:
        """Leave not a byte."""
        self._inside('head -c 1G /dev/zero >"$1/ballast" 2>/dev/null; true', self.path)

    def empty(self) -> None:
        """Take the ballast away."""
        self._inside('rm -f "$1/ballast"', self.path)

    def grow(self) -> None:
        """Give the directory its real disk back, with what was written meanwhile. Harmless when it has it."""
        self._inside(_GROW, self.path, self.unit)

    def _inside(self, script: str, *args: str) -> None:
        engine, box = find(self.lab, self.host)
        engine.run("exec", "--privileged", box.container, "sh", "-c", script, "sh", *args)


@contextmanager
def small_disk(lab: str, host: str, path: str, unit: str) -> Iterator[SmallDisk]:
    """A small disk for as long as the block runs."""
    disk = SmallDisk(lab, host, path, unit)
    disk.shrink()
    try:
        yield disk
    finally:
        disk.grow()


def flip_byte(lab: str, host: str, path: str) -> None:
    """Turn every bit of the byte in the middle of a file, as a rotten disk does; the same again undoes it.

    A file that is gone needs no undoing.
    """
    engine, box = find(lab, host)
    engine.execute(box.container, "python3", "-c", _FLIP, path)


def biggest_file(lab: str, host: str, folder: str, but: str) -> str:
    """The path of the biggest file below a folder that is not named `but` (a pattern), past the host's network."""
    engine, box = find(lab, host)
    script = 'find "$1" -type f ! -name "$2" -printf "%s %p\\n" | sort -n | tail -n 1 | cut -d" " -f2-'
    return engine.execute(box.container, "sh", "-c", script, "sh", folder, but).strip()
