"""Thin doors: what ``./dr`` offers. A module of tasks is one name more in a list; nothing else is kept here."""

from invoke.collection import Collection

from tasks import drills, lab, outbox, runbooks

ns = Collection()
for _task in (*drills.TOP_LEVEL, *runbooks.TOP_LEVEL):
    ns.add_task(_task)
for _module in (lab, outbox):
    ns.add_collection(Collection.from_module(_module))
ns.add_collection(runbooks.collection)
