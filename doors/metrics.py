"""Figures for Prometheus: the exposition, the rules that alarm on it, and a dashboard."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door
from inventories.errors import DrError

if TYPE_CHECKING:
    from runbooks.figures.kinds import Reading
    from runbooks.hosts import Estate


@task(
    help={
        "out": "file for node exporter's textfile collector, ending in .prom (default: standard output)",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
    default=True,
    name="write",
)
@door
def write(c: Context, out: str = "", inventory: str = "", lab: str = "") -> None:
    """Tell the estate's figures as Prometheus reads them.

    Everything that `./dr status`, the drill calendar and `./dr plan` know, and the alarms where they are raised on this
    machine. Moments are unix seconds; what nobody knows is absent. It is written whatever it says.
    """
    from runbooks import hosts
    from runbooks.figures import exposition, textfile

    path = caller_path(out) if out else None
    if path:
        textfile.require(path)
    estate = hosts.load(inventory or None)
    text = exposition.text(estate.name, _reading(estate))
    if path:
        textfile.write(path, text)
    else:
        print(text, end="")


@task(help={"out": "file to write (default: standard output)"})
@door
def rules(c: Context, out: str = "") -> None:
    """Render the alarms' rules for Prometheus.

    From inventories/catalog/alarms.yaml: bounds, patience and severity are the same; `to` is a label for Alertmanager.
    """
    from inventories.catalog.load import load_alarms
    from runbooks.alarms.evaluating import require_known
    from runbooks.figures.rules import render

    alarms = load_alarms()
    require_known(alarms)
    _give(render(alarms), out)


@task(help={"out": "file to write (default: standard output)"})
@door
def dashboard(c: Context, out: str = "") -> None:
    """Render a dashboard for Grafana, as JSON.

    Import it, or lay it where Grafana's provisioning looks for dashboards.
    """
    from runbooks.figures.dashboard import render

    _give(render(), out)


def _give(text: str, out: str) -> None:
    if not out:
        print(text, end="")
        return
    path: Path = caller_path(out)
    path.write_text(text, encoding="utf-8")
    print(path)


def _reading(estate: Estate) -> Reading:
    """Of all that is known on this machine: drills where their history is, alarms where they are raised."""
    from runbooks.alarms.alarming import estate_source
    from runbooks.figures.kinds import together

    if find_spec("drills") is None:
        known = [estate_source(estate)()]
    else:
        from drills.board.watching import everything

        known = list(everything(estate, _say))
    return together(time.time(), (*known, *_of_alarms(estate)))


def _of_alarms(estate: Estate) -> list[Reading]:
    """None where nobody raises them on this machine, or what they keep cannot be read."""
    from inventories.catalog.channels import routes
    from inventories.catalog.load import load_alarms
    from runbooks.alarms.spool import Spool, path_of
    from runbooks.figures import alarms

    path = path_of(estate.name)
    if not path.exists() or not estate.data.get("alarm_channels"):
        return []
    try:
        return [alarms.reading(Spool(path), routes(estate.data, load_alarms().recipients), time.time())]
    except DrError as error:
        _say(f"WARNING: nothing is told of the alarms: {error}")
        return []


def _say(sentence: str) -> None:
    """Beside the figures, which may be on standard output."""
    print(sentence, file=sys.stderr)


collection = Collection("metrics", write, rules, dashboard)
