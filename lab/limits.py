"""What this machine lets a container have: its runtime, its limits and its way to run systemd."""

import resource
import shutil
from pathlib import Path

from lab.engine import Engine, EngineMissing, Kind

_WANTED = {"nofile": (resource.RLIMIT_NOFILE, 65536), "nproc": (resource.RLIMIT_NPROC, 32768)}
_PID_MAX = Path("/proc/sys/kernel/pid_max")
_CGROUP2 = Path("/sys/fs/cgroup/cgroup.controllers")


def ulimits() -> tuple[str, ...]:
    """Limits no higher than the shell's own, which not every machine lets us raise."""
    flags: list[str] = []
    for name, (number, wanted) in _WANTED.items():
        hard = resource.getrlimit(number)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if name == "nproc":
            # Podman lowers its own limit to this before it starts anything, so that it cannot hand out more.
            limit = min(limit, int(_PID_MAX.read_text(encoding="ascii")))
        flags += ["--ulimit", f"{name}={limit}:{limit}"]
    return tuple(flags)


def runtime(engine: Engine, cgroup2: Path = _CGROUP2) -> tuple[str, ...]:
    """Podman's crun refuses the old cgroup hierarchy (v1 or hybrid) under systemd; runc does not."""
    if engine.kind is not Kind.PODMAN or cgroup2.exists():
        return ()
    found = shutil.which("runc") or shutil.which("runc", path="/usr/sbin:/sbin:/usr/local/sbin")
    if not found:
        raise EngineMissing("This machine has the old cgroup hierarchy, for which podman needs runc.")
    return ("--runtime", found)


def systemd(engine: Engine) -> tuple[str, ...]:
    """How the engine is told that init is systemd.

    Docker knows nothing of it and has to be generous instead.
    """
    if engine.kind is Kind.PODMAN:
        return ("--systemd=always",)
    scratch = [word for folder in ("/run", "/run/lock", "/tmp") for word in ("--tmpfs", folder)]  # noqa: S108
    return ("--privileged", "--cgroupns=private", *scratch)
