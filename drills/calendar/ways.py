"""How a promise is drilled: the scenarios that are held against it, and the command that runs each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drills.scenarios.catalogue import ROUND_TWINS, SCENARIOS, TWINS
from drills.scenarios.parts import Scenario
from drills.stores import TDENGINE

_SEVERAL = 3  # PostgreSQL hosts of the smallest estate with more than one standby


@dataclass(frozen=True)
class Way:
    """One scenario of a promise. It fits estates of `least` to `most` PostgreSQL hosts that may be primary, with a
    delayed standby besides where it needs one (`behind`).
    """

    scenario: str
    command: str
    ticks: bool  # needs TDengine
    least: int
    most: int
    behind: bool = False

    def fits(self, nodes: int, behind: bool = False) -> bool:
        return self.least <= nodes <= self.most and (behind or not self.behind)


def ways(promise: str) -> tuple[Way, ...]:
    """None where nothing here drills it."""
    return tuple(_way(one, least, most) for one, least, most in _every() if one.promise == promise)


def twins(*, ticks: bool, nodes: int, behind: bool = False) -> Iterator[tuple[str, str]]:
    """(name, command) of every negative twin that such an estate can run."""
    for name, twin in TWINS.items():
        way = _way(*next(found for found in _every() if found[0].name == twin.scenario))
        if way.fits(nodes, behind) and (ticks or not way.ticks):
            yield name, way.command.replace(f"--scenario {twin.scenario}", f"--twin {name}")
    for name in ROUND_TWINS:
        yield name, f"./dr drill --rounds 2 --twin {name}"


def _every() -> Iterator[tuple[Scenario, int, int]]:
    """Each with the sizes of estates that it is drilled in."""
    for scenario in SCENARIOS.values():
        if scenario.of_several:
            yield scenario, scenario.nodes, _SEVERAL - 1
            yield scenario.of_several, _SEVERAL, 99
        else:
            yield scenario, scenario.nodes, 99


def _way(scenario: Scenario, least: int, most: int) -> Way:
    nodes = f"DR_LAB_POSTGRES={least} " if least > 2 else ""
    waits = f"DR_LAB_SYNCHRONOUS={scenario.synchronous} " if scenario.synchronous > 1 else ""
    behind = "DR_LAB_POSTGRES=3 DR_LAB_DELAY=1h " if scenario.delayed else ""
    command = f"{nodes}{waits}{behind}./dr drill --scenario {scenario.name}"
    return Way(scenario.name, command, TDENGINE in scenario.stores, least, most, scenario.delayed)
