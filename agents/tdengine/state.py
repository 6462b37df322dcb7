"""What a TDengine server is and has, as plain values: asked as root, changing nothing."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

from agents.tdengine.root import PASSFILE, own_name
from agents.tdengine.seed import local
from agents.tdengine.session import Session, TdengineError

FEATURES = Path("/var/lib/mystocks-dr/tdengine-features.json")
ADAPTER_PORT = 6041
_NO_DNODE = 999999
_VGROUPS = "SELECT * FROM information_schema.ins_vgroups"


def state(session: Session, known: bool) -> dict[str, Any]:
    """Keys: default_password, root (SHA-256 of the password kept here), version, edition, users; dnodes, mnodes and
    numbers (endpoint -> status, role, id of the dnode); databases (name -> options), supertables ("database.name"),
    columns (supertable -> [name, type, note]), vgroups, held (ids of the vgroups that have data
    on this host: the cluster goes on calling a copy a follower whose disk is blank), features.
    """
    stables = sorted(
        f"{database}.{name}"
        for database, name in session.rows("SELECT db_name, stable_name FROM information_schema.ins_stables")
    )
    names, databases = session.names_and_rows("SELECT * FROM information_schema.ins_databases")
    return {
        "default_password": known,
        "root": hashlib.sha256(PASSFILE.read_bytes().strip()).hexdigest() if PASSFILE.exists() else "",
        "version": version_of(session),
        "edition": edition_of(session),
        "users": sorted(row[0] for row in session.rows("SELECT name FROM information_schema.ins_users")),
        "dnodes": dnodes(session),
        "numbers": dict(session.rows("SELECT endpoint, id FROM information_schema.ins_dnodes")),
        "mnodes": mnodes(session),
        "databases": {row[0]: {n: str(v) for n, v in zip(names, row, strict=True)} for row in databases},
        "supertables": stables,
        "columns": {stable: columns(session, stable) for stable in stables},
        "vgroups": vgroups(session),
        "held": local()["vgroups"],
        "features": features(),
    }


def version_of(session: Session) -> str:
    """The server's version, such as 3.3.7.5, from `ver:3.3.7.5.alpha` and what follows."""
    first = session.server.split()[0].removeprefix("ver:")
    return ".".join(part for part in first.split(".") if part.isdigit())


def dnodes(session: Session) -> dict[str, str]:
    return dict(session.rows("SELECT endpoint, status FROM information_schema.ins_dnodes"))


def mnodes(session: Session) -> dict[str, str]:
    return dict(session.rows("SELECT endpoint, role FROM information_schema.ins_mnodes"))


def columns(session: Session, stable: str) -> list[list[str]]:
    """[name, type, note] of each column and tag; the note says TAG or COMPOSITE KEY."""
    database, _, name = stable.partition(".")
    found = []
    for field, kind, length, note, *_ in session.rows(f"DESCRIBE `{database}`.`{name}`"):
        text = f"{kind}({length})" if kind in ("VARCHAR", "NCHAR", "BINARY", "VARBINARY") else str(kind)
        found.append([field, text, note])
    return found


def vgroups(session: Session) -> list[dict[str, Any]]:
    """{"id", "database", "replicas": {dnode id: [role, applied, committed]}}; a replica that is away is offline."""
    names, rows = session.names_and_rows(_VGROUPS)
    found = []
    for row in rows:
        values = dict(zip(names, row, strict=True))
        replicas = {}
        for number in range(1, 5):
            if values.get(f"v{number}_dnode") is not None:
                applied, _, committed = str(values.get(f"v{number}_applied/committed") or "0/0").partition("/")
                replicas[str(values[f"v{number}_dnode"])] = [
                    str(values[f"v{number}_status"]), int(applied or 0), int(committed or 0)
                ]  # fmt: skip
        found.append({"id": values["vgroup_id"], "database": values["db_name"], "replicas": replicas})
    return found


def features() -> dict[str, Any] | None:
    """What `probe` found at the last deploy of this host; None when it has not looked yet."""
    try:
        found = json.loads(FEATURES.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def probe(session: Session, user: Session) -> dict[str, Any]:
    """What this edition and version can do. `user` has an ordinary account's session.

    Each question changes nothing, whatever the answer: a user that is enabled is enabled, a node that is not there is
    restored. The Community edition answers that it restored it: the statement is an empty shell there.
    """
    return {
        "version": version_of(session),
        "edition": edition_of(session),
        "privileges_hold": not _taken(user, "ALTER USER root ENABLE 1"),
        "restores_dnodes": not _taken(session, f"RESTORE DNODE {_NO_DNODE}"),
        "rest": listens(ADAPTER_PORT),
    }


def edition_of(session: Session) -> str:
    """`community` or another word; empty when the server does not say."""
    rows = session.rows("SELECT version FROM information_schema.ins_cluster")
    return str(rows[0][0]) if rows else ""


def _taken(session: Session, statement: str) -> bool:
    try:
        session.execute(statement)
    except TdengineError:
        return False
    return True


def listens(port: int) -> bool:
    """Whether anybody does on this host, under the server's name."""
    try:
        socket.create_connection((own_name(), port), 1.0).close()
    except OSError:
        return False
    return True
