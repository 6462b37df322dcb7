"""Change a TDengine server on its own host: start, stop, statements as root, seeds of lost copies."""

from __future__ import annotations

import json
from typing import Any

from runbooks.hosts import Host

_AGENTS = "cd /opt/mystocks-dr && exec python3 -m agents."
_MOVE_ASIDE = """
set -eu
systemctl stop taosd
if test -n "$(ls -A /var/lib/taos 2>/dev/null)"; then
  test ! -e %s
  mkdir -m 0750 %s
  find /var/lib/taos -mindepth 1 -maxdepth 1 -exec mv -t %s {} +
fi
install -d -o taos -g taos -m 0750 /var/lib/taos /var/lib/taos/tmp
"""


def execute(host: Host, statement: str, timeout: float | None = None) -> list[dict[str, Any]]:
    """Run one statement as root on this host's server; its rows. Raises DrError with TDengine's own words."""
    ran = host.run(f"{_AGENTS}tdengine.admin sql", stdin=json.dumps({"sql": statement}), timeout=timeout)
    rows = ran.json()
    assert isinstance(rows, list)
    return rows


def stop(host: Host, timeout: float) -> None:
    """Stop the server; what is in its memory is written first."""
    host.run("systemctl stop taosd", timeout=timeout)


def start(host: Host, timeout: float) -> None:
    """Start the server; returns when it runs, which is before it has joined."""
    host.run("systemctl reset-failed taosd; systemctl start taosd", timeout=timeout)


def move_aside(host: Host, folder: str, timeout: float) -> None:
    """Stop the server and leave it blank; its data lie in `folder`, which must not be there yet."""
    host.run(_MOVE_ASIDE, folder, folder, folder, timeout=timeout)


def export_seeds(host: Host, name: str) -> dict[str, Any]:
    """What a survivor knows of the vgroups that `name` has a copy of."""
    found = host.run(f"{_AGENTS}tdengine.seed export --for %s", name).json()
    assert isinstance(found, dict)
    return found


def lay_seeds(host: Host, seeds: dict[str, Any]) -> tuple[int, ...]:
    """Give a stopped server the copies that it lacks, empty; ids of the vgroups."""
    said = host.run(f"{_AGENTS}tdengine.seed import --for %s", host.name, stdin=json.dumps(seeds)).json()
    return tuple(said["laid"])


def manage_again(asked: Host, name: str, timeout: float) -> None:
    """Replace the management node of a host that lost it."""
    known = execute(asked, "SELECT endpoint, id FROM information_schema.ins_dnodes")
    number = next(int(row["id"]) for row in known if row["endpoint"] == f"{name}:6030")
    managing = execute(asked, "SELECT endpoint FROM information_schema.ins_mnodes")
    if any(row["endpoint"] == f"{name}:6030" for row in managing):
        execute(asked, f"DROP MNODE ON DNODE {number}", timeout)
    execute(asked, f"CREATE MNODE ON DNODE {number}", timeout)
