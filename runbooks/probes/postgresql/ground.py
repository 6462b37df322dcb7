"""What a host brings for a restore: whether it is provisioned, whether it holds data, whether PostgreSQL runs on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from inventories.errors import TargetFailed
from runbooks.hosts import Estate, Host
from runbooks.layout import PROVISIONED, Layout

# One command, so that a host costs one round trip. A blank host has neither ss nor PostgreSQL, nor our program that
# judges what lies there: without it anything at all is data. 1538 is 5432.
_LOOK = """
data=%s request=%s
listens() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q '^ *[0-9]*: [0-9A-F]*:1538 [0-9A-F:]* 0A '; }
# After a power cut the number in it may be anybody's.
runs() { pid=$(head -n1 $data/postmaster.pid 2>/dev/null) && test "$(cat /proc/$pid/comm 2>/dev/null)" = postgres; }
judged=$(cd /opt/mystocks-dr 2>/dev/null && python3 -m agents.postgresql.directory.main look "$request" 2>/dev/null)
if test -z "$judged" && test -n "$(ls -A $data 2>/dev/null)"; then judged='{"answer": "other"}'; fi
place=$data; while ! test -d "$place"; do place=$(dirname "$place"); done
for pair in PAIRS; do
  test "$(getent hosts "${pair%%=*}" | head -n1 | cut -d' ' -f1)" = "${pair#*=}" || strange="$strange ${pair%%=*}"
done
printf 'judged=%%s\n' "$judged"
echo provisioned=$(test -e %s && echo yes)
echo running=$(if runs || listens; then echo yes; fi)
echo free=$(df -B1 --output=avail "$place" | tail -n1)
echo cores=$(nproc)
echo machine=$(cat /proc/sys/kernel/random/boot_id)
echo strange=$strange
"""


class Holds(StrEnum):
    """What the data directory holds: nothing that anybody would miss, provably a restore of ours that did not come to
    its end, or anything else.
    """

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    DATA = "other"


@dataclass(frozen=True)
class Ground:
    """One host. `free_bytes` where the data directory is; `strange`: hosts that it knows at another address than the
    inventory; `machine`: the same for hosts that share one kernel, and so its cores.
    """

    host: Host
    holds: Holds
    provisioned: bool
    running: bool
    free_bytes: int
    cores: int
    machine: str
    strange: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Needs no deploy before data may come."""
        return self.provisioned and not self.strange


def look(host: Host, layout: Layout, estate: Estate) -> Ground:
    """Raises DrError when the host does not answer."""
    pairs = [f"{other.name}={other.address}" for other in estate.hosts]
    said = host.run(
        _LOOK.replace("PAIRS", " ".join(["%s"] * len(pairs))), layout.data, _request(layout), *pairs, PROVISIONED,
        timeout=20,
    )  # fmt: skip
    values = dict(line.partition("=")[::2] for line in said.stdout.splitlines())
    try:
        return Ground(
            host=host,
            holds=Holds(json.loads(values["judged"])["answer"]) if values["judged"] else Holds.EMPTY,
            provisioned=values["provisioned"] == "yes",
            running=values["running"] == "yes",
            free_bytes=int(values["free"]),
            cores=int(values["cores"]),
            machine=values["machine"],
            strange=tuple(values["strange"].split()),
        )
    except (KeyError, ValueError) as error:
        raise TargetFailed(f"{host.name} does not tell what it holds: {said.stdout.strip()[:200]!r}") from error


def survey(hosts: Sequence[Host], layout: Layout, estate: Estate) -> tuple[Ground, ...]:
    """Every one of these hosts at once."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        return tuple(pool.map(lambda host: look(host, layout, estate), hosts))


def _request(layout: Layout) -> str:
    return json.dumps({"version": layout.version})


__all__ = ["Ground", "Holds", "look", "survey"]
