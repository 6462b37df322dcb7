"""What the lab needs of the machine itself.

Installed where root or sudo allow it, named in one sentence elsewhere.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from inventories.errors import BadInput, TargetFailed
from inventories.whoami import in_namespace
from lab import rootless_needs
from lab.engine import Engine, EngineMissing, Kind, engine_programs, find_engine, may_sudo
from lab.programs import has

Say = Callable[[str], None]


def lacks_root() -> bool:
    """Whether the lab would be one of podman without root: neither root nor sudo, and no docker that serves us."""
    if os.geteuid() == 0 or may_sudo():
        return False
    try:
        return find_engine().kind is Kind.PODMAN
    except EngineMissing:
        return os.environ.get("DR_ENGINE") != "docker"


def ensure_engine(say: Say) -> Engine:
    """The container engine, installed first where there is none and we may. BadInput otherwise."""
    if lacks_root():
        rootless_needs.check()
        raise BadInput(
            "The hosts of a rootless podman have addresses that only its own network namespace can reach.",
            "./dr TASK goes there by itself; other programs are started by podman unshare --rootless-netns PROGRAM",
        )
    try:
        engine = find_engine()
    except EngineMissing:
        if os.environ.get("DR_ENGINE") == "docker":
            raise
        ensure_programs(engine_programs(), say)
        engine = find_engine()
    if engine.kind is Kind.PODMAN and Path("/etc/debian_version").exists() and not in_namespace():
        ensure_programs(engine_programs(), say)
    return engine


def ensure_ssh(say: Say) -> None:
    """The operator's own ssh."""
    ensure_programs({"ssh": "openssh-client", "ssh-keygen": "openssh-client"}, say)


def ensure_programs(packages: Mapping[str, str], say: Say) -> None:
    """Install the packages whose programs are missing (program name to package name)."""
    missing = sorted({package for program, package in packages.items() if not has(program)})
    if not missing:
        return
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    hint = f"sudo {' '.join(install)}"
    if not shutil.which("apt-get"):
        raise BadInput(
            f"This machine lacks {', '.join(missing)}.", "Install them with its own package manager."
        )
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if in_namespace() or (sudo and not may_sudo()):  # root of the namespace may not install either
        raise BadInput(f"This machine lacks {', '.join(missing)}, and we may not install them.", hint)
    say(f"Installing {', '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-q", "update"], install):
        done = subprocess.run([*sudo, *command], capture_output=True, text=True, env=env, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise TargetFailed(f"{' '.join(command[:2])} failed: {' '.join(last)}", hint)
