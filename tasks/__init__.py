"""Thin doors: what ``./dr`` offers. A module of tasks is one name more in the list; nothing else is kept here."""

from invoke.collection import Collection

from tasks import estate, lab, secrets

ns = Collection()
for _task in (estate.status, estate.verify, estate.deploy, estate.drift):
    ns.add_task(_task)
for _module in (
    lab,
    secrets,
):
    ns.add_collection(Collection.from_module(_module))
