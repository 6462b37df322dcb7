"""A lab of a benchmark's own: it must not be there before, and is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inventories.errors import DrError, Refused
from lab import containers, down
from lab.engine import Engine


@contextmanager
def own_lab(engine: Engine, lab: str, say: Callable[[str], None]) -> Iterator[None]:
    """Whoever is within makes it; it is removed however that ends. Raises Refused where it is there already.

    What went wrong within is told, also where what is left of the lab cannot be removed.
    """
    if containers.of_lab(engine, lab):
        raise Refused(
            f"lab {lab} is there already, and the benchmark would remove it in the end",
            f"choose another name, or remove it first: ./dr lab.down --lab {lab}",
        )
    try:
        yield
    except BaseException:
        try:
            down.down(lab, say)
        except DrError as error:
            say(f"WARNING: lab {lab} is not gone: {error}")
        raise
    down.down(lab, say)
