"""A host's power: off for certain, as its fence and every drill need it. Imports little, as the fence does."""

from inventories.errors import BadInput
from lab import state
from lab.engine import OFF, Engine, EngineFailed, find_engine
from lab.spec import network_name
from lab.wait import wait_until

_OFF_BUDGET_S = 10.0


def fence(lab: str, host: str) -> None:
    """Take the power away and return only when the host is certainly off.

    A host that is off already is fenced, which one question to the engine tells. One that the engine has never heard
    of is gone only where that is the engine that made the lab.
    """
    engine, box = find(lab, host)
    said = engine.status(box.container)
    if not said:
        engine.run("network", "inspect", network_name(lab))
    elif said not in OFF:
        kill(engine, box.container)


def kill(engine: Engine, container: str) -> None:
    """SIGKILL everything in the container and return when the engine says that it is off."""
    try:
        engine.run("kill", "--signal", "KILL", container)
    except EngineFailed:
        if engine.is_running(container):
            raise
    wait_until(f"The end of {container}", lambda: not engine.is_running(container), _OFF_BUDGET_S, every=0.02)


def find(lab: str, host: str) -> tuple[Engine, state.LabHost]:
    """The engine and the host's container. Raises BadInput naming the hosts that the lab has."""
    made = state.load(lab)
    if host not in made.hosts:
        raise BadInput(f"Lab {lab} has no host named {host!r}.", f"Its hosts are {', '.join(made.hosts)}.")
    return find_engine(), made.hosts[host]
