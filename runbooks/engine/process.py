"""Who this process is, and whether another one still lives."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path


def user_at_machine() -> str:
    """The owner's name for people: user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry in the password database
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def boot_id() -> str:
    """Changes with every boot of this machine, so that no old pid is mistaken; empty where untold."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def machine_id() -> str:
    """The machine's own id, which no host name is; empty where the system keeps none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    return ""


def pid_space() -> str:
    """The process numbers of two containers on one machine mean different processes; empty where untold."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def started_at(pid: int) -> str:
    """When the process was started, in the kernel's ticks; empty when there is none, or only its remains."""
    try:
        # The second field is the program's name in brackets, and may hold anything.
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _signalled(pid)
    return "" if stat[0] in "ZX" else stat[19]


def _signalled(pid: int) -> str:
    """For systems without /proc: whether the pid is taken at all."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "taken"
