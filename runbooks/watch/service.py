"""The watch that runs as a service on hosts of the group `watch`: what it says of itself, and its end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from inventories.errors import DrError, Refused
from runbooks.hosts import Estate, Host
from runbooks.probes.watch import UNIT, hosts

_LOOK = "systemctl is-active %s || true; cat /var/lib/mystocks-watch/state/watch/*.json 2>/dev/null || true"
_ANSWER_S, _STOPS_S = 10.0, 90.0


@dataclass(frozen=True)
class Service:
    """One of them. `active` is systemd's word; `known` what it wrote last, None where it does not run."""

    host: Host
    active: str
    known: dict[str, Any] | None
    why: str = ""  # nobody can say


def services(estate: Estate) -> tuple[Service, ...]:
    """Of every host of the group, in the inventory's order; none where the inventory has no such group."""
    return tuple(_look(host) for host in hosts(estate))


def stop(estate: Estate) -> tuple[str, ...]:
    """End every one that runs, over a boot too, until somebody starts it or deploys; their hosts.

    Raises Refused while one acts.
    """
    found = services(estate)
    running = [one for one in found if one.why or one.active not in ("inactive", "failed")]
    for one in running:
        if one.known and one.known.get("acting"):
            raise Refused(
                f"the watch on {one.host} is running a failover, which would stop half way",
                "let it end: ./dr watch.status; then repeat",
            )
    for one in found:  # where none runs there may be none, or one that a boot would start
        command = "systemctl disable --now %s" if one in running else "systemctl disable %s 2>/dev/null || true"
        one.host.run(command, UNIT, timeout=_STOPS_S)
    return tuple(one.host.name for one in running)


def start(estate: Estate) -> tuple[str, ...]:
    """Start every one again; their hosts."""
    found = services(estate)
    for one in found:
        one.host.run("systemctl reset-failed %s; systemctl enable --now %s", UNIT, UNIT, timeout=_STOPS_S)
    return tuple(one.host.name for one in found)


def _look(host: Host) -> Service:
    try:
        host.must_answer()
        active, _, text = host.run(_LOOK, UNIT, timeout=_ANSWER_S).stdout.partition("\n")
    except DrError as error:
        return Service(host, "unknown", None, str(error))
    try:
        known = json.loads(text) if text.strip() and active == "active" else None
    except ValueError:
        known = None
    return Service(host, active.strip(), known)
