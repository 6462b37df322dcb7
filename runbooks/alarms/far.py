"""Where the alarms of an estate are kept: on this machine, or on the host whose service raises them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from inventories.catalog.load import load_alarms
from inventories.errors import TargetFailed
from runbooks.alarms.listing import look
from runbooks.alarms.spool import Spool, path_of
from runbooks.hosts import Estate, Host, Ran
from runbooks.probes.watch import hosts

UNIT = "mystocks-alarms"
_USER, _CODE, _HOME = "mystocks-watch", "/opt/mystocks-dr/watch", "/var/lib/mystocks-watch"
_INVENTORY = "/etc/mystocks-dr/watch/inventory.py"
_ENV = f"DR_INVENTORY={_INVENTORY} DR_STATE={_HOME}/state DR_RUNS={_HOME}/runs"
_DR = f"cd {_CODE} && exec env {_ENV} python3 -m doors.main"
_ANSWERS_S = 90.0


def host(estate: Estate) -> Host | None:
    """The host with the service; None where this machine is the one that alarms.

    It is the first by name of the group `watch`, whose account and key it uses, once the inventory has channels.
    """
    there = hosts(estate)
    if not there or estate.data.get("watch_key") or not estate.data.get("alarm_channels"):
        return None
    return min(there, key=lambda one: one.name)


def run(there: Host, words: Sequence[str]) -> Ran:
    """The same `./dr` command on that host. Raises DrError where it does not answer."""
    there.must_answer()
    return there.run(_DR + " %s" * len(words), *words, user=_USER, expect=None, timeout=_ANSWERS_S)


def listed(estate: Estate) -> Sequence[Mapping[str, Any]]:
    """Every alarm that is kept, those that are over too, see `listing`; none where none was ever raised.

    Raises DrError.
    """
    there = host(estate)
    if there is None:
        path = path_of(estate.name)
        return look(Spool(path), load_alarms().every_s, True, time.time()).alarms if path.exists() else ()
    ran = run(there, ["alarms", "--all", "--json"])
    if ran.rc not in (0, 1):
        raise TargetFailed(f"{there}: {ran.stderr.strip().splitlines()[0] if ran.stderr.strip() else 'no answer'}")
    found: Sequence[Mapping[str, Any]] = ran.json()["alarms"]
    return found
