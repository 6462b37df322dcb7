"""What a deploy does on a TDengine server as its root user. Runs as root on the server's own host.

    python3 -m agents.tdengine_admin state                    prints what is there, as one JSON object
    python3 -m agents.tdengine_admin accounts|cluster|schema  facts as one JSON object on standard input
    python3 -m agents.tdengine_admin sql                      {"sql": statement} on standard input; prints its rows

Until `accounts` has run, the server takes the password that everybody knows. The new one lies in PASSFILE, readable by
root alone, before the server is told: whatever happens between, one of both is right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.errors import AgentError, run
from agents.tdengine import Session, Settings, TdengineError

PASSFILE = Path("/etc/mystocks-dr/tdengine-root.pass")
DEFAULT_PASSWORD = "taosdata"  # noqa: S105 - the vendor's, which `accounts` replaces
READY_S = 60.0
AUTHENTICATION = (0x0357, 0x0303)  # wrong password; invalid user


def _settings(node: str) -> Settings:
    return Settings(((node, 6030),), "root", PASSFILE, "")


def _node() -> str:
    """The name by which this server calls itself."""
    for line in Path("/etc/taos/taos.cfg").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["fqdn"]:
            return words[1]
    raise AgentError("/etc/taos/taos.cfg has no fqdn.", "Deploy this host again.")


def _session() -> tuple[Session, bool]:
    """A session as root, and whether the vendor's password opened it."""
    settings = _settings(_node())
    if PASSFILE.exists():
        try:
            return Session(settings), False
        except TdengineError as error:
            if error.code not in AUTHENTICATION:
                raise
    return Session(settings, password=DEFAULT_PASSWORD), True


def _patient() -> tuple[Session, bool]:
    """The same, waiting for a server that is just starting."""
    end = time.monotonic() + READY_S
    while True:
        try:
            return _session()
        except TdengineError as error:
            if error.code in AUTHENTICATION or time.monotonic() > end:
                raise
            time.sleep(0.2)


def state() -> dict[str, Any]:
    """What the server has. Databases map to their options, supertables to their columns."""
    session, known = _patient()
    with session:
        databases = session.names_and_rows("SELECT * FROM information_schema.ins_databases")
        stables = session.rows("SELECT db_name, stable_name FROM information_schema.ins_stables")
        dnodes = session.rows("SELECT endpoint, status FROM information_schema.ins_dnodes")
        mnodes = session.rows("SELECT endpoint FROM information_schema.ins_mnodes")
        users = session.rows("SELECT name FROM information_schema.ins_users")
        names, rows = databases
        return {
            "default_password": known,
            "version": session.server,
            "users": sorted(row[0] for row in users),
            "dnodes": {row[0]: row[1] for row in dnodes},
            "mnodes": sorted(row[0] for row in mnodes),
            "databases": {row[0]: {n: str(v) for n, v in zip(names, row, strict=True)} for row in rows},
            "supertables": sorted(f"{row[0]}.{row[1]}" for row in stables),
        }


def accounts(facts: dict[str, Any]) -> None:
    """Change root's password, make the other users, set their passwords."""
    passwords: dict[str, str] = facts["passwords"]
    root = passwords.pop("td_root")
    session, _ = _patient()
    with session:
        _write_secret(PASSFILE, root)
        session.execute(f"ALTER USER root PASS '{root}'")
        there = {row[0] for row in session.rows("SELECT name FROM information_schema.ins_users")}
        for name, password in passwords.items():
            verb = f"ALTER USER {name} PASS" if name in there else f"CREATE USER {name} PASS"
            session.execute(f"{verb} '{password}'")


def _write_secret(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(f"{text}\n")
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


def cluster(facts: dict[str, Any]) -> None:
    """Join the other nodes, and give three of them a management node."""
    session, _ = _patient()
    with session:
        there = {row[0] for row in session.rows("SELECT endpoint FROM information_schema.ins_dnodes")}
        for node in facts["nodes"]:
            if f"{node}:6030" not in there:
                session.execute(f"CREATE DNODE '{node}:6030'")
        _ready(session, facts["nodes"])
        if len(facts["nodes"]) >= 3:
            numbers = {row[1]: row[0] for row in session.rows("SELECT id, endpoint FROM information_schema.ins_dnodes")}
            have = {row[0] for row in session.rows("SELECT endpoint FROM information_schema.ins_mnodes")}
            for node in facts["nodes"][:3]:
                if f"{node}:6030" not in have:
                    session.execute(f"CREATE MNODE ON DNODE {numbers[f'{node}:6030']}")


def _ready(session: Session, nodes: Sequence[str]) -> None:
    end = time.monotonic() + READY_S
    while True:
        rows = session.rows("SELECT endpoint, status FROM information_schema.ins_dnodes")
        ready = {row[0] for row in rows if row[1] == "ready"}
        lacking = [node for node in nodes if f"{node}:6030" not in ready]
        if not lacking:
            return
        if time.monotonic() > end:
            raise AgentError(f"{', '.join(lacking)} did not join within {READY_S:g} s.", "Is taosd running there?")
        time.sleep(0.2)


def schema(facts: dict[str, Any]) -> None:
    """Databases, then supertables, then what a database that was there already has otherwise."""
    session, _ = _patient()
    with session:
        for statement in [*facts["statements"], *facts["supertables"]]:
            session.execute(statement)


def sql(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one statement."""
    session, _ = _patient()
    with session:
        names, rows = session.names_and_rows(facts["sql"])
    return [dict(zip(names, row, strict=True)) for row in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine_admin", description="Prepare a TDengine server.")
    parser.add_argument("command", choices=("state", "accounts", "cluster", "schema", "sql"))
    command = parser.parse_args(arguments).command
    if command == "state":
        print(json.dumps(state()), flush=True)
    elif command == "sql":
        print(json.dumps(sql(json.load(sys.stdin)), default=str), flush=True)
    else:
        {"accounts": accounts, "cluster": cluster, "schema": schema}[command](json.load(sys.stdin))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
