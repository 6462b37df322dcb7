"""The seed of a lost copy: what a server must be told of a vgroup so that the other copies fill it.

RESTORE DNODE does this in the Enterprise edition, and in the Community edition it answers OK and does nothing. The
folder of a vgroup begins with one file that says who its copies are; written on a blank node, with nothing applied yet,
it makes the node a follower whose log is empty, and the leader sends it everything.

    python3 -m agents.tdengine.seed local               what lies on this host, as one JSON object
    python3 -m agents.tdengine.seed export --for NAME   seeds of the vgroups that NAME has a copy of, from ours
    python3 -m agents.tdengine.seed import --for NAME   seeds on standard input, into a server that is stopped

Vgroups under "alone" are the tool's own, with their only copy on NAME: nothing is left to fill them from. The server
drops no database of which a copy is offline, so they are laid empty, and the database is dropped afterwards.

Runs as root. A vgroup that is there already is never touched.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import AgentError, BadConfig, run
from agents.tdengine.session import OWN_DATABASE

DATA = Path("/var/lib/taos")
_SMALL = 3 << 20  # bytes of the buffer, as cover.py makes the database
NOTHING_APPLIED = {"commit version": "-1", "commit ID": "0", "commit term": "0"}


def local(data: Path = DATA) -> dict[str, Any]:
    """{"dnode": id or 0, "cluster": id or "", "vgroups": [ids that have a folder], "running": bool}"""
    known = _read(data / "dnode/dnode.json")
    return {
        "dnode": int(known.get("dnodeId") or 0),
        "cluster": str(known.get("clusterId") or ""),
        "vgroups": sorted(number for number in _listed(data) if _file(data, number).exists()),
        "running": _running(),
    }


def exported(name: str, data: Path = DATA) -> dict[str, Any]:
    """{"vgroups": {id: {"entry": line of vnodes.json, "vnode": its vnode.json}}} of those that `name` has a copy of."""
    found = {}
    for number, entry in _listed(data).items():
        vnode = _read(_file(data, number))
        if vnode and any(node["nodeFqdn"] == name for node in vnode["config"]["syncCfg.nodeInfo"]):
            found[str(number)] = {"entry": entry, "vnode": vnode}
    return {"vgroups": found}


def seed(vnode: dict[str, Any], name: str) -> dict[str, Any]:
    """Another copy's vnode.json as that of a copy on `name` that has nothing yet."""
    config = dict(vnode["config"])
    names = [node["nodeFqdn"] for node in config["syncCfg.nodeInfo"]]
    if name not in names:
        raise BadConfig(f"vgroup {config.get('vgId')} has its copies on {', '.join(names)}, none on {name}.")
    config["syncCfg.myIndex"] = str(names.index(name))
    config |= {key: "0" for key in config if key.startswith("vndStats.")}
    return {**vnode, "config": config, "state": NOTHING_APPLIED}


def alone(number: int, vnode: dict[str, Any], name: str) -> dict[str, Any]:
    """The vnode.json of an empty vgroup of the tool's own database, made after that of any other copy on `name`."""
    other = seed(vnode, name)
    mine = [node for node in other["config"]["syncCfg.nodeInfo"] if node["nodeFqdn"] == name]
    config = {
        "vgId": str(number), "wal.vgId": str(number), "dbname": f"1.{OWN_DATABASE}", "dbId": "0", "szBuf": str(_SMALL),
        "hashBegin": "0", "hashEnd": str(0xFFFFFFFF), "syncCfg.nodeInfo": mine, "syncCfg.replicaNum": "1",
        "syncCfg.myIndex": "0",
    }  # fmt: skip
    return {**other, "config": other["config"] | config}


def _with_those_alone(name: str, seeds: dict[str, Any]) -> dict[str, Any]:
    """The seeds of every vgroup. Raises BadConfig where no other one says what a vgroup looks like here."""
    found: dict[str, Any] = dict(seeds["vgroups"])
    like = next(iter(found.values()), None)
    for number in seeds.get("alone", ()):
        if like is None:
            raise BadConfig(f"No other copy on {name} says how vgroup {number} is laid.", "./dr tdengine-rebuild")
        vnode = alone(number, like["vnode"], name)
        found[str(number)] = {"entry": like["entry"] | {"vgId": number, "vgVersion": 1}, "vnode": vnode}
    return found


def imported(name: str, seeds: dict[str, Any], data: Path = DATA) -> dict[str, Any]:
    """Lay the seeds that are not there yet; {"laid": [ids], "kept": [ids]}. Raises AgentError while a server runs."""
    if _running():
        raise AgentError("taosd runs, and would not see what is laid now.", "systemctl stop taosd")
    there = _listed(data)
    laid, kept = [], []
    for text, one in sorted(_with_those_alone(name, seeds).items(), key=lambda item: int(item[0])):
        number = int(text)
        if _file(data, number).exists():
            kept.append(number)
            continue
        _write(_file(data, number), seed(one["vnode"], name))
        there[number] = one["entry"]
        laid.append(number)
    if laid:
        _write(data / "vnode/vnodes.json", {"vnodes": list(there.values())})
    return {"laid": laid, "kept": kept}


def _listed(data: Path) -> dict[int, dict[str, Any]]:
    return {int(entry["vgId"]): entry for entry in _read(data / "vnode/vnodes.json").get("vnodes", [])}


def _file(data: Path, number: int) -> Path:
    return data / f"vnode/vnode{number}/vnode.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        hint = "./dr tdengine-rejoin --replace moves the data aside."
        raise AgentError(f"{path} cannot be read: {error}.", hint) from error
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, and the server's own."""
    owner = pwd.getpwnam("taos") if os.getuid() == 0 else None
    made = [folder for folder in (path.parent.parent, path.parent) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    whose = (owner.pw_uid, owner.pw_gid) if owner else None
    if whose:
        for one in made:
            os.chown(one, *whose)
    files.replace(path, json.dumps(content, indent=1), owner=whose)


def _running() -> bool:
    return subprocess.run(["systemctl", "is-active", "-q", "taosd"], check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.seed", description="Seeds of lost copies.")
    parser.add_argument("command", choices=("local", "export", "import"))
    parser.add_argument("--for", dest="name", default="", help="the host that lost its copies")
    options = parser.parse_args(arguments)
    if options.command == "local":
        answer = local()
    elif options.command == "export":
        answer = exported(options.name)
    else:
        answer = imported(options.name, json.load(sys.stdin))
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
