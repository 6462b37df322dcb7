"""The application host listens for the host that raises the alarms, and says itself when that is silent."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.operations import systemd
from pyinfra.operations.util import any_changed

from deploys import estate, watch
from deploys.placed import Place, folder, placed, rendered
from deploys.postgresql.operations import packages
from deploys.text import MANAGED, as_file
from inventories.catalog import channels
from inventories.catalog.load import load_alarms

SETTINGS, FOLDER, UNIT = "/etc/mystocks-dr/heard.json", "/var/lib/mystocks-dr/heard", "mystocks-heard"
_SERVICE, _TIMER = (f"/etc/systemd/system/{UNIT}.{kind}" for kind in ("service", "timer"))
_ROOT = "/opt/mystocks-dr"


def deploy() -> None:
    """Where a watch's host raises the alarms; elsewhere nothing of it is left."""
    watches = estate.nodes(watch.GROUP)
    if not watches or not host.data.get("alarm_channels"):
        _gone()
        return
    wanted = settings(watches[0].name)
    if any(isinstance(target, str) and target != "log" for target in wanted["channels"].values()):
        packages(name="what alarms are sent with", names=["apprise"])
    put = placed(
        name="who listens for the alarms",
        places=[
            folder(FOLDER, "0755", "mystocks"),
            Place(SETTINGS, "0640", "root", as_file(wanted).getvalue(), group="mystocks"),
            Place(_SERVICE, "0644", text=_rendered("service")),
            Place(_TIMER, "0644", text=_rendered("timer")),
        ],
    )
    systemd.daemon_reload(name="systemd reads who listens for the alarms", _if=put.did_change)
    systemd.service(name="somebody listens for the alarms", service=f"{UNIT}.timer", running=True, enabled=True)
    restart = any_changed(put)
    systemd.service(name="and listens as is declared", service=f"{UNIT}.timer", restarted=True, _if=restart)


def settings(who: str) -> dict[str, Any]:
    """/etc/mystocks-dr/heard.json, see agents/alarms/heard.py. Raises BadInput."""
    data = {name: host.data.get(name) for name in ("alarm_channels", "alarm_people", "secrets_file")}
    ways = channels.routes(data, load_alarms().recipients)
    told = ways.of(list(ways.people))
    return {
        "estate": host.data.get("estate"),
        "who": who,
        "silent_s": load_alarms().silent_s,
        "folder": FOLDER,
        "channels": {name: ways.channels[name].target for name in told},
    }


def _rendered(kind: str) -> str:
    return rendered("alarms", f"{UNIT}.{kind}.j2", managed=MANAGED, root=_ROOT, config=SETTINGS)


def _gone() -> None:
    # With what it heard: put back a month later, it would call the other host silent before that can speak.
    watch.away("nobody listens for alarms here", _TIMER, _SERVICE, SETTINGS, FOLDER, service=f"{UNIT}.timer")
