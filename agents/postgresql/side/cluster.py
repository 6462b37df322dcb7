"""Side clusters: a backup restored beside whatever runs, cut off from the world, paused where it was asked to stop.

Run as postgres on the host where the side cluster is to be; prints one JSON object, sentences go to standard error.

    python3 -m agents.postgresql.side.cluster restore --name N --type time --target "2026-11-21 10:00:00+08"
    python3 -m agents.postgresql.side.cluster open --name N --type lsn --target 0/3000060    # a standby that is stopped
    python3 -m agents.postgresql.side.cluster show|promote|stop|start|release|drop --name N
    python3 -m agents.postgresql.side.cluster sql --name N --database D     # statements on standard input, rows as JSON
    python3 -m agents.postgresql.side.cluster list
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from ipaddress import ip_address
from typing import Any

from agents.base.errors import AgentError
from agents.base.errors import run as run_main
from agents.postgresql import engines, pgbackrest
from agents.postgresql.side import opened
from agents.postgresql.side.place import STANDBY, BadRequest, Place, every, find
from agents.postgresql.side.release import release
from agents.postgresql.side.restore import Request, describe, restore, resume
from agents.postgresql.side.settings import Served
from agents.postgresql.side.target import KINDS, Target

_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")  # a name may have a semicolon


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    return run_main(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if os.geteuid() == 0:
        raise BadRequest("PostgreSQL does not run as root.", "Run it as postgres.")
    print(json.dumps(_COMMANDS[options.command](options)))
    return 0


def _restore(options: argparse.Namespace) -> Any:
    target = Target(options.type, options.target, options.inclusive, options.timeline)
    request = Request(
        options.name, target, options.set, options.repo, options.config,
        engines.Speed(options.processes, options.gives_way), options.patience,
        options.accept_gap, options.engine, _served(options),
    )  # fmt: skip
    return restore(request, options.replace)


def _open(options: argparse.Namespace) -> Any:
    target = Target(options.type, options.target, options.inclusive, options.timeline)
    request = Request(
        options.name, target, STANDBY, options.repo, options.config, patience=options.patience, served=_served(options)
    )
    return opened.open_standby(request)


def _served(options: argparse.Namespace) -> Served:
    """Raises BadRequest for a reader that is not NAME=ADDRESS."""
    readers = tuple(tuple(reader.partition("=")[::2]) for reader in options.reader)
    try:
        for name, address in ((options.listen or "x", options.listen or "::1"), *readers):
            if not name or '"' in name:
                raise ValueError(f"{name!r} is no name")
            ip_address(address)
    except ValueError as error:
        raise BadRequest(f"Nobody can be let in so: {error}.", "--listen 10.0.0.22 --reader pg1=10.0.0.21") from error
    return Served(options.listen, readers)


def _list(options: argparse.Namespace) -> Any:
    return [describe(place) for place in every()]


def _show(options: argparse.Namespace) -> Any:
    return describe(_known(options.name))


def _promote(options: argparse.Namespace) -> Any:
    """End recovery here; one that is promoted already stays so."""
    place = _restored(options.name)
    with place.locked(options.patience):
        resume(place)
        done = place.query(
            f"select case when pg_is_in_recovery() then pg_promote(true, {int(options.patience)}) else true end"
        )
        if done != "t":
            raise AgentError(f"{options.name} was not promoted within {options.patience:g} s.", f"See {place.log}.")
        place.note(promoted=True)
        described = describe(place)
        place.note(**{name: described[name] for name in ("lsn", "timeline", "last_commit_at")})
        return described


def _stop(options: argparse.Namespace) -> Any:
    place = _known(options.name)
    with place.locked(options.patience):
        place.halt()
        return describe(place)


def _start(options: argparse.Namespace) -> Any:
    place = _known(options.name)
    with place.locked(options.patience):
        resume(place, options.patience)
        return describe(place)


def _release(options: argparse.Namespace) -> Any:
    place = _restored(options.name)
    with place.locked(options.patience):
        return release(place)


def _drop(options: argparse.Namespace) -> Any:
    """Remove it whatever state it is in; one that is not there is no error."""
    place = find(options.name)
    if place is None:
        return {"name": options.name, "dropped": False}
    with place.locked(options.wait):
        place.remove()
    return {"name": options.name, "dropped": True}


def _sql(options: argparse.Namespace) -> Any:
    """Rows of one query; anything else is executed and gives no rows."""
    text = sys.stdin.read().strip().rstrip(";").strip()
    place = _known(options.name)
    if ";" not in _QUOTED.sub("", text) and text.partition(" ")[0].lower() in ("select", "with", "values", "table"):
        wrapped = f"select coalesce(json_agg(row_to_json(q)), '[]') from ({text}\n) q;"  # noqa: S608 - psql, as it is
        return json.loads(place.query(wrapped, options.database))
    place.query(text + ";", options.database)
    return []


def _known(name: str) -> Place:
    place = find(name)
    if place is None:
        there = ", ".join(one.name for one in every()) or "none"
        raise BadRequest(f"There is no side cluster {name} on this host.", f"There is {there}.")
    return place


def _restored(name: str) -> Place:
    """One that has data of its own."""
    place = _known(name)
    if place.is_standby:
        raise BadRequest(
            f"The side cluster {name} is this host's own standby, and stays one.", "Restore one from the repository."
        )
    return place


_COMMANDS = {
    "restore": _restore, "open": _open, "show": _show, "promote": _promote, "stop": _stop, "start": _start,
    "release": _release, "drop": _drop, "sql": _sql, "list": _list,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m agents.postgresql.side.cluster", description=__doc__.partition("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in _COMMANDS:
        command = commands.add_parser(name)
        if name != "list":
            command.add_argument("--name", required=True)
        command.add_argument("--patience", type=float, default=600, help="seconds without progress")
        if name == "drop":
            command.add_argument("--wait", type=float, default=0, help="seconds to wait for another process")
        if name == "sql":
            command.add_argument("--database", default="postgres")
    _of_recovery(commands.choices["restore"])
    _of_recovery(commands.choices["open"])
    command = commands.choices["restore"]
    command.add_argument("--set", default="", help="label of the backup (default: the newest before the target)")
    command.add_argument("--processes", type=int, default=0, help="parallel workers (default: one a core)")
    command.add_argument(
        "--gives-way", action="store_true", help="in short turns, on a quarter of the cores: production lives here"
    )
    command.add_argument("--accept-gap", action="store_true", help="with latest: stop where the archive has a gap")
    command.add_argument("--engine", choices=engines.NAMES, default="pgbackrest")
    command.add_argument("--replace", action="store_true", help="drop a side cluster of this name first")
    return parser


def _of_recovery(command: argparse.ArgumentParser) -> None:
    """Where it stops, where its WAL comes from, and who may read it."""
    command.add_argument("--repo", type=int, default=1)
    command.add_argument("--type", choices=KINDS, default="immediate")
    command.add_argument("--target", default="")
    command.add_argument("--inclusive", action="store_true", help="apply what the target names, too")
    command.add_argument("--timeline", default="latest", help="latest, current or a number")
    command.add_argument("--listen", default="", help="address for readers on other hosts (default: none)")
    command.add_argument("--reader", action="append", default=[], metavar="NAME=ADDRESS", help="who may read there")
    command.add_argument("--config", default=str(pgbackrest.CONFIG))


if __name__ == "__main__":
    sys.exit(main())
