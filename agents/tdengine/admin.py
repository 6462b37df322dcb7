"""What a deploy or a runbook does on a TDengine server as its root user. Runs as root on the server's own host.

    python3 -m agents.tdengine.admin state                    prints what is there, as one JSON object
    python3 -m agents.tdengine.admin accounts|cluster|schema|features|ready
                                                              facts as one JSON object on standard input
    python3 -m agents.tdengine.admin sql                      {"sql": statement} on standard input; prints its rows
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.tdengine.root import PASSFILE, PORT, READY_S, endpoints, keep_password, open_session, own_name, patient
from agents.tdengine.session import OWN_DATABASE, Session, Settings, TdengineError
from agents.tdengine.state import FEATURES, dnodes, listens, probe, state, vgroups

_TOO_FEW = 0x0334  # out of dnodes
_JOINED = Path("/var/lib/taos/dnode/dnode.json")


def accounts(facts: dict[str, Any]) -> None:
    """Change root's password, make the other users, set their passwords. {"passwords": {"td_root": ..., name: ...}}"""
    passwords: dict[str, str] = dict(facts["passwords"])
    root = passwords.pop("td_root")
    session, _ = patient(root)
    with session:
        keep_password(root)
        session.execute(f"ALTER USER root PASS '{root}'")
        there = {row[0] for row in session.rows("SELECT name FROM information_schema.ins_users")}
        for name, password in passwords.items():
            verb = f"ALTER USER {name} PASS" if name in there else f"CREATE USER {name} PASS"
            session.execute(f"{verb} '{password}'")


def cluster(facts: dict[str, Any]) -> None:
    """Join the other nodes, and give three of them a management node. {"nodes": [name, ...]}"""
    session, _ = patient()
    names: list[str] = facts["nodes"]
    with session:
        there = dnodes(session)
        for endpoint in endpoints(names):
            if endpoint not in there:
                session.execute(f"CREATE DNODE '{endpoint}'")
        _until(lambda: _not_ready(session, names), f"did not join within {READY_S:g} s")
        if len(names) >= 3:
            manage(session, names[:3])


def manage(session: Session, names: Sequence[str]) -> None:
    """A management node on each of these, waiting for one before the next: they vote about each other."""
    numbers = {row[1]: row[0] for row in session.rows("SELECT id, endpoint FROM information_schema.ins_dnodes")}
    for endpoint in endpoints(names):
        have = {row[0] for row in session.rows("SELECT endpoint FROM information_schema.ins_mnodes")}
        if endpoint not in have:
            session.execute(f"CREATE MNODE ON DNODE {numbers[endpoint]}")


def _not_ready(session: Session, names: Sequence[str]) -> str:
    """Names of the nodes that are not ready, as a sentence begins; empty when all are."""
    found = dnodes(session)
    return ", ".join(name for name in names if found.get(f"{name}:{PORT}") != "ready")


def _leaderless(session: Session) -> str:
    """Vgroups in which nobody can write; what is our own waits for nobody and is waited for by nobody."""
    groups = [
        group for group in vgroups(session)
        if group["database"] != OWN_DATABASE and not any(r[0] == "leader" for r in group["replicas"].values())
    ]  # fmt: skip
    return ", ".join(f"vgroup {group['id']}" for group in groups)


def _until(lacking: Callable[[], str], sentence: str) -> None:
    end = time.monotonic() + READY_S
    while missing := lacking():
        if time.monotonic() > end:
            raise AgentError(f"{missing} {sentence}.", "Is taosd running there? Its log is in /var/log/taos.")
        time.sleep(0.2)


def ready(facts: dict[str, Any]) -> None:
    """Wait until this host's server is part of its cluster again and every vgroup has a leader.

    A server that was never part of one is not waited for: others have to take it in first.
    """
    if not _JOINED.exists() or int(json.loads(_JOINED.read_text(encoding="utf-8")).get("clusterId") or 0) == 0:
        return
    session, _ = patient()
    with session:
        _until(lambda: _not_ready(session, [own_name()]), f"is not ready within {READY_S:g} s")
        _until(lambda: _leaderless(session), f"has no leader within {READY_S:g} s")


def schema(facts: dict[str, Any]) -> None:
    """Run statements one after the other; a vgroup that is changing is waited for. {"statements": [...]}"""
    session, _ = patient()
    with session:
        for statement in facts["statements"]:
            _with_nodes(session, statement)
            _until(lambda: _leaderless(session), f"has no leader within {READY_S:g} s")


def _with_nodes(session: Session, statement: str) -> None:
    """Run it; a server that has just begun does not count itself among the nodes yet, which is waited for."""
    end = time.monotonic() + READY_S
    while True:
        try:
            session.execute(statement)
            return
        except TdengineError as error:
            if error.code != _TOO_FEW or time.monotonic() > end:
                raise
            time.sleep(0.2)


def features(facts: dict[str, Any]) -> None:
    """Ask what this server can do, and note it. {"user": name, "password": ...} of an ordinary account"""
    session, _ = patient()
    account = Settings(((own_name(), PORT),), facts["user"], PASSFILE, "")
    with session, Session(account, password=facts["password"]) as user:
        found = probe(session, user)
    FEATURES.write_text(json.dumps(found) + "\n", encoding="utf-8")


def sql(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one statement."""
    session, _ = patient()
    with session:
        names, rows = session.names_and_rows(facts["sql"])
    return [dict(zip(names, row, strict=True)) for row in rows]


def look() -> dict[str, Any]:
    """The state, of a server that answers now or not at all: the client library would try for 20 s."""
    if not listens(PORT):
        raise AgentError(f"Nobody listens at {own_name()}:{PORT}.", "journalctl -u taosd says why taosd does not run.")
    session, known = open_session()
    with session:
        return state(session, known)


_CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "accounts": accounts, "cluster": cluster, "schema": schema, "features": features, "ready": ready,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.admin", description="Prepare a TDengine server.")
    parser.add_argument("command", choices=("state", "sql", *_CHANGES))
    command = parser.parse_args(arguments).command
    if command == "state":
        print(json.dumps(look()), flush=True)
    elif command == "sql":
        print(json.dumps(sql(json.load(sys.stdin)), default=str), flush=True)
    else:
        _CHANGES[command](json.loads(sys.stdin.read() or "{}"))
    return 0


if __name__ == "__main__":
    code = run(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the client library takes a second and a half to tear down what ends here anyway
