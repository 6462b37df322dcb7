"""Let PostgreSQL start once on a host whose start guard can ask nobody: every other host was looked at instead."""

from __future__ import annotations

from runbooks.hosts import Host
from runbooks.layout import PERMIT

# Below /run, which no boot keeps; the guard compares the rest, and takes the file away before it believes it.
_WRITE = """
set -eu
install -d -m 0755 "$(dirname %s)"
printf '{"boot": "%%s", "uptime": %%s, "system": "%%s", "checkpoint": "%%s", "why": "%%s"}\\n' \\
  "$(cat /proc/sys/kernel/random/boot_id)" "$(cut -d' ' -f1 /proc/uptime)" %s %s %s >%s.new
mv %s.new %s
"""


def grant(host: Host, system: str, checkpoint: str, why: str) -> None:
    """For this boot, this cluster and this very checkpoint, for a few minutes; `why` says on whose word."""
    host.run(_WRITE, PERMIT, system, checkpoint, why, PERMIT, PERMIT, PERMIT)


def withdraw(host: Host) -> None:
    """Take back what no start has used up. Harmless where there is none."""
    host.run("rm -f %s", PERMIT)
