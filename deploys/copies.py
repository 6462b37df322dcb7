"""Second copies of outbox records: a service on the backup host, and what an application host needs to reach it.

Where the inventory turns them on (`outbox_copy`); the certificates are the estate's own, so that each end knows the
other, and one application host cannot read what another one left.
"""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.api.operation import OperationMeta
from pyinfra.facts.files import File
from pyinfra.operations import files, systemd
from pyinfra.operations.util import any_changed

from deploys import estate
from deploys.base import UPLOADS
from deploys.text import MANAGED, as_file
from inventories.errors import BadInput

ETC = "/etc/mystocks-dr"
PORT = 8433
SERVICE = "mystocks-copies"
FOLDER = "/var/lib/mystocks-dr/copies"
REQUIRED, ALONE = "required", "alone"
_READABLE: dict[str, Any] = {"mode": "0644", "user": "root", "group": "root"}


def wanted() -> str:
    """What the inventory says: nothing, `required` or `alone`. Raises BadInput."""
    said = str(host.data.get("outbox_copy") or "")
    if said not in ("", REQUIRED, ALONE):
        raise BadInput(f"outbox_copy is {said!r}", f"it is {REQUIRED!r}, {ALONE!r} or empty")
    return said


def server(programs: OperationMeta) -> None:
    """On the backup host, where pgBackRest's certificate is this host's."""
    unit_file = f"/etc/systemd/system/{SERVICE}.service"
    if not wanted():
        if host.get_fact(File, path=unit_file):
            systemd.service(name="second copies are kept no longer", service=SERVICE, running=False, enabled=False)
        return
    files.directory(name="second copies", path=FOLDER, mode="0700", user="postgres", group="postgres")
    settings = files.put(
        name="settings of second copies", dest=f"{ETC}/copies.json", **_READABLE,
        src=as_file({
            "folder": FOLDER, "port": PORT, "ca": estate.CA, "certificate": "/etc/pgbackrest/host.crt",
            "key": "/etc/pgbackrest/host.key", "clients": [node.name for node in estate.nodes("app")],
            "max_bytes": int(host.data.get("outbox_max_mb")) * 2**20,
        }),
    )  # fmt: skip
    unit = files.template(
        name="service of second copies", src=estate.template("copies", "copies.service.j2"),
        dest=unit_file, **_READABLE, managed=MANAGED, config=f"{ETC}/copies.json",
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads the service of second copies", _if=unit.did_change)
    systemd.service(name="second copies are kept", service=SERVICE, running=True, enabled=True)
    systemd.service(
        name="second copies by new settings", service=SERVICE, restarted=True, _if=any_changed(programs, settings, unit)
    )


def client() -> tuple[OperationMeta, ...]:
    """On an application host: its certificate, for the writers' user alone."""
    if not wanted():
        return ()
    mine = estate.certificate()
    owner: dict[str, Any] = {"user": "mystocks", "group": "mystocks"}
    return (
        files.put(name="certificate", src=str(mine.certificate), dest=f"{ETC}/host.crt", mode="0644", **owner),
        files.put(
            name="certificate's key", src=str(mine.key), dest=f"{ETC}/host.key", mode="0600", _temp_dir=UPLOADS, **owner
        ),
    )


def settings(store: str) -> dict[str, Any]:
    """What the outbox of one store is told; empty where none are kept."""
    if not wanted():
        return {}
    there = estate.nodes("backup")[0]
    return {
        "copy": {
            "host": there.name, "address": there.address, "port": PORT, "store": store, "ca": estate.CA,
            "certificate": f"{ETC}/host.crt", "key": f"{ETC}/host.key", "alone": wanted() == ALONE,
        }
    }  # fmt: skip
