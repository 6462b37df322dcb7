"""Have a whole, provisioned estate in the lab before a drill, doing only what is missing."""

from __future__ import annotations

from collections.abc import Callable

from deploys import run as deploys
from drills.run import gate
from inventories.errors import DrError
from lab.up import up
from runbooks import hosts
from runbooks.engine.wait import until


def estate(lab: str, say: Callable[[str], None]) -> None:
    """Bring the lab up and deploy to it, unless it is whole already. Raises what the deploy raises."""
    up(lab, say)
    try:
        gate(hosts.load("lab"))
    except DrError as error:
        say(f"Provisioning the estate ({error})"[:160])
        deploys.deploy("lab")
        loaded = hosts.load("lab")
        until(lambda: gate(loaded), "standby.catch_up", what="a whole estate", retry=(DrError,), every=0.5)
