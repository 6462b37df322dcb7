"""Every host: packages, names, UTC, a clock, the service user, the CA."""

from __future__ import annotations

import io

from pyinfra import host
from pyinfra.operations import files, server, systemd

from deploys import estate
from deploys.facts import MARKS, IsContainer
from deploys.postgresql.operations import etc_hosts, packages
from deploys.text import MANAGED

PACKAGES = ("acl", "ca-certificates", "cron", "openssh-server", "python3", "sudo", "tzdata", "util-linux", "zstd")
PROVISIONED = f"{MARKS}/provisioned"
UPLOADS = "/opt/mystocks-dr/upload"


def deploy() -> None:
    in_container = host.get_fact(IsContainer)
    packages(name="base packages", names=[*PACKAGES, *([] if in_container else ["chrony"])])
    etc_hosts(name="names of the estate", nodes=[(node.address, node.name) for node in estate.nodes()])
    files.link(name="UTC", path="/etc/localtime", target="/usr/share/zoneinfo/Etc/UTC")
    server.user(  # noqa: S604 - the user's login shell, nothing is run in it
        name="service user", user="mystocks", home="/var/lib/mystocks-dr", shell="/usr/sbin/nologin", system=True
    )
    user = host.data.get("ssh_user") or "root"
    if host.data.get("operator_keys"):
        # Added, never taken away: a deploy must not lock out whoever is on call tonight.
        server.user_authorized_keys(name="operators' keys", user=user, public_keys=list(host.data.get("operator_keys")))
    # What the backup host notes there is read by postgres; what the application keeps there is its own.
    notes = "0755" if "backup" in host.groups else "0750"
    for path, mode in ((MARKS, "0755"), ("/opt/mystocks-dr", "0755"), ("/var/lib/mystocks-dr", notes)):
        files.directory(name=f"directory {path}", path=path, mode=mode, user=_owner(path), group=_owner(path))
    # Uploads pass through here on their way to a protected place, never through a directory that others can read.
    files.directory(name="private upload directory", path=UPLOADS, mode="0700", user=user)
    files.put(
        name="estate CA", src=str(estate.certificate().ca), dest=estate.CA, mode="0644", user="root", group="root"
    )
    systemd.service(name="cron runs", service="cron", running=True, enabled=True)
    if not in_container:
        systemd.service(name="the clock is kept", service="chrony", running=True, enabled=True)


def configured() -> None:
    """Note that this host got as far as every host must before data may come: it needs no provisioning then."""
    files.put(
        name="the host is provisioned", src=io.StringIO(f"{MANAGED}\n"), dest=PROVISIONED, mode="0644", user="root",
        group="root",
    )  # fmt: skip


def _owner(path: str) -> str:
    return "mystocks" if path == "/var/lib/mystocks-dr" else "root"
