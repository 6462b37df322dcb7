"""The application host: the agents, their configuration, the replayer as a service."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.operations import files, systemd
from pyinfra.operations.util import any_changed

from deploys import agents, estate
from deploys.base import UPLOADS
from deploys.operations import packages
from deploys.text import MANAGED, as_file
from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import Shadow

ETC = "/etc/mystocks-dr"
_READABLE: dict[str, Any] = {"mode": "0644", "user": "root", "group": "root"}


def deploy() -> None:
    """Put the agents on the host and keep the replayer running; it restarts only when something it reads changed."""
    packages(name="agents' packages", names=["python3", "python3-psycopg2", "sqlite3"])
    ours = agents.deploy()
    settings = files.put(name="agents' settings", src=as_file(_settings()), dest=f"{ETC}/agent.json", **_READABLE)
    passwords = files.template(
        name="writer's password", src=estate.template("app", "pgpass.j2"), dest=f"{ETC}/pgpass", mode="0600",
        user="mystocks", group="mystocks", _temp_dir=UPLOADS, writer=estate.secret()["writer"],
    )  # fmt: skip
    unit = files.template(
        name="replayer unit", src=estate.template("app", "replayer.service.j2"),
        dest="/etc/systemd/system/mystocks-replayer.service", **_READABLE, managed=MANAGED,
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads the replayer", _if=unit.did_change)
    systemd.service(name="replayer runs", service="mystocks-replayer", running=True, enabled=True)
    systemd.service(
        name="replayer reads its settings", service="mystocks-replayer", restarted=True,
        _if=any_changed(*ours, settings, passwords, unit),
    )  # fmt: skip


def _settings() -> dict[str, Any]:
    shadow = load_recovery().stores["postgresql"].shadow
    return {
        "hosts": [
            {"name": node.name, "address": node.address, "port": 5432} for node in estate.nodes(*estate.POSTGRES_GROUPS)
        ],
        "dbname": host.data.get("database"),
        "user": "writer",
        "sslmode": "verify-full",
        "sslrootcert": estate.CA,
        "passfile": f"{ETC}/pgpass",
        "tables": agents.TABLES,
        "outbox": {
            "path": "/var/lib/mystocks-dr/outbox.db",
            "max_bytes": host.data.get("outbox_max_mb") * 2**20,
            # What was replayed is as new to the archive as what was written past the outbox.
            "keep_applied_s": shadow.keep_h * 3600 if shadow else 600,
        },
        **({"shadow": _shadow(shadow)} if shadow else {}),
    }


def _shadow(shadow: Shadow) -> dict[str, Any]:
    return {
        "path": "/var/lib/mystocks-dr/shadow",
        "max_bytes": shadow.max_mb * 2**20,
        "keep_s": shadow.keep_h * 3600,
    }
