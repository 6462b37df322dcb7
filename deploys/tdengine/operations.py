"""Operations on a TDengine server. Statements and passwords travel on standard input, to taospy on the host itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from pyinfra import host, inventory
from pyinfra.api import FactBase, OperationError, QuoteString, StringCommand, operation
from pyinfra.facts.files import File

from deploys.text import DOWNGRADE
from inventories.catalog.tdengine import shape as td_shape

Commands = Generator[str | StringCommand, None, None]
_ADMIN = "cd /opt/mystocks-dr && python3 -m agents.tdengine.admin"
_BEGIN_S = 60


class TdState(FactBase[dict[str, Any]]):
    """What agents.tdengine.admin says of this host's server; empty when that does not answer.

    Keys: see agents.tdengine.state.state.
    """

    default = dict

    def command(self) -> StringCommand:
        return StringCommand("sh", "-c", QuoteString(f"{_ADMIN} state 2>/dev/null || echo '{{}}'"))

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        text = "\n".join(output).strip()
        return dict(json.loads(text)) if text else {}


class TdBegun(FactBase[bool]):
    """Whether this host's server has been part of a cluster, so that it holds, or held, data."""

    def command(self) -> str:
        return "grep -qs '\"dnodeId\":[[:space:]]*[1-9]' /var/lib/taos/dnode/dnode.json && echo yes || echo no"

    def process(self, output: Iterable[str]) -> bool:
        return "".join(output).strip() == "yes"


def _admin(command: str, **facts: object) -> StringCommand:
    return StringCommand("sh", "-c", QuoteString(f"{_ADMIN} {command}"), _stdin=json.dumps(facts) + "\n")


_UNPACK = """
set -e
version() { "$1/bin/taosd" -V 2>/dev/null | sed -n 's/^taosd version: \\([0-9.]*[0-9]\\).*/\\1/p'; }
rm -rf "$2.new"; mkdir -p "$2.new"
tar -xf "$1" -C "$2.new" --no-same-owner
new=$(version "$2.new"); old=$(version "$3")
if [ -z "$new" ]; then echo "cannot run taosd of $1 on this host" >&2; rm -rf "$2.new"; exit 1; fi
if [ -n "$old" ] && [ "$new" != "$old" ] && [ "$(printf '%s\\n' "$new" "$old" | sort -V | tail -1)" = "$old" ]; then
  echo "$4: SENTENCE: the package is $new, in use is $old" >&2; rm -rf "$2.new" "$1"; exit 1
fi
rm -rf "$2"; mv "$2.new" "$2"; rm -f "$1"
""".replace("SENTENCE", DOWNGRADE)


@operation()
def td_unpack(archive: str, folder: str, current: str) -> Commands:
    """Unpack beside what is there, whole or not at all; never what is older than the version in use."""
    if host.get_fact(File, path=f"{folder}/bin/taosd"):
        host.noop("it is unpacked")
        return
    paths = (QuoteString(path) for path in (archive, folder, current))
    yield StringCommand("sh", "-c", QuoteString(_UNPACK), "sh", *paths, host.name)


_BEGIN = """
set -e
folder=$(mktemp -d); chmod 755 "$folder"; trap 'rm -rf "$folder"' EXIT
sed "s/^firstEp .*/firstEp $1:6030/; /^secondEp/d" /etc/taos/taos.cfg >"$folder/taos.cfg"
setpriv --reuid=taos --regid=taos --init-groups /opt/tdengine/current/bin/taosd -c "$folder" >/dev/null & server=$!
tries=0
until grep -qs '"dnodeId":[[:space:]]*[1-9]' /var/lib/taos/dnode/dnode.json; do
  tries=$((tries + 1))
  if [ $tries -gt "$2" ] || ! kill -0 $server 2>/dev/null; then
    kill $server 2>/dev/null || true; echo "taosd cannot begin a cluster; its log is in /var/log/taos" >&2; exit 1
  fi
  sleep 0.1
done
kill $server; wait $server || true
"""


@operation()
def td_begin(nodes: Sequence[str]) -> Commands:
    """Make the first of `nodes` the first of a new cluster, when none of them has been part of one.

    No setting that stays says so: a first node that comes back blank would begin another cluster of the same name.
    """
    if host.name != nodes[0] or host.get_fact(TdBegun):
        host.noop("somebody else begins, or it has begun")
        return
    for name in nodes[1:]:
        node = inventory.get_host(name)
        if not (node and node.connected):
            raise OperationError(f"{host.name} is blank and cannot tell whether {name} has data: deploy both together")
        if node.get_fact(TdBegun):
            host.noop(f"{name} has data, so this node joins")
            return
    yield StringCommand("sh", "-c", QuoteString(_BEGIN), "sh", host.name, str(_BEGIN_S * 10))


@operation()
def td_restart() -> Commands:
    """Restart a server that runs, and wait until it is back in its cluster: with three nodes, one after the other."""
    # Nothing on standard input: a shell that ends before it is written there fails the deploy.
    script = f"systemctl is-active -q taosd || exit 0; systemctl restart taosd && {_ADMIN} ready </dev/null"
    yield StringCommand("sh", "-c", QuoteString(script))


@operation()
def td_accounts(passwords: Mapping[str, str]) -> Commands:
    """Replace the password that everybody knows, and make one user a purpose."""
    state = host.get_fact(TdState)
    wanted = {"root", *passwords} - {"td_root"}
    ours = hashlib.sha256(passwords["td_root"].encode()).hexdigest()
    if state and not state["default_password"] and state["root"] == ours and wanted <= set(state["users"]):
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
def td_schema(shape: td_shape.Shape) -> Commands:
    """Databases, options and supertables as declared, as far as TDengine can alter them without losing a row."""
    state = host.get_fact(TdState)
    statements = td_shape.repairs(shape, state.get("databases", {}), state.get("columns", {}))
    if not statements:
        host.noop("everything that can be altered is as declared")
        return
    yield _admin("schema", statements=list(statements))


@operation()
def td_features(user: str, password: str) -> Commands:
    """Note what this server can do, again after each change of its version."""
    state = host.get_fact(TdState)
    if state and (state["features"] or {}).get("version") == state["version"]:
        host.noop("it is noted")
        return
    yield _admin("features", user=user, password=password)
