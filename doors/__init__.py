"""Thin doors: what ``./dr`` offers. A module of tasks is one name more in a list; nothing else is kept here."""

from typing import Any, cast

from invoke.collection import Collection
from invoke.tasks import Task

from doors import (
    alarms,
    backup,
    bench,
    calendar,
    catalogue,
    checks,
    demo,
    drills,
    estate,
    evidence,
    history,
    keys,
    lab,
    mark,
    metrics,
    monitor,
    outbox,
    page,
    plan,
    prove,
    record,
    restores,
    runbooks,
    secrets,
    takeover,
    validation,
    watch,
)
from doors.sqlite import restores as sqlite_restores
from doors.tdengine import restores as tdengine_restores
from doors.tdengine import runbooks as tdengine
from doors.tracker import runbooks as tracker

ns = Collection()
for _doors in (
    drills, history, page, demo, estate, runbooks, restores, mark, tdengine, tdengine_restores, sqlite_restores,
    tracker, validation, prove, plan, bench, checks, alarms,
):  # fmt: skip
    for _task in _doors.TOP_LEVEL:
        ns.add_task(cast("Task[Any]", _task))  # @door keeps the signature and hides that it is a task
for _module in (backup, keys, lab, outbox, secrets):
    ns.add_collection(Collection.from_module(_module))
ns.collections["outbox"].add_task(cast("Task[Any]", takeover.take_over))
ns.add_collection(alarms.collection)
ns.add_collection(metrics.collection)
ns.add_collection(monitor.collection)
ns.add_collection(calendar.collection)
ns.add_collection(evidence.collection)
ns.add_collection(catalogue.collection)
ns.add_collection(runbooks.collection)
ns.add_collection(record.collection)
ns.add_collection(tracker.collection)
ns.add_collection(record.lock_collection)
ns.add_collection(watch.collection)
