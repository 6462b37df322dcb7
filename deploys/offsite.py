"""The off-site copy: a host that offers one account nothing but sftp, and the backup host's way there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyinfra import host, inventory
from pyinfra.operations import server

from deploys import estate, pki
from deploys.placed import Place, folder, placed, rendered
from deploys.postgresql.operations import known_host
from deploys.text import MANAGED
from inventories.catalog.load import load_recovery

USER = "offsite"
HOME = "/var/lib/mystocks-offsite"
CLIENT = "/etc/mystocks-dr/offsite"


def deploy() -> None:
    """The account on the off-site host. It can write its own directory and not its own keys: those are root's."""
    server.user(  # noqa: S604 - the user's login shell, nothing is run in it
        name="off-site user", user=USER, home=HOME, shell="/usr/sbin/nologin", system=True, ensure_home=False
    )
    keys = rendered("offsite", "authorized_keys.j2", managed=MANAGED, key=_key().public.read_text().strip())
    placed(
        name="off-site account",
        places=[
            folder(HOME, "0755"),
            folder(f"{HOME}/.ssh", "0755"),
            folder(f"{HOME}/backups", "0700", USER),
            Place(f"{HOME}/.ssh/authorized_keys", "0644", text=keys),
        ],
    )


def client() -> None:
    """The backup host's key, password and settings; nothing where the estate has no off-site host."""
    there = estate.nodes("offsite")
    if not there:
        return
    node = there[0]
    ssh = rendered(
        "offsite", "ssh_config.j2", managed=MANAGED, node=node, port=_port(node.name), account=USER, folder=CLIENT
    )
    password = rendered("offsite", "password.j2", password=estate.secret()["restic"])
    placed(
        name="way to the off-site host",
        places=[
            folder(CLIENT, "0750", "postgres"),
            folder("/var/cache/mystocks-dr", "0755"),
            folder("/var/cache/mystocks-dr/restic", "0700", "postgres"),
            Place(f"{CLIENT}/id_ed25519", "0600", "postgres", _key().private.read_text()),
            Place(f"{CLIENT}/password", "0600", "postgres", password),
            Place(f"{CLIENT}/ssh_config", "0644", "postgres", ssh),
        ],
    )
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
