"""Tables as a server on a host has them: the live one, or a side cluster beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runbooks.hosts import Host
from runbooks.probes.postgresql import table_facts
from runbooks.table_copy.names import literal, qualified, shown
from runbooks.table_copy.shape import Shape, parse


@dataclass(frozen=True)
class Server:
    """Where psql finds a server on its host: `connect` are its options, none for the live one."""

    host: Host
    database: str
    connect: str = ""

    def ask(self, sql: str, timeout: float | None = None) -> str:
        """The text that statements print; stops at the first error. Raises DrError."""
        command = f"psql -qAtX -v ON_ERROR_STOP=1 {self.connect} -d %s"
        return self.host.run(command, self.database, user="postgres", stdin=sql, timeout=timeout).text

    def query(self, sql: str, timeout: float | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT. Raises DrError."""
        said = self.ask(f"SELECT coalesce(json_agg(q), '[]') FROM ({sql}) q;", timeout)
        rows: list[dict[str, Any]] = json.loads(said)
        return rows


def names(server: Server, timeout: float | None = None) -> frozenset[str]:
    """Every table but the server's own and its extensions'. Raises DrError when the server does not answer."""
    return frozenset(shown(one["schema"], one["table"]) for one in json.loads(server.ask(table_facts.NAMES, timeout)))


def shapes(server: Server, wanted: Iterable[str], timeout: float | None = None) -> dict[str, Shape]:
    """Those of the tables wanted that are there, by name. Raises DrError when the server does not answer."""
    wanted = tuple(wanted)
    if not wanted:
        return {}
    return read(server.ask(table_facts.facts(wanted), timeout))


def read(said: str) -> dict[str, Shape]:
    """The lines that table_facts.facts prints: the tables, and what their hypertables add to them."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    more = {_key(row["name"]): row for row in (lines[1] if len(lines) > 1 else [])}
    return parse({**row, **more.get(_key(row["name"]), {})} for row in lines[0])


def _key(name: dict[str, str]) -> tuple[str, str]:
    return name["schema"], name["table"]


def taken(server: Server, wanted: Iterable[str]) -> tuple[str, ...]:
    """Those of these names that some relation has, be it a table, a view or an index."""
    questions = {name: f"SELECT to_regclass({literal(qualified(name))}) IS NOT NULL;" for name in wanted}
    return tuple(name for name, question in questions.items() if server.ask(question) == "t")


def absent(server: Server, wanted: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Which of these objects, (type, identity) as the server calls them, are not there."""
    values = ", ".join(f"({literal(kind)}, {literal(identity)})" for kind, identity in wanted)
    said = json.loads(server.ask(table_facts.ABSENT.replace("@WANTED@", values))) if values else []
    return tuple((kind, identity) for kind, identity in said)


def called(server: Server, oid: int) -> str:
    """What the table of this number is called; empty when it is gone."""
    said = server.ask(table_facts.CALLED.replace("@OID@", str(oid)))
    found = json.loads(said) if said else None
    return shown(found["schema"], found["table"]) if found else ""


def sequences(server: Server) -> frozenset[str]:
    """Every sequence, as format('%I.%I') writes it."""
    return frozenset(json.loads(server.ask(table_facts.SEQUENCES)))
