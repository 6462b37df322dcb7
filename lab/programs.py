"""Which programs this machine has."""

import shutil
from pathlib import Path

_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/local/sbin"
_FILES = {"netavark": "/usr/lib/podman/netavark", "aardvark-dns": "/usr/lib/podman/aardvark-dns"}


def has(program: str) -> bool:
    """Whether a program is here, also where an ordinary user's PATH does not look."""
    return bool(
        shutil.which(program)
        or shutil.which(program, path=_SYSTEM_PATH)
        or (program in _FILES and Path(_FILES[program]).exists())
    )
