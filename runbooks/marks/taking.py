"""`./dr mark`: bind the stores' positions to one name, in the order that makes them agree.

First the outboxes, the shadows and the SQLite databases, then the restore point, TDengine last: whatever an application
host had acknowledged by then is at or below its numbers, and what the store had taken of it is before the restore
point.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from inventories.errors import DrError, Refused
from runbooks import begun
from runbooks.hosts import Estate, Host
from runbooks.marks import asking, keeping
from runbooks.marks.names import check_new
from runbooks.marks.types import Kept, Mark, Transaction
from runbooks.probes import outbox
from runbooks.probes.postgresql import server
from runbooks.probes.sqlite import databases

T = TypeVar("T")
Told = tuple[tuple[Transaction, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Taken:
    """The mark as it is kept, the seconds that it took, and every one that is there now."""

    mark: Mark
    seconds: float
    kept: Kept


def scheduled_name(prefix: str, at: float) -> str:
    """What a scheduled mark is called: nobody is there to name it, and its moment says which one it is."""
    return f"{prefix}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}"


def take(estate: Estate, name: str, *, scheduled: bool = False) -> Taken:
    """Raises BadInput for a name that is none, Refused for one that stands or without a primary, DrError.

    Of an application host, or a backup of TDengine, that does not answer the mark says that it lacks it.
    """
    check_new(name)
    try:
        return _taken(estate, name, scheduled)
    finally:
        begun.drop()


def _taken(estate: Estate, name: str, scheduled: bool) -> Taken:
    began = time.monotonic()
    # The stock tracker keeps no shadow that a mark could bind.
    boxes = [box for box in outbox.boxes(estate) if box.store != outbox.TRACKER]
    apps = estate.group("app") if databases.names(estate) else ()
    with ThreadPoolExecutor(len(boxes) + len(apps) + 4) as pool:
        primary = pool.submit(lambda: server.the_primary(server.survey(estate)))
        there = pool.submit(keeping.look, estate.backup)
        ready = [pool.submit(keeping.begin, estate.backup), pool.submit(asking.begin, estate)]
        told = [(box, pool.submit(_lacking, partial(asking.position, box))) for box in boxes]
        trading = [(app, pool.submit(_lacking, partial(asking.transactions, app))) for app in apps]
        answers = [(box, *future.result()) for box, future in told]
        bound = [_bound(app, *future.result()) for app, future in trading]
        node, known = primary.result(), there.result()
        wait(ready)
    _free(name, known)
    before = time.monotonic()
    point = asking.point(node.host, name)
    point_s = time.monotonic() - before
    windows, trouble = _lacking(partial(asking.windows, estate))
    lacks = [f"{box}: {why}" for box, _, why in answers if why]
    lacks += [why for _, whys in bound for why in whys]
    mark = Mark(
        name=name, at=float(point["at"]), estate=estate.name, system=point["system"], primary=node.name,
        timeline=point["timeline"], lsn=point["lsn"], tdengine=windows,
        positions=tuple(found for _, found, _ in answers if found is not None),
        databases=tuple(one for found, _ in bound for one in found),
        lacks=(*lacks, *([f"TDengine's backup: {trouble}"] if trouble else [])), scheduled=scheduled,
        took_ms=round((time.monotonic() - began) * 1000), point_ms=round(point_s * 1000),
    )  # fmt: skip
    kept = keeping.keep(estate.backup, mark)
    return Taken(kept, time.monotonic() - began, known.model_copy(update={"marks": (*known.marks, kept)}))


def _bound(app: Host, said: Told | None, why: str) -> Told:
    """SQLite databases of a host that are bound, and what the mark lacks of them."""
    return said if said is not None else ((), (f"SQLite databases on {app}: {why}",))


def _lacking(ask: Callable[[], T]) -> tuple[T | None, str]:
    """The answer, or why there is none: a mark without one part is worth more than no mark."""
    try:
        return ask(), ""
    except DrError as error:
        return None, str(error)


def _free(name: str, known: Kept) -> None:
    """Before anything is written: two restore points of one name are one that means nothing."""
    standing = [mark.moment for mark in known.marks if mark.name == name]
    standing += [f"damaged, {one.file}" for one in known.damaged if one.name == name]
    if standing:
        raise Refused(f"a mark {name} stands already: {standing[0]}", "give another name; ./dr marks lists all")
