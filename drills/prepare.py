"""Have a whole, provisioned estate in the lab before a drill, doing only what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from deploys import run as deploys
from drills.gate import gate
from drills.stores import Store
from inventories.errors import BadInput, DrError, TimedOut
from lab import spec
from lab import state as lab_state
from lab.up import up
from runbooks import hosts
from runbooks.acting import acting
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.letting_in import let_in
from runbooks.record.settle import settle

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
        provision(hosts.load("lab"), say)
        settled(hosts.load("lab"), stores)


def databases(lab: str) -> int:
    """How many database hosts it has, or would have: known before one is made. Raises BadInput."""
    names = {host.name for host in spec.hosts_of_this_lab()}
    with suppress(BadInput):  # there is none yet
        names |= set(lab_state.load(lab).hosts)
    return sum(name.startswith("pg") for name in names)


def provision(loaded: Estate, say: Callable[[str], None]) -> None:
    """As ./dr deploy does it: under the estate's lock, the record settled afterwards."""
    with acting(loaded, "deploy", new_run_dir("deploy"), say) as keeper:
        deploys.deploy("lab")
        let_in(keeper)
        say(settle(keeper).says)


def settled(loaded: Estate, stores: Collection[Store] = ()) -> tuple[Host, Host]:
    """(primary, standby) of an estate that is whole, or soon is. Raises Refused naming what is not whole, and what to
    do.
    """
    with suppress(TimedOut):
        return until(lambda: gate(loaded, stores), SETTLES_S, what="a whole estate", retry=(DrError,), every=0.5)
    return gate(loaded, stores)
