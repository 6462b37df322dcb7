"""TDengine: the operator's package, the service, a changed root password, users, database and supertables.

Without a package nothing of it is deployed, and everything else works.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.api.operation import OperationMeta
from pyinfra.facts.files import File
from pyinfra.facts.server import Arch
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

from deploys import app, estate
from deploys.base import UPLOADS
from deploys.postgresql.operations import packages
from deploys.tdengine import package as tdengine_package
from deploys.tdengine import shadow as td_shadow
from deploys.tdengine.operations import (
    td_accounts,
    td_begin,
    td_cluster,
    td_features,
    td_restart,
    td_schema,
    td_unpack,
)
from deploys.tdengine.package import Package
from deploys.text import MANAGED, OTHER_MACHINE, as_file
from inventories.catalog.export import tables_json
from inventories.catalog.load import load_recovery, load_tables
from inventories.catalog.tables import Store
from inventories.catalog.tdengine import shape
from inventories.errors import BadInput

CONNECTOR = "taospy==2.8.10"  # pure Python; its own demands would hold back what this tool needs, so it comes alone
HOME = "/opt/tdengine"
_ONE_AT_A_TIME = threading.Lock()  # pyinfra prepares the hosts side by side
ETC = "/etc/mystocks-dr"
_READABLE: dict[str, Any] = {"mode": "0644", "user": "root", "group": "root"}
USERS = ("td_writer", "td_backup")


def is_named() -> bool:
    return bool(tdengine_package.named(_data())[0])


def install() -> OperationMeta:
    """Programs and the client library, side by side with any other version, on servers and on the application host.

    Returns what changes when another version comes into use.
    """
    package = _package()
    machine = host.get_fact(Arch)
    if machine != package.machine:
        raise DeployError(f"{host.name}: {OTHER_MACHINE}: the host is {machine}, the package {package.machine}")
    packages(name="TDengine's needs", names=["libstdc++6", "python3", "python3-tz"])
    folder = f"{HOME}/{package.key}"
    if not host.get_fact(File, path=f"{folder}/bin/taosd"):
        files.put(
            name="TDengine package", src=str(package.archive), dest=f"{folder}.tar", **_READABLE,
            create_remote_dir=True,
        )  # fmt: skip
    unpacked = td_unpack(
        name="TDengine programs", archive=f"{folder}.tar", folder=folder, current=f"{HOME}/current"
    )  # fmt: skip
    link = files.link(name="TDengine in use", path=f"{HOME}/current", target=folder)
    library = files.put(
        name="TDengine library path", src=as_line(f"{HOME}/current/lib"), dest="/etc/ld.so.conf.d/tdengine.conf",
        **_READABLE,
    )  # fmt: skip
    server.shell(name="the linker learns it", commands=["ldconfig"], _if=any_changed(link, library, unpacked))
    files.sync(
        name="TDengine connector", src=str(_connector()), dest="/opt/mystocks-dr/connector", user="root", group="root",
        mode="0644", dir_mode="0755", delete=True, exclude=["*.pyc"], exclude_dir=["*__pycache__*"],
        add_deploy_dir=False,
    )  # fmt: skip


    # Clients of several users share the folder; each opens a file of its own there.
    files.directory(name="TDengine client logs", path="/var/log/taos-client", mode="1777", user="root", group="root")
    files.put(
        name="TDengine client settings", dest=f"{ETC}/taos/taos.cfg", **_READABLE, create_remote_dir=True,
        src=as_line("\n".join((
            f"firstEp {estate.nodes('tdengine')[0].name}:6030", "logDir /var/log/taos-client", "logKeepDays 3",
            "numOfLogLines 1000000", "telemetryReporting 0", "crashReporting 0", "enableCoreFile 0", "timezone UTC",
            "charset UTF-8", "locale C.UTF-8",
        ))),
    )  # fmt: skip
    return link


def client() -> tuple[OperationMeta, ...]:
    """The client library on the application host; nothing where it does not fit and the servers speak REST."""
    return () if _speaks_rest() else (install(),)


def _speaks_rest() -> bool:
    """Whether this host has to ask over HTTP: the package is for another machine, and has a taosAdapter."""
    package = _package()
    return package.adapter and "app" in host.groups and host.get_fact(Arch) != package.machine


def settings(user: str, owner: str) -> tuple[OperationMeta, ...]:
    """How this host's agents reach the server, as `user`; the password lies apart, for the OS user `owner` alone."""
    where = files.put(
        name="TDengine settings", dest=f"{ETC}/tdengine.json", **_READABLE,
        src=as_file({
            "nodes": [{"name": node.name, "port": 6030} for node in estate.nodes("tdengine")],
            "database": host.data.get("tdengine_database"), "user": user, "passfile": f"{ETC}/tdengine.pass",
            "rest": _speaks_rest(),
        }),
    )  # fmt: skip
    password = files.put(
        name="TDengine password", dest=f"{ETC}/tdengine.pass", mode="0600", user=owner, group=owner, _temp_dir=UPLOADS,
        src=as_line(estate.secret()[user].get_secret_value()),
    )  # fmt: skip
    return where, password


def writer(*ours: OperationMeta) -> None:
    """What the application host needs to write here: settings, tables, a replayer with an outbox of its own."""
    known = settings("td_writer", "mystocks")
    kept = tables_json(load_tables(), Store.TDENGINE, host.data.get("tdengine_keep_days"))
    tables = files.put(
        name="TDengine's tables", src=StringIO(kept),
        dest=f"{ETC}/tables-tdengine.json", **_READABLE,
    )  # fmt: skip
    # Three nodes hold every row three times; one node's rows are kept here until a backup has them.
    shadow = load_recovery().stores["tdengine"].shadow if len(estate.nodes("tdengine")) < 3 else None
    config = files.put(
        name="TDengine writer's settings", dest=f"{ETC}/agent-tdengine.json", **_READABLE,
        src=as_file({
            "hosts": [{"name": node.name, "address": node.address, "port": 6030} for node in estate.nodes("tdengine")],
            "dbname": host.data.get("tdengine_database"), "user": "td_writer", "tdengine": f"{ETC}/tdengine.json",
            "node": app.node(),
            "tables": f"{ETC}/tables-tdengine.json", **app.kept("-tdengine", shadow),
            "writer": {"deadline_s": 0.9}, "replayer": {"max_rows": 20000},
        }),
    )  # fmt: skip
    reads = (*ours, *known, tables, config)
    app.replayer("mystocks-replayer-tdengine", "TDengine", f"{ETC}/agent-tdengine.json", *reads)
    td_shadow.deploy(f"{ETC}/agent-tdengine.json")


def node(programs: OperationMeta) -> None:
    """Settings and service of a server; several are started anew one after the other."""
    nodes = estate.nodes("tdengine")
    # Where there are several, each is sent to the others first: a node that comes back blank must join them, and begins
    # a second cluster if it is told that it is the first.
    first, *more = estate.others("tdengine") or nodes
    server.user(  # noqa: S604 - the user's login shell, nothing is run in it
        name="TDengine user", user="taos", home="/var/lib/taos", shell="/usr/sbin/nologin", system=True
    )
    mine: dict[str, Any] = {"user": "taos", "group": "taos"}
    for path in ("/var/lib/taos", "/var/lib/taos/tmp", "/var/log/taos"):
        files.directory(name=f"directory {path}", path=path, mode="0750", **mine)
    conf = files.template(
        name="TDengine server settings", src=estate.template("tdengine", "taos.cfg.j2"), dest="/etc/taos/taos.cfg",
        mode="0644", user="root", group="root", create_remote_dir=True, managed=MANAGED, me=estate.me(), first=first,
        second=more[0] if more else None, vnodes=host.data.get("tdengine_vnodes"),
    )  # fmt: skip
    unit = files.template(
        name="TDengine service", src=estate.template("tdengine", "taosd.service.j2"),
        dest="/etc/systemd/system/taosd.service", **_READABLE, managed=MANAGED, nofile=host.data.get("tdengine_nofile"),
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads TDengine's service", _if=unit.did_change)
    passfile = f"{ETC}/tdengine-root.pass"
    # Any node can be asked when the first is lost. The first node's own is replaced by whoever tells the server.
    if host.name != nodes[0].name or not host.get_fact(File, path=passfile):
        files.put(
            name="TDengine root's password", src=as_line(estate.secret()["td_root"].get_secret_value()), mode="0600",
            dest=passfile, user="root", group="root", _temp_dir=UPLOADS,
        )  # fmt: skip
    td_begin(name="TDengine begins", nodes=[node.name for node in nodes])
    # Before it is started for the first time there is nothing to start anew.
    td_restart(name="TDengine reads its settings", _if=any_changed(conf, unit, programs), _serial=True)
    systemd.service(name="TDengine runs", service="taosd", running=True, enabled=True)
    if _package().adapter:
        _adapter(programs)


def _adapter(programs: OperationMeta) -> None:
    """REST and WebSocket, which not every package has."""
    unit = files.template(
        name="taosAdapter unit", src=estate.template("tdengine", "taosadapter.service.j2"), **_READABLE,
        dest="/etc/systemd/system/taosadapter.service", managed=MANAGED, nofile=host.data.get("tdengine_nofile"),
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads taosAdapter's unit", _if=unit.did_change)
    systemd.service(name="taosAdapter runs", service="taosadapter", running=True, enabled=True)
    systemd.service(
        name="taosAdapter is the package's", service="taosadapter", restarted=True, _if=any_changed(unit, programs)
    )


def database() -> None:
    """Accounts first: until then the server takes the password that everybody knows. Then dnodes, database, tables."""
    secret = estate.secret()
    nodes = estate.nodes("tdengine")
    if host.name == nodes[0].name:
        passwords = {name: secret[name].get_secret_value() for name in ("td_root", *USERS)}
        td_accounts(name="TDengine accounts", passwords=passwords)
        td_cluster(name="TDengine nodes", nodes=[node.name for node in nodes])
        td_schema(name="TDengine tables", shape=shape.declared(_values(), load_tables(), len(nodes)))
    td_features(name="TDengine features", user=USERS[0], password=secret[USERS[0]].get_secret_value())


def _values() -> dict[str, object]:
    names = ("tdengine_keep_days", "tdengine_duration_days", "tdengine_vgroups", "tdengine_profile")
    return {name: host.data.get(name) for name in names}


def as_line(text: str) -> StringIO:
    return StringIO(f"{text}\n")


def _data() -> dict[str, object]:
    return {key: host.data.get(key) for key in ("tdengine_package", "tdengine_package_sha256")}


def _cache() -> Path:
    return tdengine_package.cache(host.data.get("pki_dir"))


def _package() -> Package:
    where, digest = tdengine_package.named(_data())
    with _ONE_AT_A_TIME:
        return _fetched(where, digest, _cache())


@cache
def _fetched(where: str, digest: str, folder: Path) -> Package:
    return tdengine_package.fetch(where, digest, folder)


@cache
def _unzipped(folder: Path) -> Path:
    target = folder / CONNECTOR.replace("==", "-")
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fetch = ["download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder), CONNECTOR]
        command = [sys.executable, "-m", "pip", *fetch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(folder.glob("taospy-*.whl"))
        if done.returncode or not wheels:
            raise BadInput(f"{CONNECTOR} cannot be fetched: {done.stderr.strip()[-200:]}", "check pip's index")
        partial = folder / f".{target.name}.{os.getpid()}"
        with zipfile.ZipFile(wheels[-1]) as wheel:
            wheel.extractall(partial)
        partial.rename(target)
    return target


def _connector() -> Path:
    with _ONE_AT_A_TIME:
        return _unzipped(_cache())
