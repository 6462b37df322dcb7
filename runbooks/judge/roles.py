"""What each PostgreSQL host is, in the words of a table: on a screen and on the page."""

from __future__ import annotations

from datetime import UTC, datetime

from runbooks.judge.objectives import duration, lag_bytes, size
from runbooks.look.status import Status
from runbooks.probes.postgresql.server import Node

HEADINGS = ("host", "role", "timeline", "position", "lag", "commits")


def cells(status: Status, node: Node) -> tuple[str, ...]:
    """What stands below HEADINGS behind the host's name."""
    if not node.ssh:
        return ("unknown" if node.slow else "unreachable", "", "", "", "")
    if node.opened and not node.online:
        return (f"standby, open as {node.opened}", "", "", "", "")
    if node.hangs:
        return ("hangs", "", "", "", "")
    if not node.online:
        return ("fenced" if node.fenced else "down", "", "", "", "")
    timeline = str(node.timeline)
    if node.is_primary:
        several = node.waits_for and len(node.waits_for.others(node.name)) > 1 and node.waits_for
        which = f"{several.least} of {len(several.others(node.name))} standbys" if several else "a standby"
        waits = f"wait for {which}" if node.synchronous else "wait for nobody"
        return ("primary", timeline, _position(node.written), "", waits)
    primary = status.primary
    seen = next((s for s in primary.standbys if s.name == node.name), None) if primary else None
    lag = lag_bytes(primary, node.replayed) if primary else None
    shown = "" if lag is None else f"{size(lag)}, {duration(seen.lag_s if seen and seen.lag_s else 0)}"
    role = "standby" if node.streams else "standby, not streaming"
    if delay := node.host.entry.apply_delay:
        return (f"standby, {delay} behind", timeline, _position(node.replayed), shown, _window(status, node))
    return (role, timeline, _position(node.replayed), shown, seen.sync if seen else "")


def _window(status: Status, node: Node) -> str:
    """From which moment on a restore can take a delayed standby."""
    return f"window from {datetime.fromtimestamp(status.at - (node.since_s or 0), UTC):%m-%d %H:%M:%S+00} to now"


def _position(lsn: int | None) -> str:
    return "" if lsn is None else f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
