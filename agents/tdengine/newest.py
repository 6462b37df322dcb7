"""Hold rows against what TDengine has under their key: it would keep whatever is written last, older or newer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from agents.base.config import Table
from agents.tdengine import instant
from agents.tdengine.sql import among, subtable
from agents.writing.batch import EVENT_ID, Part, rows_of

# TDengine takes no IN for the time that a table is ordered by. Times that lie together are asked for by one span.
KEYS, GAP_NS = 500, 600 * 10**9
NAMES = 200  # subtables in one question
Ask = Callable[[str], list[list[Any]]]
Place = tuple[str, int]  # subtable, nanosecond


def newer(parts: Iterable[Part], tables: Mapping[str, Table], ask: Ask) -> Iterator[Part]:
    """The parts without rows whose key holds a greater event id, on the server or in a part before; `ask` runs a query.

    Several parts may go in one statement. Empty ones are left out.
    """
    passed: dict[str, dict[Place, int]] = {}
    for part in parts:
        table = tables[part.table]
        if table.on_conflict != "newest":
            yield part
            continue
        known = passed.setdefault(part.table, {})
        for there, events in _known(part, table, ask).items():
            known[there] = max(*events, known.get(there, 0))
        lines, ids = [], []
        at = part.columns.index(EVENT_ID)
        for line, row in zip(part.text.split("\n"), rows_of(part), strict=False):
            event, place = int(row[at] or 0), _place(part, table, row)
            if place is None or known.get(place, event) <= event:
                lines.append(line + "\n")
                ids.append(event)
                if place is not None:
                    known[place] = event
        if ids:
            yield replace(part, first=min(ids), last=max(ids), n=len(ids), text="".join(lines))


def subtables(parts: Iterable[Part], tables: Mapping[str, Table]) -> set[str]:
    """Where these rows go."""
    found = set()
    for part in parts:
        table, order = tables[part.table], {name: at for at, name in enumerate(part.columns)}
        tags = {tuple(row[order[tag.name]] for tag in table.tags) for row in rows_of(part)}
        found |= {subtable(table.name, one) for one in tags}
    return found


def absent(part: Part, table: Table, ask: Ask) -> list[int]:
    """Event ids of rows of which the server has neither themselves nor, where the newest wins, a newer one."""
    known = _known(part, table, ask)
    at = part.columns.index(EVENT_ID)
    newest = table.on_conflict == "newest"
    missing = []
    for row in rows_of(part):
        event, place = int(row[at] or 0), _place(part, table, row)
        events = known.get(place, []) if place else []
        if not (max(events, default=-1) >= event if newest else event in events):
            missing.append(event)
    return missing


def _known(part: Part, table: Table, ask: Ask) -> dict[Place, list[int]]:
    """The event ids that the server holds under each subtable and time of the part."""
    wanted: dict[str, set[int]] = {}
    for row in rows_of(part):
        place = _place(part, table, row)
        if place is not None:
            wanted.setdefault(place[0], set()).add(place[1])
    found: dict[Place, list[int]] = {}
    column = table.key[0]
    for first, last in _spans(sorted(set().union(*wanted.values()))):
        names = [name for name, times in wanted.items() if any(first <= ns <= last for ns in times)]
        for nth in range(0, len(names), NAMES):
            # Names are the catalogue's and our own hashes, values are numbers.
            for name, ts, event in ask(
                f"SELECT TBNAME, CAST(`{column}` AS BIGINT), `{EVENT_ID}` FROM `{table.database}`.`{table.name}`"
                f" WHERE `{column}` >= {first} AND `{column}` <= {last} AND {among(names[nth : nth + NAMES])}"
            ):
                if int(ts) in wanted.get(str(name), ()):
                    found.setdefault((str(name), int(ts)), []).append(int(event))
    return found


def _spans(ordered: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of times that lie together."""
    if not ordered:
        return
    first, n = ordered[0], 0
    for before, now in pairwise(ordered):
        n += 1
        if now - before > GAP_NS or n >= KEYS:
            yield first, before
            first, n = now, 0
    yield first, ordered[-1]


def _place(part: Part, table: Table, row: list[str | None]) -> Place | None:
    """Subtable and nanosecond of a row; None where its time is none, which is for the server to say."""
    order = {name: at for at, name in enumerate(part.columns)}
    ns = nanoseconds(row[order[table.key[0]]])
    return None if ns is None else (subtable(table.name, [row[order[tag.name]] for tag in table.tags]), ns)


def nanoseconds(text: str | None) -> int | None:
    """A time as the outbox keeps it: a number of nanoseconds, or ISO 8601 with a zone."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return instant.nanoseconds(text)
    except ValueError:
        return None
