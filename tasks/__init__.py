"""Thin doors: what ``./dr`` offers. A module of tasks is one name more in a list; nothing else is kept here."""

from typing import Any

from invoke.collection import Collection

from tasks import drills, estate, lab, outbox, runbooks, secrets

ns = Collection()
_top_level: tuple[Any, ...] = (*drills.TOP_LEVEL, *estate.TOP_LEVEL, *runbooks.TOP_LEVEL)
for _task in _top_level:
    ns.add_task(_task)
for _module in (lab, outbox, secrets):
    ns.add_collection(Collection.from_module(_module))
ns.add_collection(runbooks.collection)
