"""Operations on a TDengine server. Statements and passwords travel on standard input, to taospy on the host itself."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FactBase, QuoteString, StringCommand, operation

Commands = Generator[str | StringCommand, None, None]
_ADMIN = "cd /opt/mystocks-dr && python3 -m agents.tdengine_admin"


class TdState(FactBase[dict[str, Any]]):
    """What agents.tdengine_admin says of this host's server; empty when that does not answer.

    Keys: default_password, version, users, dnodes, mnodes, databases, supertables.
    """

    default = dict

    def command(self) -> StringCommand:
        return StringCommand("sh", "-c", QuoteString(f"{_ADMIN} state 2>/dev/null || echo '{{}}'"))

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        text = "\n".join(output).strip()
        return dict(json.loads(text)) if text else {}


def _admin(command: str, **facts: object) -> StringCommand:
    return StringCommand("sh", "-c", QuoteString(f"{_ADMIN} {command}"), _stdin=json.dumps(facts) + "\n")


@operation()
def td_unpack(archive: str, folder: str) -> Commands:
    """Unpack beside what is there, whole or not at all."""
    script = (
        f"rm -rf {folder}.new && mkdir -p {folder}.new && tar -xf {archive} -C {folder}.new --no-same-owner "
        f"&& rm -rf {folder} && mv {folder}.new {folder}"
    )
    yield StringCommand("sh", "-c", QuoteString(script))


@operation()
def td_accounts(passwords: Mapping[str, str]) -> Commands:
    """Replace the password that everybody knows, and make one user a purpose."""
    state = host.get_fact(TdState)
    wanted = {"root", *passwords} - {"td_root"}
    if state and not state["default_password"] and wanted <= set(state["users"]):
        host.noop("root's password is ours and every user is there")
        return
    yield _admin("accounts", passwords=dict(passwords))


@operation()
def td_cluster(nodes: Sequence[str]) -> Commands:
    """Join every node; the first three manage the cluster when there are three."""
    state = host.get_fact(TdState)
    joined = {f"{node}:6030" for node in nodes} <= set(state.get("dnodes", {}))
    managed = len(nodes) < 3 or len(state.get("mnodes", ())) >= 3
    if joined and managed:
        host.noop("every node has joined")
        return
    yield _admin("cluster", nodes=list(nodes))


@operation()
def td_schema(databases: Sequence[str], statements: Sequence[str], supertables: Mapping[str, str]) -> Commands:
    """Databases and supertables that are missing. One that is there is never altered unasked."""
    state = host.get_fact(TdState)
    there = {name.partition(".")[2] for name in state.get("supertables", ()) if name.partition(".")[0] in databases}
    if set(databases) <= set(state.get("databases", {})) and set(supertables) <= there:
        host.noop("every table is there")
        return
    yield _admin("schema", statements=list(statements), supertables=list(supertables.values()))
