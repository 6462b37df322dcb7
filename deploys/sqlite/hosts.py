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
from pyinfra.facts.files import File
from pyinfra.operations import systemd
from pyinfra.operations.util import any_changed

from deploys import estate
from deploys.placed import Place, folder, placed, rendered
from deploys.postgresql.operations import packages
from deploys.text import MANAGED
from inventories.catalog.load import load_databases
from inventories.catalog.sqlite.export import exported
from inventories.errors import BadInput

ETC = "/etc/mystocks-dr"
PORT = 8434
RECEIVER, PROTECTOR = "mystocks-sqlite-receiver", "mystocks-sqlite@"
RECEIVER_SETTINGS, SETTINGS, CIPHER = f"{ETC}/sqlite-receiver.json", f"{ETC}/sqlite.json", f"{ETC}/sqlite-cipher.pass"
FOLDER = "/var/lib/mystocks-dr/sqlite"
APP, BACKUP = "mystocks", "postgres"
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
    """As a program of ours derives it from the repository's key."""
    secret = estate.secret()["pgbackrest_cipher"].get_secret_value().encode()
    return hmac.new(secret, _PURPOSE, hashlib.sha256).hexdigest()


def receiver(programs: OperationMeta) -> None:
    """On the backup host, where pgBackRest's certificate is this host's."""
    unit_file = f"/etc/systemd/system/{RECEIVER}.service"
    if not names():
        if host.get_fact(File, path=unit_file):
            systemd.service(name="SQLite's changes are kept no longer", service=RECEIVER, running=False, enabled=False)
        return
    packages(name="SQLite receiver's packages", names=["python3-cryptography", "sqlite3", "zstd"])
    settings = {
        "folder": FOLDER, "port": PORT, "ca": estate.CA, "certificate": "/etc/pgbackrest/host.crt",
        "key": "/etc/pgbackrest/host.key", "clients": [node.name for node in estate.nodes("app")],
        "max_bytes": int(host.data.get("sqlite_max_mb")) * 2**20,
    }  # fmt: skip
    put = placed(
        name="SQLite receiver",
        places=[
            folder(FOLDER, "0700", BACKUP),
            Place(RECEIVER_SETTINGS, "0644", text=_text(settings)),
            Place(
                unit_file,
                "0644",
                text=rendered("sqlite", "receiver.service.j2", managed=MANAGED, config=RECEIVER_SETTINGS),
            ),
        ],
    )
    systemd.daemon_reload(name="systemd reads SQLite's receiver", _if=put.did_change)
    systemd.service(name="SQLite's changes are kept", service=RECEIVER, running=True, enabled=True)
    systemd.service(
        name="SQLite's receiver by new settings", service=RECEIVER, restarted=True, _if=any_changed(programs, put)
    )


def protect(*reads: OperationMeta) -> None:
    """On an application host: a service for each database, which is made where it is not there yet."""
    mine = names()
    if not mine:
        return
    packages(name="SQLite protector's packages", names=["python3-cryptography", "sqlite3", "zstd"])
    unit_file = f"/etc/systemd/system/{PROTECTOR}.service"
    certificate = estate.certificate()
    put = placed(
        name="SQLite protector",
        places=[
            folder("/var/lib/mystocks-dr/trading", "0750", APP),
            Place(f"{ETC}/host.crt", "0644", APP, certificate.certificate.read_text()),
            Place(f"{ETC}/host.key", "0600", APP, certificate.key.read_text()),
            Place(CIPHER, "0600", APP, f"{key()}\n"),
            Place(SETTINGS, "0644", text=_text(settings(mine))),
            Place(unit_file, "0644", text=rendered("sqlite", "protector.service.j2", managed=MANAGED, config=SETTINGS)),
        ],
    )
    systemd.daemon_reload(name="systemd reads SQLite's protector", _if=put.did_change)
    for name in mine:
        service = f"{PROTECTOR}{name}"
        systemd.service(name=f"SQLite database {name} is protected", service=service, running=True, enabled=True)
        systemd.service(
            name=f"protector of {name} by new settings", service=service, restarted=True, _if=any_changed(*reads, put)
        )


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
