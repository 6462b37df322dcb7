"""Which programs this machine has, and which ones podman asks of it."""

import re
import shutil
import subprocess
from pathlib import Path

_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/local/sbin"
_FILES = {"netavark": "/usr/lib/podman/netavark", "aardvark-dns": "/usr/lib/podman/aardvark-dns"}

# Podman 5 makes firewalls, and the way out of a user's namespace, with other programs than the ones before it.
_NEW_PODMAN = 5
_OLD_RELEASES = ("bullseye", "bookworm", "jammy", "noble")


def has(program: str) -> bool:
    """Whether a program is here, also where an ordinary user's PATH does not look."""
    return bool(
        shutil.which(program)
        or shutil.which(program, path=_SYSTEM_PATH)
        or (program in _FILES and Path(_FILES[program]).exists())
    )


def podmans_firewall() -> tuple[str, str]:
    """(program, package) that podman's networks need and do not bring along."""
    return ("nft", "nftables") if _is_new() else ("iptables", "iptables")


def podmans_way_out() -> tuple[str, str]:
    """(program, package) with which a podman without root reaches the world."""
    return ("pasta", "passt") if _is_new() else ("slirp4netns", "slirp4netns")


def version(text: str) -> tuple[int, ...]:
    """The first version number in a text; () when it has none."""
    found = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def os_release() -> str:
    """What the system calls itself."""
    path = Path("/etc/os-release")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _is_new() -> bool:
    """Of the podman that is here, else of the one that this machine would install."""
    podman = shutil.which("podman")
    if podman:
        said = subprocess.run([podman, "--version"], capture_output=True, text=True, check=False).stdout
        return version(said) >= (_NEW_PODMAN,)
    return not any(name in os_release() for name in _OLD_RELEASES)
