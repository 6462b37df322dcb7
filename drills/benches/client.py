"""Measure the client library on the application host, beside the feed's own path and bare statements."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from drills import gather, prepare
from drills.benches.headline import Bench, Figure
from drills.benches.own_lab import own_lab
from inventories.errors import BadInput
from lab.engine import find_engine
from runbooks import hosts
from runbooks.agent import ask

_LIMIT_S = 600.0
_ORDERS = 300
LEAST_ROWS = 3000


def bench(lab: str, rows: int, rounds: int, say: Callable[[str], None]) -> Bench:
    """In a lab of its own that is removed afterwards. Raises BadInput, Refused."""
    if rows < LEAST_ROWS or rounds < 1:
        raise BadInput(f"{rows:,} rows in {rounds} rounds would measure nothing", "--rows 60000 --runs 3")
    with own_lab(find_engine(), lab, say):
        prepare.estate(lab, say)
        estate = hosts.load("lab")
        said = []
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            words = ("--rows", rows, "--orders", _ORDERS)
            said.append(ask(estate.app, "feed.client_rates", *words, user="mystocks", timeout=_LIMIT_S))
        return Bench(figures(said), gather.versions(estate))


def figures(said: Sequence[dict[str, object]]) -> tuple[Figure, ...]:
    """What the program told, round by round, held to what was promised."""

    def each(name: str) -> tuple[float, ...]:
        return tuple(float(str(one[name])) for one in said)

    def of(over: str, under: str) -> tuple[float, ...]:
        return tuple(a / b for a, b in zip(each(over), each(under), strict=True))

    def slowest(name: str) -> tuple[float, ...]:
        return tuple(_p99(one[name]) for one in said)

    ratios = tuple(a / b for a, b in zip(slowest("save"), slowest("insert"), strict=True))
    return (
        Figure("outbox durable, batches of 300", "rows/s", each("outbox"), 20_000, at_least=True),
        Figure("with a bad row in every tenth batch, of that", "times", of("poison", "outbox"), 0.5, at_least=True),
        Figure("store, batches of 300", "rows/s", each("store")),
        Figure("of the feed's own path", "times", of("store", "feed"), 0.8, at_least=True),
        Figure("one order saved, 99th of a hundred", "ms", slowest("save")),
        Figure("of a bare INSERT's", "times", ratios, 2.0),
    )


def _p99(values: object) -> float:
    assert isinstance(values, list) and len(values) >= 100, "too few to tell the slowest of a hundred"
    return float(statistics.quantiles(values, n=100)[98])
