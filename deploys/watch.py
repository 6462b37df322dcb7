"""The watch as a service: its own account, key and code on a host of the group `watch`, and its way to the others.

Its key opens the hosts that a failover has to do with, from the watch's own address alone, without terminal and
without forwarding. There it is root, as fencing and promoting are root's work: see docs/decisions.md.
"""

from __future__ import annotations

import hashlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pyinfra import host, inventory
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

from deploys import estate, pki
from deploys.placed import Place, Placed, folder, placed, rendered
from deploys.postgresql.operations import known_host, packages
from deploys.text import MANAGED
from deploys.tree import tree
from inventories.catalog import channels
from inventories.catalog.load import load_recovery

GROUP, USER = "watch", "mystocks-watch"
HOME, ETC = "/var/lib/mystocks-watch", "/etc/mystocks-dr/watch"
CODE, UNIT = "/opt/mystocks-dr/watch", "mystocks-watch"
ROOMS = ("agents", "deploys", "doors", "inventories", "lab", "runbooks", "templates", "tests/verify")
_VALUES = estate.ROOT / "inventories" / "group_data" / "all.py"
# What of a room is brought, where not all is: the operator's inventories lie there too, and are nobody else's to read.
ONLY = {"inventories": (
    "__init__.py", "addresses.py", "catalog", "delay.py", "errors.py", f"{_VALUES.parent.name}/{_VALUES.name}",
    "inventory.py", "lab.py", "quorum.py", "secrets.py", "ssh_config.py", "whoami.py",
)}  # fmt: skip
KEY, INVENTORY = f"{ETC}/id_ed25519", f"{ETC}/inventory.py"
_UNIT_FILE = f"/etc/systemd/system/{UNIT}.service"
ALARMS, ALARM_SECRETS = "mystocks-alarms", f"{ETC}/alarm-secrets.yaml"
_ALARMS_FILE = f"/etc/systemd/system/{ALARMS}.service"
MARK = "mystocks-mark"
_MARK_FILES = tuple(f"/etc/systemd/system/{MARK}.{kind}" for kind in ("timer", "service"))
_WAY_IN, _SUDOERS = f"{HOME}/.ssh/authorized_keys", "/etc/sudoers.d/mystocks-watch"
# What runs a failover, its verification too, of the release's own: Debian 13 has them as new as is needed.
PACKAGES = (
    "openssh-client", "python3", "python3-cryptography", "python3-filelock", "python3-invoke", "python3-jinja2",
    "python3-psycopg2", "python3-pydantic", "python3-pytest", "python3-pytest-timeout", "python3-rich",
    "python3-testinfra", "python3-yaml",
)  # fmt: skip
ALARM_PACKAGES = ("apprise", "tzdata")  # quiet hours are those of a time zone
REACHED = ("app", "pg_primary", "pg_standby", "backup")  # the groups on whose hosts a failover works
_NOT_ITS_BUSINESS = ("operator_keys", "client_networks")


def reached() -> bool:
    """Whether this host is one that the watch has to reach."""
    return any(group in host.groups for group in REACHED)


def way_in() -> None:
    """The account on a host that a failover works on; without a watch in the inventory its rights go."""
    watches = estate.nodes(GROUP)
    if not watches:
        away("no watch comes in", _WAY_IN, _SUDOERS)
        return
    server.user(name="watch's user", user=USER, home=HOME, shell="/bin/sh", system=True, ensure_home=False)  # noqa: S604
    key = _key().public.read_text().strip()
    keys = rendered("watch", "authorized_keys.j2", managed=MANAGED, key=key, addresses=estate.addresses(watches))
    placed(
        name="watch's way in",
        places=[
            folder(HOME, "0755"),
            folder(f"{HOME}/.ssh", "0755"),
            Place(_WAY_IN, "0644", text=keys),
            Place(_SUDOERS, "0440", text=rendered("watch", "sudoers.j2", managed=MANAGED, user=USER)),
        ],
    )  # fmt: skip


def deploy() -> None:
    """Code, key and inventory on the watch's host. It is started when every host is ready for it."""
    packages(name="watch's packages", names=[*PACKAGES, *(ALARM_PACKAGES if alarms() else ())])
    server.user(name="watch's account", user=USER, home=HOME, shell="/bin/sh", system=True, ensure_home=False)  # noqa: S604
    placed(
        name="watch's key and inventory",
        places=[
            folder(HOME, "0755"),
            folder(f"{HOME}/state", "0700", USER),
            folder(f"{HOME}/runs", "0700", USER),
            folder(ETC, "0750", USER),
            folder(f"{ETC}/known", "0755"),
            Place(KEY, "0600", USER, _key().private.read_text()),
            Place(INVENTORY, "0640", "root", _inventory(), group=USER),
            *([Place(ALARM_SECRETS, "0600", USER, _alarm_secrets())] if alarms() else []),
        ],
    )
    for node in _nodes():
        known_host(
            name=f"{node.name} is known to the watch by its key", path=f"{ETC}/known/{node.name}", node=node.name,
            dialled=_dialled(node),
        )  # fmt: skip


def service() -> None:
    """The code, and the service that runs it; what has changed has it started anew."""
    settings = Place(f"{CODE}/pyproject.toml", "0644", text=(estate.ROOT / "pyproject.toml").read_text())
    folders = placed(name="watch's code", places=[folder(CODE, "0755"), folder(f"{CODE}/tests", "0755"), settings])
    code = [
        tree(name=f"watch's {room}", src=str(estate.ROOT / room), dest=f"{CODE}/{room}", only=ONLY.get(room, ()))
        for room in ROOMS
    ]
    unit = placed(name="watch's unit", places=[Place(_UNIT_FILE, "0644", text=_unit())])
    systemd.daemon_reload(name="systemd reads the watch", _if=unit.did_change)
    systemd.service(name="the watch runs", service=UNIT, running=True, enabled=True)
    changed = any_changed(folders, *code, unit)
    # Its account may not write there, and would compile all of it at each start.
    server.shell(name="watch's code is compiled", commands=[f"python3 -m compileall -q {CODE}"], _if=changed)
    systemd.service(name="the watch runs what is here", service=UNIT, restarted=True, _if=changed)
    _alarming(changed)
    _marking()


def _marking() -> None:
    """The first watch's host takes the scheduled marks: it has a way to every host that is asked for one."""
    every = load_recovery().marks.every_min
    if not every or estate.nodes(GROUP)[0].name != host.name:
        _no_marks()
        return
    values = {"managed": MANAGED, "user": USER, "code": CODE, "home": HOME, "inventory": INVENTORY, "every_min": every}
    units = placed(
        name="marks' units",
        places=[
            Place(path, "0644", text=rendered("watch", f"{Path(path).name}.j2", **values)) for path in _MARK_FILES
        ],
    )
    systemd.daemon_reload(name="systemd reads the marks", _if=units.did_change)
    systemd.service(name="marks are taken", service=f"{MARK}.timer", running=True, enabled=True)
    systemd.service(
        name="marks are taken as often as declared", service=f"{MARK}.timer", restarted=True, _if=units.did_change
    )


def _no_marks() -> None:
    away("no marks are taken here", *_MARK_FILES, service=f"{MARK}.timer")


def alarms() -> bool:
    """Whether this host raises the alarms: the first watch's, once the inventory has channels."""
    if not host.data.get("alarm_channels"):
        return False
    there = estate.nodes(GROUP)
    return bool(there) and there[0].name == host.name


def _alarming(changed: Callable[[], bool]) -> None:
    if not alarms():
        _no_alarms()
        return
    unit = placed(name="alarms' unit", places=[Place(_ALARMS_FILE, "0644", text=_alarms_unit())])
    systemd.daemon_reload(name="systemd reads the alarms", _if=unit.did_change)
    systemd.service(name="the alarms are raised", service=ALARMS, running=True, enabled=True)
    systemd.service(
        name="the alarms are raised by what is here", service=ALARMS, restarted=True,
        _if=lambda: changed() or unit.did_change(),
    )  # fmt: skip


def _no_alarms() -> None:
    away("nothing of the alarms is here", _ALARMS_FILE, ALARM_SECRETS, service=ALARMS)


def _alarms_unit() -> str:
    """With other channels or secrets it is another unit, and started anew."""
    read = hashlib.sha256(f"{_inventory()}{_alarm_secrets()}".encode()).hexdigest()
    return rendered(
        "watch", "mystocks-alarms.service.j2", managed=MANAGED, user=USER, code=CODE, home=HOME, inventory=INVENTORY,
        read=read,
    )  # fmt: skip


def _alarm_secrets() -> str:
    """Those of the channels alone: a watch's host has no business with any other. Raises BadInput."""
    found = channels.secrets_of({name: host.data.get(name) for name in ("alarm_channels", "secrets_file")})
    return yaml.safe_dump({name: value.get_secret_value() for name, value in found.items()})


def gone() -> None:
    """On a host that is no watch's: one that was declared here before does not act any more."""
    _no_alarms()
    _no_marks()
    away("nothing of a watch is here", _UNIT_FILE, KEY, INVENTORY, CODE, service=UNIT)


def away(name: str, *paths: str, service: str = "") -> None:
    """Remove what is there of these files and folders; a service, whose unit is the first of them, is ended before."""
    there = host.get_fact(Placed, paths=paths)
    if service and paths[0] in there:
        systemd.service(name=f"{name}: {service}", service=service, running=False, enabled=False)
    for path, (kind, *_) in there.items():
        remove = files.directory if kind == "directory" else files.file
        remove(name=f"{name}: {path}", path=path, present=False)


def _unit() -> str:
    """It names what the watch reads once, as it starts: with another key or inventory it is another unit."""
    read = hashlib.sha256(f"{_inventory()}{_key().public.read_text()}".encode()).hexdigest()
    return rendered(
        "watch", "mystocks-watch.service.j2", managed=MANAGED, user=USER, code=CODE, home=HOME, inventory=INVENTORY,
        act=str(host.data.get("watch_act") or ""), read=read,
    )  # fmt: skip


def _inventory() -> str:
    """Of the hosts that a failover works on: reached at the address that the others dial, as the watch's own user."""
    groups = []
    for group in REACHED:
        members = [(node.name, _entry(node)) for node in estate.nodes(group)]
        groups.append((group, repr(members)))
    return rendered("watch", "inventory.py.j2", managed=MANAGED, shared=repr(_shared()), groups=groups)


def _shared() -> dict[str, Any]:
    every = {name: value for name, value in runpy.run_path(str(_VALUES)).items() if not name.startswith("_")}
    values = {name: host.data.get(name) for name in every if name != "annotations" and name not in _NOT_ITS_BUSINESS}
    known = {
        **values, "watch_key": True, "tdengine_beside": bool(estate.nodes("tdengine")), "ssh_user": USER,
        "ssh_key": KEY, "ssh_strict_host_key_checking": "yes",
    }  # fmt: skip
    return known | {"secrets_file": ALARM_SECRETS} if alarms() else known


def _entry(node: estate.Node) -> dict[str, Any]:
    there = inventory.get_host(node.name)
    found: dict[str, Any] = {
        "ssh_hostname": node.address, "ssh_known_hosts_file": f"{ETC}/known/{node.name}", "ssh_port": _port(node),
    }  # fmt: skip
    if there and there.data.get("synchronous") is False:
        found["synchronous"] = False  # never promoted, whoever runs the failover
    if there and there.data.get("apply_delay"):
        found["apply_delay"] = str(there.data.get("apply_delay"))
    fence = there and (there.data.get("watch_fence_command") or there.data.get("fence_command"))
    return {**found, "fence_command": list(fence)} if fence else found


def _nodes() -> tuple[estate.Node, ...]:
    return estate.nodes(*REACHED)


def _port(node: estate.Node) -> int:
    there = inventory.get_host(node.name)
    return int((there.data.get("ssh_port") if there else None) or 22)


def _dialled(node: estate.Node) -> str:
    """As a known_hosts file names what is dialled."""
    return node.address if _port(node) == 22 else f"[{node.address}]:{_port(node)}"


def _key() -> pki.SshKey:
    return pki.ssh_key(Path(host.data.get("pki_dir")).expanduser(), "watch")
