"""Measure what further standbys cost: the rows a second of all nodes beside those of two, on one estate.

The standbys that two nodes would not have are stopped and started by turns. That is as if they had never been: commits
wait for whichever standby is first, and the primary sends nothing to one that is down. In a lab the further ones replay
on the cores of the two, so what comes out is the most that they may cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from drills import gather, prepare
from drills.benches.full_speed import RATE, rows_per_s
from drills.benches.headline import Bench, Figure
from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks import hosts
from runbooks.actions.postgresql import server as act
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import server

Say = Callable[[str], None]
LASTS_S = 10.0
MAY_COST = 10  # per cent
_COMMAND = "DR_LAB_POSTGRES=3 ./dr bench --nodes, on a new lab or after ./dr deploy with the same words"


def bench(lab: str, rounds: int, say: Say) -> Bench:
    """So many rounds on a lab that stays. Raises BadInput, and Refused where there are only two nodes."""
    if rounds < 1:
        raise BadInput(f"{rounds} rounds would measure nothing", "./dr bench --nodes --runs 5")
    if (there := prepare.databases(lab)) < 3:  # before one of two is made, which would stay
        raise Refused(f"lab {lab} has {there} PostgreSQL hosts: no comparison with two", _COMMAND)
    prepare.estate(lab, say)
    estate = hosts.load("lab")
    if len(estate.candidates) < 3 or estate.least > 1:
        raise Refused(
            f"{len(estate.candidates)} PostgreSQL hosts, commits waiting for {estate.least}: no comparison with two",
            _COMMAND,
        )
    folder, pairs = new_run_dir("bench-nodes"), []
    for nr in range(1, rounds + 1):
        pairs.append(_round(estate, folder, nr, say))
        say(f"round {nr} of {rounds}: {pairs[-1][1]:,.0f} rows/s with all, {pairs[-1][0]:,.0f} rows/s with two")
    prepare.settled(estate)
    return Bench(figures(len(estate.candidates), pairs), gather.versions(estate))


def figures(nodes: int, pairs: Sequence[tuple[float, float]]) -> tuple[Figure, ...]:
    """`pairs`: rows a second of two nodes and of all, measured next to each other."""
    costs = tuple(100 * (1 - every / two) for two, every in pairs)
    return (
        Figure("two nodes, rows acknowledged by the synchronous store", "rows/s", tuple(two for two, _ in pairs)),
        Figure(f"{nodes} nodes, the same", "rows/s", tuple(every for _, every in pairs)),
        Figure(f"what {nodes} nodes cost of two's rate", "%", costs, MAY_COST),
    )


def _round(estate: Estate, folder: Path, nr: int, say: Say) -> tuple[float, float]:
    """(two, all), one first in odd rounds and the other in even ones. Raises DrError."""

    def two() -> float:
        with _without(estate, _further(estate)):
            return _measured(estate, folder / f"{nr}-two", 1, say)

    def every() -> float:
        return _measured(estate, folder / f"{nr}-all", len(estate.candidates) - 1, say)

    if nr % 2:
        first = two()
        return first, every()
    last = every()
    return two(), last


def _measured(estate: Estate, folder: Path, standbys: int, say: Say) -> float:
    """Raises VerificationFailed where not so many standbys stream before it and after it."""
    folder.mkdir()
    _require(estate, standbys)
    rate = rows_per_s(estate, RATE, LASTS_S, folder, say)
    _require(estate, standbys)
    gather.caught_up(estate)  # what is still to be replayed is nothing that the next one pays for
    return rate


def _require(estate: Estate, standbys: int) -> None:
    streaming = [node.name for node in server.survey(estate) if node.streams]
    if len(streaming) != standbys:
        said = f"{', '.join(streaming) or 'no standby'} streamed, and it was to be {standbys}"
        raise VerificationFailed(f"not so many nodes were measured: {said}", "./dr status shows what each host is")


def _further(estate: Estate) -> tuple[Host, ...]:
    """Every standby but the first."""
    return tuple(node.host for node in server.survey(estate) if node.streams)[1:]


@contextmanager
def _without(estate: Estate, standbys: Sequence[Host]) -> Iterator[None]:
    """These are stopped meanwhile, and follow again afterwards. Raises TimedOut where they do not."""
    layout = Layout(server.version(estate))

    def each(does: Callable[[Host, Layout], None]) -> None:
        with ThreadPoolExecutor(len(standbys)) as pool:
            list(pool.map(lambda host: does(host, layout), standbys))

    each(act.stop)
    try:
        yield
    finally:
        each(act.start)
        prepare.settled(estate)
        gather.caught_up(estate)
