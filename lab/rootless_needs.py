"""What a machine must have so that a user without root can have a lab; what is missing is named in one sentence."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from inventories.errors import BadInput
from lab.programs import has, os_release, podmans_firewall, podmans_way_out
from lab.rootless import runtime_dir

_CGROUPS = Path("/sys/fs/cgroup")
_SYSTEMD = Path("/run/systemd/system")  # there when it booted the machine
_USER_BUS = Path("/usr/lib/systemd/user/dbus.socket")
_TUN = Path("/dev/net/tun")
_RANGES = {"uids": Path("/etc/subuid"), "gids": Path("/etc/subgid")}
_IDS = 65536
_FIRST_ID = 100000


def check() -> None:
    """Raise BadInput, one sentence and the commands that help, unless this user can have a lab without root."""
    if not (_CGROUPS / "cgroup.controllers").exists():
        raise BadInput(
            "Without root no host of a lab can start here: systemd needs a cgroup of its own, and on this machine"
            " (old cgroup hierarchy) only root can make one.",
            "Run it as root or where sudo asks no password, or boot with systemd.unified_cgroup_hierarchy=1.",
        )
    missing = dict(_missing())
    if missing:
        raise BadInput(
            f"A lab without root needs what is missing here: {'; '.join(missing)}.", " && ".join(missing.values())
        )
    if not (_own_cgroup_is_ours() or (runtime_dir() / "bus").exists()):
        user = _user()
        raise BadInput(
            f"This login has no systemd session of its own, without which {user} may not make a cgroup for a host.",
            f"sudo loginctl enable-linger {user}, then log in anew, over ssh or at a console.",
        )


def _missing() -> Iterator[tuple[str, str]]:
    """What is not here, in words, and the command that brings it; all packages come with one command."""
    packages = list(_missing_packages())
    if packages:
        command = f"sudo apt-get install -y --no-install-recommends {' '.join(packages)}"
        if not shutil.which("apt-get"):
            command = f"install {', '.join(packages)} with this machine's package manager"
        yield f"the package{'s'[: len(packages) > 1]} {', '.join(packages)}", command
    lacking = [kind for kind, path in _RANGES.items() if not _has_ids(path)]
    if lacking:
        start = max(map(_first_free, _RANGES.values()))
        options = " ".join(f"--add-sub{kind} {start}-{start + _IDS - 1}" for kind in lacking)
        asked = f"sudo usermod {options} {_user()}"
        yield f"{_IDS:,} subordinate ids for {_user()}", f"{asked} && podman system migrate"
    if not os.access(_TUN, os.R_OK | os.W_OK):
        yield f"{_TUN} open to everybody", f"sudo chmod 666 {_TUN}"


def _missing_packages() -> Iterator[str]:
    for program, package in (
        ("podman", "podman"),
        ("netavark", "netavark"),
        ("aardvark-dns", "aardvark-dns"),
        podmans_firewall(),
        ("newuidmap", "uidmap"),
        podmans_way_out(),
        ("ssh", "openssh-client"),
    ):
        if not has(program):
            yield package
    if not (has("crun") or has("runc")):
        yield "runc"
    if _SYSTEMD.exists() and not _USER_BUS.exists():
        yield "dbus-user-session"
    if "ID=debian" in os_release().splitlines() and not has("mmdebstrap") and os.environ.get("DR_LAB_BASE") != "image":
        yield "mmdebstrap"


def _has_ids(path: Path) -> bool:
    """Whether the user was given enough ids, by this file or by whatever getsubids asks."""
    names = (_user(), str(os.getuid()))
    if sum(count for name, _, count in _ranges(path) if name in names) >= _IDS:
        return True
    getsubids = shutil.which("getsubids")
    flags = ["-g"] if path.name == "subgid" else []
    return bool(getsubids) and (
        subprocess.run([str(getsubids), *flags, _user()], capture_output=True, check=False).returncode == 0
    )


def _first_free(path: Path) -> int:
    return max([_FIRST_ID, *(start + count for _, start, count in _ranges(path))])


def _ranges(path: Path) -> Iterator[tuple[str, int, int]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        name, _, numbers = line.partition(":")
        start, _, count = numbers.partition(":")
        if start.isdigit() and count.isdigit():
            yield name, int(start), int(count)


def _own_cgroup_is_ours() -> bool:
    """Whether containers may have cgroups below the one that we are in."""
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        if line.startswith("0::"):
            return os.access(_CGROUPS / line[3:].strip().lstrip("/"), os.W_OK)
    return False


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
