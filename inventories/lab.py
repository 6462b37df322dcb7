"""The lab's hosts, as `./dr lab.up` left them; DR_LAB chooses among labs.

DR_LAB_SYNCHRONOUS says how many standbys a commit waits for, or "none", DR_LAB_DELAY ("1h") by how much the last one of
three or more PostgreSQL hosts is behind, DR_LAB_ALARMS on which channels alarms leave: JSON of alarm_channels,
everybody being told on all of them.
"""

import json as _json
import os as _os
import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

from lab import bmc as _bmc
from lab import state as _state


def _number(variable: str, default: int) -> int | str:
    """What is no number is told by whoever reads the inventory, with everything else that is wrong with it."""
    text = _os.environ.get(variable) or str(default)
    return int(text) if text.isdigit() else text


_STANDBYS = ("pg2", "pg3", "pg4", "pg5")
_name = _os.environ.get("DR_LAB") or "lab"
_made = _state.load(_name)
_files = _state.files(_name)
_SHARED: dict[str, _Any] = {
    "ssh_user": "root",
    "ssh_key": str(_files.key),
    "ssh_known_hosts_file": str(_files.known_hosts),
    "ssh_strict_host_key_checking": "yes",
    "estate": f"lab-{_name}",
    "secrets_file": str(_files.secrets),
    "pki_dir": str(_files.root / "pki"),
    "outbox_copy": _os.environ.get("DR_LAB_OUTBOX_COPY", ""),
    "sqlite_writers": {"trading": ["mystocks-trader"]},  # who trades in drills
    "sqlite_databases": [one for one in _os.environ.get("DR_LAB_SQLITE", "").split(",") if one],
    "offsite_kind": _os.environ.get("DR_OFFSITE_KIND") or "sftp",
    "synchronous_standbys": _number("DR_LAB_SYNCHRONOUS", 1),
}


def _delayed(name: str) -> dict[str, str]:
    delay = _os.environ.get("DR_LAB_DELAY", "")
    standbys = [host for host in _STANDBYS if host in _made.hosts]
    return {"apply_delay": delay} if delay and standbys[-1:] == [name] else {}


def _group(*names: str) -> tuple[list[tuple[str, dict[str, _Any]]], dict[str, _Any]]:
    members: list[tuple[str, dict[str, _Any]]] = [
        (
            name,
            {
                "ssh_hostname": _made.hosts[name].address, "fence_command": _fence(name), **_by_network(name),
                **_delayed(name),
            },
        )
        for name in names
        if name in _made.hosts
    ]
    return members, _SHARED


def _by_network(name: str) -> dict[str, list[str]]:
    """How a watch that runs on one of the lab's own hosts turns another one off, while lab.bmc serves."""
    if not _os.environ.get("DR_LAB_WATCH"):
        return {}
    program = _Path("/opt/mystocks-dr/watch/lab/bmc_client.py")
    return {"watch_fence_command": _bmc.command(_name, name, program)}


def _fence(name: str) -> list[str]:
    root = _Path(_state.__file__).resolve().parent.parent
    return ["/usr/bin/env", f"PYTHONPATH={root}", _sys.executable, "-S", "-m", "lab.fence", "--lab", _name, name]


app = _group("app1")
pg_primary = _group("pg1")
pg_standby = _group(*_STANDBYS)
backup = _group("backup1")
offsite = _group("offsite1")
# A lab's drills break things on purpose, so there is no watch unless one is asked for.
_watches = _os.environ.get("DR_LAB_WATCH", "")
_SHARED["watch_act"] = "" if _watches == "look" else _watches
watch = _group(*(["backup1"] if _watches else []))
_channels = _json.loads(_os.environ.get("DR_LAB_ALARMS") or "{}")
_SHARED["alarm_channels"] = _channels
_SHARED["alarm_people"] = {name: list(_channels) for name in ("operators", "lead") if _channels}
tdengine = _group("tsdb1", "tsdb2", "tsdb3")
