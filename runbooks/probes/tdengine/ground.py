"""What TDengine's hosts bring for a rebuild: whether they serve rows, hold data, or are blank."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runbooks.hosts import Estate, Host
from runbooks.probes.tdengine import servers

DATA = "/var/lib/taos"
_LOOK = """
place=%s; while ! test -d "$place"; do place=$(dirname "$place"); done
echo holds=$(test -n "$(ls -A %s/vnode 2>/dev/null)" && echo yes)
echo member=$(test -e %s/dnode/dnode.json && echo yes)
echo mounted=$(mountpoint -q %s 2>/dev/null && echo yes)
echo free=$(df -B1 --output=avail "$place" | tail -n1)
"""


@dataclass(frozen=True)
class Ground:
    """One host. `rows`: what its server serves, None where none answers; `holds`: there are data on its disk, or its
    server does not answer and waits for a cluster that it was deployed into: it begins no other; `mounted`: the folder
    is a file system of its own, which cannot be renamed.
    """

    host: Host
    ssh: bool
    online: bool = False
    rows: int | None = None
    holds: bool = False
    mounted: bool = False
    free_bytes: int = 0
    why: str = ""

    @property
    def name(self) -> str:
        return self.host.name


def look(host: Host, database: str) -> Ground:
    """Never raises for a host that does not answer; raises DrError when its server answers and cannot be asked."""
    server = servers.look(host)
    if not server.ssh:
        return Ground(host, ssh=False, why=server.why)
    said = host.run(_LOOK, DATA, DATA, DATA, DATA, timeout=20).stdout
    values = dict(line.partition("=")[::2] for line in said.splitlines())
    waits = values["member"] == "yes" and not server.online
    return Ground(
        host, ssh=True, online=server.online, rows=rows(host, database) if server.online else None,
        holds=values["holds"] == "yes" or waits, mounted=values["mounted"] == "yes",
        free_bytes=int(values["free"]), why=server.why,
    )  # fmt: skip


def rows(host: Host, database: str) -> int:
    """All rows of the database's supertables and plain tables, asked of this host's server; 0 where there is none."""
    stables = f"SELECT stable_name AS name FROM information_schema.ins_stables WHERE db_name = '{database}'"
    plain = f"SELECT table_name AS name FROM information_schema.ins_tables WHERE db_name = '{database}'"
    names = [*ask(host, stables), *ask(host, f"{plain} AND `type` = 'NORMAL_TABLE'")]
    quoted = (str(one["name"]).replace("`", "``") for one in names)
    counts = (f"SELECT COUNT(*) AS n FROM `{database}`.`{name}`" for name in quoted)
    return sum(int(str(row["n"])) for count in counts for row in ask(host, count))


def free_bytes(host: Host) -> int:
    """Room where the data directory is. Raises DrError."""
    return int(host.run("df -B1 --output=avail %s | tail -n1", DATA).text)


def ask(host: Host, statement: str) -> list[dict[str, object]]:
    """The rows of one statement, as root on the server's own host. Raises DrError."""
    found = host.run(
        "cd /opt/mystocks-dr && exec python3 -m agents.tdengine.admin sql", stdin=json.dumps({"sql": statement}),
        timeout=60,
    ).json()  # fmt: skip
    assert isinstance(found, list)
    return found


def survey(estate: Estate, database: str) -> tuple[Ground, ...]:
    """Every TDengine host at once. Raises DrError."""
    ours = servers.hosts(estate)
    with ThreadPoolExecutor(len(ours)) as pool:
        return tuple(pool.map(lambda host: look(host, database), ours))
