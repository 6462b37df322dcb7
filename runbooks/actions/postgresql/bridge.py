"""Have a socket on one host lead to the side cluster on another, for as long as somebody reads it there."""

from __future__ import annotations

from runbooks import agent
from runbooks.hosts import Host

_LIVES_S = 24 * 3600  # a run that was killed does not end it
_OPEN = """
unit=mystocks-bridge-%s
systemctl is-active --quiet $unit && exit 0
systemctl reset-failed $unit 2>/dev/null
systemd-run --quiet --collect --unit=$unit --uid=postgres --property=WorkingDirectory=%s \\
  --property=RuntimeDirectory=$unit --property=RuntimeDirectoryMode=0700 --property=RuntimeMaxSec=%s \\
  python3 -m agents.postgresql.side.bridge --folder /run/$unit --port %s --to %s --name %s || exit 1
for look in $(seq 100); do test -S /run/$unit/.s.PGSQL.%s && exit 0; sleep 0.05; done
journalctl -u $unit -n 3 -o cat --no-pager >&2
exit 1
"""


def folder(name: str) -> str:
    """Where the socket is."""
    return f"/run/mystocks-bridge-{name}"


def open_to(host: Host, name: str, side: Host, port: int) -> None:
    """Have it there; one that is open stays. Raises TargetFailed."""
    host.run(_OPEN, name, agent.ROOT, _LIVES_S, port, side.address, side.name, port)


def close(host: Host, name: str) -> None:
    """End it; one that is not there is no error."""
    host.run("systemctl stop mystocks-bridge-%s 2>/dev/null; true", name)
