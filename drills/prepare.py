"""Have a whole, provisioned estate in the lab before a drill, doing only what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from deploys import run as deploys
from drills.gate import gate
from drills.stores import Store
from inventories.errors import DrError, TimedOut
from lab.up import up
from runbooks import hosts
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host

SETTLES_S = 15.0  # a fresh standby catches up within this


def estate(lab: str, say: Callable[[str], None], stores: Collection[Store] = ()) -> None:
    """Bring the lab up and deploy to it, unless it is whole already. Raises what the deploy raises.

    `stores` have to be whole besides PostgreSQL.
    """
    up(lab, say)
    try:
        gate(hosts.load("lab"), stores)
    except DrError:
        say("Provisioning the estate")
        deploys.deploy("lab")
        settled(hosts.load("lab"), stores)


def settled(loaded: Estate, stores: Collection[Store] = ()) -> tuple[Host, Host]:
    """(primary, standby) of an estate that is whole, or soon is. Raises Refused naming what is not whole, and what to
    do.
    """
    with suppress(TimedOut):
        return until(lambda: gate(loaded, stores), SETTLES_S, what="a whole estate", retry=(DrError,), every=0.5)
    return gate(loaded, stores)
