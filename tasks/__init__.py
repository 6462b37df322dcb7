"""Thin doors: what ``./dr`` offers.

A module of tasks is one name more in the list; nothing else is kept here.
"""

from invoke.collection import Collection

from tasks import lab

ns = Collection()
for _module in (lab,):
    ns.add_collection(Collection.from_module(_module))
