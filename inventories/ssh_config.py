"""The inventory as ssh_config: one file for our own calls and for testinfra, and a plain one for pyinfra.

pyinfra would read the operator's own ~/.ssh/config, which no runbook does: what reaches a host stands in the inventory
alone, so that what a deploy can reach every runbook can.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from inventories.errors import TargetFailed
from inventories.inventory import HostEntry
from inventories.whoami import user_id


def ours(entries: Sequence[HostEntry]) -> Path:
    """For OpenSSH, multiplexed; testinfra multiplexes only when told a ControlPath."""
    directory = _directory()
    common = [
        "Host *", "  BatchMode yes", "  ControlMaster auto", f"  ControlPath {directory}/%C", "  ControlPersist 300",
        "  ConnectTimeout 3", "  ServerAliveInterval 2", "  ServerAliveCountMax 3", "  LogLevel ERROR",
    ]  # fmt: skip
    return _write(directory, [*_stanzas(entries), *common])


def pyinfras(entries: Sequence[HostEntry]) -> Path:
    """For pyinfra, which looks a host up by what it dials and takes all but a bastion from its own data."""
    return _write(_directory(), ["# what pyinfra reads beside the inventory", *_stanzas(entries)])


def _directory() -> Path:
    directory = Path(tempfile.gettempdir()) / f"mystocks-dr-{user_id()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid() or directory.stat().st_mode & 0o077:
        raise TargetFailed(f"{directory} belongs to somebody else or is open to others", "remove it, or set TMPDIR")
    return directory


def _write(directory: Path, lines: Sequence[str]) -> Path:
    text = "\n".join(lines) + "\n"
    path = directory / f"ssh_config-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(text)
        partial.replace(path)
    return path


def _stanzas(entries: Sequence[HostEntry]) -> Iterator[str]:
    """Every host, then every bastion that is none of them: with the key and the known hosts of whom it leads to."""
    known = {entry.name for entry in entries}
    for entry in entries:
        # pyinfra knows the host by what it dials; that alone would not tell two hosts of one address apart.
        yield f"Host {entry.name} {entry.ssh_hostname}" if entry.ssh_proxy_jump else f"Host {entry.name}"
        yield f"  HostName {entry.ssh_hostname}"
        yield f"  User {entry.ssh_user}"
        yield f"  Port {entry.ssh_port}"
        if entry.ssh_proxy_jump:
            yield f"  ProxyJump {entry.ssh_proxy_jump}"
        yield from _trust(entry)
    for entry in entries:
        for hop in entry.hops:
            if hop not in known:
                known.add(hop)
                yield f"Host {hop}"
                yield f"  User {entry.ssh_user}"
                yield from _trust(entry)


def _trust(entry: HostEntry) -> Iterator[str]:
    if entry.ssh_key:
        yield f"  IdentityFile {Path(entry.ssh_key).expanduser()}"
        yield "  IdentitiesOnly yes"
    if entry.ssh_known_hosts_file:
        yield f"  UserKnownHostsFile {Path(entry.ssh_known_hosts_file).expanduser()}"
        yield "  GlobalKnownHostsFile /dev/null"
    yield f"  StrictHostKeyChecking {entry.ssh_strict_host_key_checking}"


__all__ = ["ours", "pyinfras"]
