"""The application host: the agents, their configuration, the replayer as a service."""

from __future__ import annotations

import hashlib
from typing import Any

from pyinfra import host
from pyinfra.api.operation import OperationMeta
from pyinfra.operations import files, systemd
from pyinfra.operations.util import any_changed

from deploys import agents, copies, estate
from deploys.base import UPLOADS
from deploys.postgresql.operations import packages
from deploys.text import MANAGED, as_file
from deploys.tree import tree
from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import Shadow
from inventories.errors import BadInput

ETC = "/etc/mystocks-dr"
_READABLE: dict[str, Any] = {"mode": "0644", "user": "root", "group": "root"}


def deploy() -> tuple[OperationMeta, ...]:
    """Put the agents on the host and keep the replayer running; it restarts only when something it reads changed.

    Returns what another writer on this host reads as well.
    """
    packages(name="agents' packages", names=["python3", "python3-psycopg2", "sqlite3"])
    ours = agents.deploy()
    # What the trading system installs from here: pip install /opt/mystocks-dr/client. It is built from the agents.
    tree(name="client", src=str(estate.CLIENT), dest="/opt/mystocks-dr/client")
    settings = files.put(name="agents' settings", src=as_file(_settings()), dest=f"{ETC}/agent.json", **_READABLE)
    passwords = files.template(
        name="writer's password", src=estate.template("app", "pgpass.j2"), dest=f"{ETC}/pgpass", mode="0600",
        user="mystocks", group="mystocks", _temp_dir=UPLOADS, writer=estate.secret()["writer"],
    )  # fmt: skip
    ours = (*ours, *copies.client())
    replayer("mystocks-replayer", "PostgreSQL", f"{ETC}/agent.json", *ours, settings, passwords)
    return ours


def replayer(name: str, store: str, config: str, *reads: OperationMeta) -> None:
    """The service that drains the outbox of one store; it is started anew when something that it reads changed."""
    unit = files.template(
        name=f"{name} unit", src=estate.template("app", "replayer.service.j2"),
        dest=f"/etc/systemd/system/{name}.service", **_READABLE, managed=MANAGED, store=store, config=config,
    )  # fmt: skip
    systemd.daemon_reload(name=f"systemd reads {name}", _if=unit.did_change)
    systemd.service(name=f"{name} runs", service=name, running=True, enabled=True)
    systemd.service(name=f"{name} reads its settings", service=name, restarted=True, _if=any_changed(*reads, unit))


def _settings() -> dict[str, Any]:
    shadow = load_recovery().stores["postgresql"].shadow
    return {
        "hosts": [
            {"name": node.name, "address": node.address, "port": 5432} for node in estate.nodes(*estate.POSTGRES_GROUPS)
        ],
        "dbname": host.data.get("database"),
        "user": "writer",
        "node": node(),
        "sslmode": "verify-full",
        "sslrootcert": estate.CA,
        "passfile": f"{ETC}/pgpass",
        "tables": agents.TABLES,
        **kept("", shadow),
    }


def node() -> int:
    """What tells this host's event ids from those of the others. By its name, so that it stays when others go."""
    numbers = {one.name: _number(one.name) for one in estate.nodes("app")}
    alike = [name for name, number in numbers.items() if name != host.name and number == numbers[host.name]]
    if alike:
        raise BadInput(
            f"The application hosts {host.name} and {alike[0]} would give rows the same event ids.",
            "Rename one of them: the number comes from the name.",
        )
    return numbers[host.name]


def _number(name: str) -> int:
    """One of the 4096 that agents/writing/clock.py has room for."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") >> 4


def kept(suffix: str, shadow: Shadow | None) -> dict[str, Any]:
    """Outbox and shadow of one store: apart, so that rows of one never wait for the other."""
    folder = "/var/lib/mystocks-dr"
    max_bytes = host.data.get("outbox_max_mb") * 2**20
    box = {"path": f"{folder}/outbox{suffix}.db", "max_bytes": max_bytes}
    box |= copies.settings(suffix.removeprefix("-") or "postgresql")
    if shadow is None:
        return {"outbox": {**box, "keep_applied_s": 600}}
    keep_s = shadow.keep_h * 3600
    return {
        # What was replayed is as new to the archive as what was written past the outbox.
        "outbox": {**box, "keep_applied_s": keep_s},
        "shadow": {"path": f"{folder}/shadow{suffix}", "max_bytes": shadow.max_mb * 2**20, "keep_s": keep_s},
    }
