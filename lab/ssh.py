"""How the operator's ssh reaches a lab: pinned keys, one shared connection a host, quick to notice death."""

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from inventories.errors import Refused
from inventories.whoami import user_id
from lab import state

_CONFIG = """\
Host {aliases}
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 2
  ServerAliveInterval 1
  ServerAliveCountMax 3
  ControlMaster auto
  ControlPath {sockets}/%C
  ControlPersist 300
  LogLevel ERROR
"""


def sockets_dir() -> Path:
    """A private directory with a short path: a unix socket's has 108 bytes, of which %C takes 40."""
    path = Path("/tmp") / f"dr-{user_id()}"  # noqa: S108
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused(f"{path} is not a private directory of this user.", f"Look at it, then: rm -r {path}")
    return path


def write_config(lab: state.LabState) -> None:
    """Write the lab's ssh_config; hosts answer to their name and to their address."""
    paths = state.files(lab.name)
    blocks = [f"Host {host.name}\n  HostName {host.address}\n" for host in lab.hosts.values()]
    aliases = " ".join(f"{host.name} {host.address}" for host in lab.hosts.values())
    common = _CONFIG.format(
        aliases=aliases, key=_quoted(paths.key), known_hosts=_quoted(paths.known_hosts), sockets=sockets_dir()
    )
    state.write_atomically(paths.ssh_config, "\n".join([*blocks, common]), 0o600)


def write_known_hosts(lab: state.LabState, keys: Mapping[str, str]) -> None:
    """Pin the host keys that the engine read from the hosts' disks; keys: host name to public key line."""
    path = state.files(lab.name).known_hosts
    known: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            names, _, key = line.partition(" ")
            known[names.split(",")[0]] = key
    fresh = {host: " ".join(key.split()[:2]) for host, key in keys.items()}
    pinned = known | fresh
    lines = [
        f"{host.name},{host.address} {pinned[host.name]}\n"
        for host in lab.hosts.values()
        if host.name in pinned
    ]
    state.write_atomically(path, "".join(lines), 0o600)


def argv(lab: str, host: str, *options: str) -> list[str]:
    """The start of an ssh command line to that host; the caller appends the remote command."""
    return ["ssh", "-F", str(state.files(lab).ssh_config), *options, host]


def answers(lab: str, host: str) -> bool:
    """Whether a new SSH connection gets in and can run a command."""
    command = [*argv(lab, host, "-o", "ControlPath=none"), "true"]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def hang_up(lab: str, host: str) -> None:
    """End the shared connection to a host, if there is one.

    Without it ssh would talk to a host that is no more.
    """
    command = ["ssh", "-F", str(state.files(lab).ssh_config), "-O", "exit", host]
    subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def _quoted(path: Path) -> str:
    return f'"{path}"'
