"""Have a socket on one host lead to the side cluster on another, for as long as somebody reads it there."""

from __future__ import annotations

from runbooks import agent
from runbooks.hosts import Host
from runbooks.long_work.scripts import FREE

_LIVES_S = 24 * 3600  # a run that was killed does not end it
_OPEN = f"""
name=%s
unit=$name.service
systemctl is-active --quiet $unit && exit 0
{FREE}
systemd-run --quiet --collect --unit=$unit --uid=postgres --property=WorkingDirectory=%s \\
  --property=RuntimeDirectory=$name --property=RuntimeDirectoryMode=0700 --property=RuntimeMaxSec=%s \\
  python3 -m agents.postgresql.side.bridge --folder /run/$name --port %s --to %s --name %s || exit 1
for look in $(seq 100); do test -S /run/$name/.s.PGSQL.%s && exit 0; sleep 0.05; done
journalctl -u $unit -n 3 -o cat --no-pager >&2
exit 1
"""


def _unit(name: str, side: Host) -> str:
    return f"mystocks-bridge-{name}_{side.name}"  # no side cluster's name has a _


def open_to(host: Host, name: str, side: Host, port: int) -> str:
    """Have it there; one that is open stays. The folder of the socket. Raises TargetFailed."""
    unit = _unit(name, side)
    host.run(_OPEN, unit, agent.ROOT, _LIVES_S, port, side.address, side.name, port)
    return f"/run/{unit}"


def close(host: Host, name: str, side: Host) -> None:
    """End it; one that is not there is no error."""
    host.run("systemctl stop %s 2>/dev/null; true", _unit(name, side))
