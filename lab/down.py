"""Take a lab away: exactly what carries its label, and its state directory."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from inventories.errors import DrError
from lab import containers, network, ssh, state
from lab.engine import Engine, EngineFailed, find_engine
from lab.machine import Say
from lab.spec import lab_name


@dataclass(frozen=True)
class Removed:
    """What a ``down`` took away; all of it empty when the lab was not there."""

    containers: tuple[str, ...]
    network: bool
    state: bool

    @property
    def anything(self) -> bool:
        return bool(self.containers) or self.network or self.state


def down(name: str, say: Say) -> Removed:
    """Remove the lab of that name; a second call finds nothing and does nothing."""
    lab_name(name)
    engine = find_engine()
    with state.making_or_removing(say):
        ours = tuple(containers.of_lab(engine, name))
        if ours:
            say(f"Removing {', '.join(ours)}")
        _hang_up(name)
        _without_power(engine, name, ours)
        _remove(engine, ours)
        had_network = network.remove_network(engine, name)
        directory = state.files(name).root
        had_state = directory.exists()
        if had_state:
            shutil.rmtree(directory)
    return Removed(ours, had_network, had_state)


def _hang_up(name: str) -> None:
    try:
        hosts = state.load(name).hosts
    except DrError:
        return  # never recorded, or damaged: that is no reason to leave the containers
    for host in hosts:
        ssh.hang_up(name, host)


def _without_power(engine: Engine, name: str, ours: tuple[str, ...]) -> None:
    """A site that lost its power: podman lets a bridge and its rules of translation go with the last host that stops,
    and could not while the bridge was held. Left behind, they are in the way of the next lab of that name.
    """
    if ours and network.inspect(engine, name) and network.let_bridge_go(engine, name):
        with suppress(EngineFailed):
            engine.run("start", ours[0])


def _remove(engine: Engine, ours: tuple[str, ...]) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda box: containers.remove(engine, box), ours))
