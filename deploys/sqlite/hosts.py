"""What protects SQLite databases: a service for each on the application host, one on the backup host that keeps it all.

Where the inventory names them (`sqlite_databases`). The certificates are the estate's own; the key is made of that of
the repository, so that whoever escrows one has both, and an estate that has secrets already needs no new one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from pyinfra import host
from pyinfra.api.operation import OperationMeta
from pyinfra.operations import systemd
from pyinfra.operations.util import any_changed

from deploys import estate
from deploys.placed import Place, Placed, folder, placed, rendered
from deploys.postgresql.operations import packages
from deploys.text import MANAGED
from inventories.catalog.load import load_databases
from inventories.catalog.sqlite.export import exported
from inventories.errors import BadInput

ETC = "/etc/mystocks-dr"
PORT = 8434
RECEIVER, PROTECTOR = "mystocks-sqlite-receiver", "mystocks-sqlite@"
RECEIVER_SETTINGS, SETTINGS, CIPHER = f"{ETC}/sqlite-receiver.json", f"{ETC}/sqlite.json", f"{ETC}/sqlite-cipher.pass"
FOLDER, DATABASES = "/var/lib/mystocks-dr/sqlite", "/var/lib/mystocks-dr/trading"
APP, BACKUP = "mystocks", "postgres"
PACKAGES = ("python3-cryptography", "sqlite3", "zstd")
_UNITS = "/etc/systemd/system"
_PURPOSE = b"mystocks-dr sqlite"


def names() -> tuple[str, ...]:
    """Databases of databases.yaml that this estate has. Raises BadInput for one that is none."""
    said = tuple(host.data.get("sqlite_databases") or ())
    known = load_databases().databases
    for name in said:
        if name not in known:
            raise BadInput(f"sqlite_databases has {name!r}", f"the catalogue declares {', '.join(known)}")
    return said


def key() -> str:
    """Made of the repository's, so that it changes with that and with nothing else."""
    secret = estate.secret()["pgbackrest_cipher"].get_secret_value().encode()
    return hmac.new(secret, _PURPOSE, hashlib.sha256).hexdigest()


def receiver(programs: OperationMeta) -> None:
    """On the backup host, where pgBackRest's certificate is this host's."""
    unit_file = f"{_UNITS}/{RECEIVER}.service"
    if not names():
        if host.get_fact(Placed, paths=(unit_file,)):
            _end(RECEIVER)
        return
    packages(name="SQLite receiver's packages", names=list(PACKAGES))
    unit = rendered("sqlite", "receiver.service.j2", managed=MANAGED, config=RECEIVER_SETTINGS)
    put = placed(
        name="SQLite receiver",
        places=[
            folder(FOLDER, "0700", BACKUP),
            Place(RECEIVER_SETTINGS, "0644", text=_text(receiver_settings())),
            Place(unit_file, "0644", text=unit),
        ],
    )
    systemd.daemon_reload(name="systemd reads SQLite's receiver", _if=put.did_change)
    systemd.service(name="SQLite's changes are kept", service=RECEIVER, running=True, enabled=True)
    changed = any_changed(programs, put)
    systemd.service(name="SQLite's receiver by new settings", service=RECEIVER, restarted=True, _if=changed)


def receiver_settings() -> dict[str, Any]:
    """/etc/mystocks-dr/sqlite-receiver.json, see agents/sqlite/receiver.py."""
    return {
        "folder": FOLDER, "port": PORT, "ca": estate.CA, "certificate": "/etc/pgbackrest/host.crt",
        "key": "/etc/pgbackrest/host.key", "clients": [node.name for node in estate.nodes("app")],
        "max_bytes": int(host.data.get("sqlite_max_mb")) * 2**20,
        "retention": load_databases().retention.model_dump(),
    }  # fmt: skip


def protect(*reads: OperationMeta) -> None:
    """On an application host: a service for each database, which is made where there never was one."""
    mine = names()
    _forget(mine)
    if not mine:
        return
    packages(name="SQLite protector's packages", names=list(PACKAGES))
    certificate = estate.certificate()
    unit = rendered("sqlite", "protector.service.j2", managed=MANAGED, config=SETTINGS)
    put = placed(
        name="SQLite protector",
        places=[
            folder(DATABASES, "0750", APP),
            Place(f"{ETC}/host.crt", "0644", APP, certificate.certificate.read_text()),
            Place(f"{ETC}/host.key", "0600", APP, certificate.key.read_text()),
            Place(CIPHER, "0600", APP, f"{key()}\n"),
            Place(SETTINGS, "0644", text=_text(settings(mine))),
            Place(f"{_UNITS}/{PROTECTOR}.service", "0644", text=unit),
        ],
    )
    systemd.daemon_reload(name="systemd reads SQLite's protector", _if=put.did_change)
    changed = any_changed(*reads, put)
    for name in mine:
        service = f"{PROTECTOR}{name}"
        systemd.service(name=f"SQLite database {name} is protected", service=service, running=True, enabled=True)
        systemd.service(name=f"protector of {name} by new settings", service=service, restarted=True, _if=changed)


def _forget(mine: tuple[str, ...]) -> None:
    """A database that the inventory names no more is left as it is, and so is what was kept of it."""
    wants = {f"{_UNITS}/multi-user.target.wants/{PROTECTOR}{name}.service": name for name in load_databases().databases}
    there = host.get_fact(Placed, paths=tuple(sorted(wants)))
    for path in sorted(there):
        if wants[path] not in mine:
            _end(f"{PROTECTOR}{wants[path]}")


def _end(service: str) -> None:
    systemd.service(name=f"{service} is declared no more", service=service, running=False, enabled=False)


def settings(mine: tuple[str, ...]) -> dict[str, Any]:
    """/etc/mystocks-dr/sqlite.json, see agents/sqlite/settings.py."""
    there = estate.nodes("backup")[0]
    return {
        "databases": {name: one for name, one in exported(load_databases()).items() if name in mine},
        "receiver": {
            "host": there.name, "address": there.address, "port": PORT, "ca": estate.CA,
            "certificate": f"{ETC}/host.crt", "key": f"{ETC}/host.key",
        },
        "cipher": CIPHER,
    }  # fmt: skip


def _text(raw: dict[str, Any]) -> str:
    return json.dumps(raw, indent=1, sort_keys=True) + "\n"
