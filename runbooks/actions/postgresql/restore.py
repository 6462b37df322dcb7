"""Bring a backup onto a host that holds no data. The restore runs as a unit of its own: it outlives our connection."""

from __future__ import annotations

from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql.directory import Incoming, Room
from runbooks.hosts import Host
from runbooks.layout import RESTORE_LOG, RESTORE_UNIT, Layout

_BEGIN = """
set -eu
unit=%s log=%s
if systemctl is-active -q $unit; then exit 0; fi
systemctl reset-failed $unit 2>/dev/null || true
install -o postgres -g postgres -m 0640 /dev/null $log
systemd-run --quiet --unit=$unit --property=WorkingDirectory=/opt/mystocks-dr \\
  --property=StandardOutput=append:$log --property=StandardError=append:$log \\
  /bin/sh -c 'exec python3 -m "$0" restore "$1"' %s %s
"""


def clear(host: Host, layout: Layout, incoming: Incoming) -> Room:
    """Make room for a restore. Raises Refused where data are in the way and nobody consented to their being moved."""
    return directory.make_room(host, layout, incoming)


def begin(host: Host, layout: Layout, incoming: Incoming) -> None:
    """Start restoring this backup as a standby, unless that runs already; return at once."""
    words = incoming.words(layout, processes=_cores(host))
    host.run(_BEGIN, RESTORE_UNIT, RESTORE_LOG, f"agents.{directory.PROGRAM}", words, timeout=20)


def stop(host: Host) -> None:
    """End a restore that runs; the next one goes on with what it left."""
    host.run("systemctl stop %s 2>/dev/null || true", RESTORE_UNIT, timeout=60)


def _cores(host: Host) -> int:
    return int(host.run("nproc").text)
