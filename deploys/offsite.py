"""The off-site copy: a host that takes what the backup host adds, and the backup host's way there.

The datum `offsite_kind` says what the host offers. `rest-server`: restic's own server, append only, so that whoever
takes over the backup host cannot take the copies away; what may go is let go by the operator. `sftp`: one account and
nothing to install, whose holder may delete.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

from pyinfra import host, inventory
from pyinfra.api.exceptions import DeployError
from pyinfra.facts.files import File
from pyinfra.operations import server, systemd

from deploys import estate, pki
from deploys.placed import Place, folder, placed, rendered
from deploys.postgresql.operations import known_host, packages
from deploys.text import MANAGED
from inventories.catalog.load import load_recovery

USER = "offsite"
HOME = "/var/lib/mystocks-offsite"
CLIENT = "/etc/mystocks-dr/offsite"
SERVER = "/etc/mystocks-dr/offsite-server"
SFTP, REST = "sftp", "rest-server"
PORT = 8443
PROGRAM = "/usr/bin/restic-rest-server"
UNIT = "mystocks-offsite"


def deploy() -> None:
    """The account on the off-site host. It can write its own directory and not its own keys: those are root's."""
    server.user(  # noqa: S604 - the user's login shell, nothing is run in it
        name="off-site user", user=USER, home=HOME, shell="/usr/sbin/nologin", system=True, ensure_home=False
    )
    key = _key().public.read_text().strip() if kind() == SFTP else ""
    placed(
        name="off-site account",
        places=[
            folder(HOME, "0755"),
            folder(f"{HOME}/.ssh", "0755"),
            folder(f"{HOME}/backups", "0700", USER),
            Place(
                f"{HOME}/.ssh/authorized_keys", "0644",
                text=rendered("offsite", "authorized_keys.j2", managed=MANAGED, key=key),
            ),
        ],
    )  # fmt: skip
    if kind() == REST:
        _server()
    elif host.get_fact(File, path=f"/etc/systemd/system/{UNIT}.service"):
        systemd.service(name="off-site server is off", service=UNIT, running=False, enabled=False)


def _server() -> None:
    """restic's own server, of Debian 13 or later. restic beside it is for the operator, who lets snapshots go there."""
    packages(name="off-site server's packages", names=["restic-rest-server", "restic"])
    # The package's own would listen without TLS.
    systemd.service(name="the package's server stays off", service="restic-rest-server", running=False, enabled=False)
    mine = estate.certificate()
    digest = base64.b64encode(hashlib.sha1(_account().encode()).digest()).decode()  # noqa: S324 - as htpasswd has it
    laid = placed(
        name="off-site server's settings",
        places=[
            folder(SERVER, "0755"),
            Place(f"{SERVER}/host.crt", "0644", text=mine.certificate.read_text()),
            Place(f"{SERVER}/host.key", "0600", USER, mine.key.read_text()),
            Place(f"{SERVER}/htpasswd", "0640", USER, rendered("offsite", "htpasswd.j2", digest=digest)),
            Place(f"/etc/systemd/system/{UNIT}.service", "0644", text=rendered(
                "offsite", "mystocks-offsite.service.j2", managed=MANAGED, account=USER, program=PROGRAM, home=HOME,
                folder=SERVER, port=PORT,
            )),
        ],
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads the off-site server", _if=laid.did_change)
    systemd.service(name="off-site server runs", service=UNIT, running=True, enabled=True)
    systemd.service(name="off-site server reads its settings", service=UNIT, restarted=True, _if=laid.did_change)


def client() -> None:
    """The backup host's key or account, password and settings; nothing where the estate has no off-site host."""
    there = estate.nodes("offsite")
    if not there:
        return
    node = there[0]
    ssh = rendered(
        "offsite", "ssh_config.j2", managed=MANAGED, node=node, port=_port(node.name), account=USER, folder=CLIENT
    )
    password = rendered("offsite", "password.j2", password=estate.secret()["restic"])
    way = [
        Place(f"{CLIENT}/id_ed25519", "0600", "postgres", _key().private.read_text()),
        Place(f"{CLIENT}/ssh_config", "0644", "postgres", ssh),
    ]
    if kind() == REST:
        where = rendered("offsite", "repository.j2", password=_account(), node=node, port=PORT)
        way = [Place(f"{CLIENT}/repository", "0600", "postgres", where)]
    placed(
        name="way to the off-site host",
        places=[
            folder(CLIENT, "0750", "postgres"),
            folder("/var/cache/mystocks-dr", "0755"),
            folder("/var/cache/mystocks-dr/restic", "0700", "postgres"),
            Place(f"{CLIENT}/password", "0600", "postgres", password),
            *way,
        ],
    )
    if kind() == SFTP:
        known_host(name="the off-site host is known by its key", path=f"{CLIENT}/known_hosts", node=node.name)


def settings() -> dict[str, Any] | None:
    """The `offsite` of jobs.json; None where the estate has no off-site host."""
    there, kept = estate.nodes("offsite"), load_recovery().stores["postgresql"].offsite
    if not there or kept is None:
        return None
    name = there[0].name
    found = {
        "host": name, "repository": f"sftp:{name}:backups", "ssh_config": f"{CLIENT}/ssh_config",
        "password_file": f"{CLIENT}/password", **kept.model_dump(),
    }  # fmt: skip
    if kind() == REST:
        found |= {
            "repository": f"rest:https://{name}:{PORT}/", "repository_file": f"{CLIENT}/repository",
            "ca_file": estate.CA, "append_only": True,
        }  # fmt: skip
    return found


def kind() -> str:
    """What the off-site host offers. Raises DeployError for what is none of both."""
    found = str(host.data.get("offsite_kind"))
    if found not in (SFTP, REST):
        raise DeployError(f"offsite_kind is {found!r}: it is {SFTP!r} or {REST!r}")
    return found


def _account() -> str:
    """The password of the account at the rest-server: made from the copy's, which its host must not learn."""
    secret = estate.secret()["restic"].get_secret_value()
    return hmac.new(secret.encode(), b"rest-server", hashlib.sha256).hexdigest()


def _key() -> pki.SshKey:
    return pki.ssh_key(Path(host.data.get("pki_dir")).expanduser(), "offsite")


def _port(name: str) -> int:
    found = inventory.get_host(name)
    return int((found.data.get("ssh_port") if found else None) or 22)
