"""The off-site copy: a host that offers one account nothing but sftp, and the backup host's way there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyinfra import host, inventory
from pyinfra.operations import files, server

from deploys import estate, pki
from deploys.base import UPLOADS
from deploys.operations import known_host
from deploys.text import MANAGED
from inventories.catalog.load import load_recovery

USER = "offsite"
HOME = "/var/lib/mystocks-offsite"
CLIENT = "/etc/mystocks-dr/offsite"
_MINE: dict[str, Any] = {"user": "postgres", "group": "postgres"}
_ROOTS: dict[str, Any] = {"user": "root", "group": "root"}


def deploy() -> None:
    """The account on the off-site host. It can write its own directory and not its own keys: those are root's."""
    server.user(  # noqa: S604 - the user's login shell, nothing is run in it
        name="off-site user", user=USER, home=HOME, shell="/usr/sbin/nologin", system=True, ensure_home=False
    )
    for path, mode in ((HOME, "0755"), (f"{HOME}/.ssh", "0755")):
        files.directory(name=f"directory {path}", path=path, mode=mode, **_ROOTS)
    files.directory(name="room for the copies", path=f"{HOME}/backups", mode="0700", user=USER, group=USER)
    files.template(
        name="off-site key", src=estate.template("offsite", "authorized_keys.j2"),
        dest=f"{HOME}/.ssh/authorized_keys", mode="0644", **_ROOTS, managed=MANAGED,
        key=_key().public.read_text().strip(),
    )  # fmt: skip


def client() -> None:
    """The backup host's key, password and settings; nothing where the estate has no off-site host."""
    there = estate.nodes("offsite")
    if not there:
        return
    node = there[0]
    files.directory(name="off-site settings", path=CLIENT, mode="0750", **_MINE)
    files.directory(name="restic's cache", path="/var/cache/mystocks-dr/restic", mode="0700", **_MINE)
    files.put(
        name="key to the off-site host", src=str(_key().private), dest=f"{CLIENT}/id_ed25519", mode="0600",
        _temp_dir=UPLOADS, **_MINE,
    )  # fmt: skip
    files.template(
        name="password of the off-site copy", src=estate.template("offsite", "password.j2"),
        dest=f"{CLIENT}/password", mode="0600", _temp_dir=UPLOADS, **_MINE, password=estate.secret()["restic"],
    )  # fmt: skip
    files.template(
        name="way to the off-site host", src=estate.template("offsite", "ssh_config.j2"), dest=f"{CLIENT}/ssh_config",
        mode="0644", **_MINE, managed=MANAGED, node=node, port=_port(node.name), account=USER, folder=CLIENT,
    )  # fmt: skip
    known_host(name="the off-site host is known by its key", path=f"{CLIENT}/known_hosts", node=node.name)


def settings() -> dict[str, Any] | None:
    """The `offsite` of jobs.json; None where the estate has no off-site host."""
    there, kept = estate.nodes("offsite"), load_recovery().stores["postgresql"].offsite
    if not there or kept is None:
        return None
    return {
        "host": there[0].name,
        "repository": f"sftp:{there[0].name}:backups",
        "ssh_config": f"{CLIENT}/ssh_config",
        "password_file": f"{CLIENT}/password",
        **kept.model_dump(),
    }


def _key() -> pki.SshKey:
    return pki.ssh_key(Path(host.data.get("pki_dir")).expanduser(), "offsite")


def _port(name: str) -> int:
    found = inventory.get_host(name)
    return int((found.data.get("ssh_port") if found else None) or 22)
