"""Every promise held against what this estate has measured and what it holds today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from inventories.catalog.load import load_recovery
from runbooks.hosts import Estate
from runbooks.judge import feasibility
from runbooks.judge.feasibility import Answer, Way
from runbooks.look import measurements
from runbooks.probes.sqlite import databases
from runbooks.probes.tdengine import backups

_TDENGINE = ("tdengine-", "both-stores-")  # scenarios that need that store
_SQLITE = ("sqlite-", "backup-deleted")


def answers(estate: Estate, runs: Path, drills: Mapping[str, Sequence[float]]) -> tuple[Answer, ...]:
    """`runs`: where journals are; `drills`: scenario -> RTOs of drills that passed, newest first. Raises DrError."""
    promised = {name: objectives.rto_s for name, objectives in load_recovery().scenarios.items()}
    if not backups.is_there(estate):  # what is not deployed promises nothing
        promised = {name: rto for name, rto in promised.items() if not name.startswith(_TDENGINE)}
    if not databases.names(estate):
        promised = {name: rto for name, rto in promised.items() if not name.startswith(_SQLITE)}
    if not estate.delayed:
        promised = {name: rto for name, rto in promised.items() if feasibility.WAYS.get(name) is not Way.DELAYED}
    shelves = measurements.shelves(estate)
    today, measured = measurements.sizes(estate, shelves), measurements.gather(estate, runs, drills, shelves)
    return feasibility.answers(promised, today, measured)
