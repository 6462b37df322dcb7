"""Counts and time ranges of the catalogue's tables: what a backup is told it holds, and what its restore is held to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import BadConfig

TABLES = Path("/etc/mystocks-dr/tables.json")
TRACKER = "tables-tracker.json"  # beside it, where the estate has the stock tracker


@dataclass(frozen=True)
class Counted:
    """Rows of one table, and the least and greatest value of its time column (text, UTC); None without one."""

    rows: int
    first: str | None = None
    last: str | None = None

    @property
    def compact(self) -> list[Any]:
        return [self.rows, self.first, self.last]


@dataclass(frozen=True)
class Asked:
    """One table of the catalogue and the column that orders its rows in time, if any."""

    name: str
    database: str
    time_column: str | None


def asked(path: Path = TABLES) -> tuple[Asked, ...]:
    """The PostgreSQL tables of the catalogue. Raises BadConfig."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))["tables"]
        found = tuple(Asked(name, one["database"], one.get("time_column")) for name, one in tables.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadConfig(f"{path} is no export of the catalogue: {error}.", "Deploy this host again.") from error
    if not found:
        raise BadConfig(f"{path} names no table.", "Deploy this host again.")
    return found


def of_tracker(path: Path = TABLES) -> tuple[Asked, ...]:
    """The tables of the stock tracker's own database, declared beside; none where there is none. Raises BadConfig."""
    beside = path.with_name(TRACKER)
    return asked(beside) if beside.exists() else ()


def query(table: Asked) -> str:
    """One row: count, first, last."""
    name = '"' + table.name.replace('"', '""') + '"'
    if table.time_column is None:
        return f"select count(*), null::text, null::text from public.{name}"  # noqa: S608 - names of the catalogue
    column = '"' + table.time_column.replace('"', '""') + '"'
    return f"select count(*), min({column})::text, max({column})::text from public.{name}"  # noqa: S608


def parse(text: str) -> dict[str, Counted]:
    """An annotation, table -> counted; empty for none or a torn one."""
    try:
        return {name: Counted(int(one[0]), one[1], one[2]) for name, one in json.loads(text or "{}").items()}
    except (ValueError, TypeError, IndexError, AttributeError):
        return {}


def compact(counted: Mapping[str, Counted]) -> str:
    return json.dumps({name: one.compact for name, one in counted.items()}, separators=(",", ":"))


def differences(
    before: Mapping[str, Counted], after: Mapping[str, Counted], restored: Mapping[str, Counted]
) -> tuple[int, list[str]]:
    """Tables compared, and sentences on those whose rows or newest time lie outside what was seen on both sides.

    A backup ends somewhere between the two counts, so whatever only grows, or only shrinks by retention, lies between.
    """
    wrong, compared = [], 0
    for name in sorted(set(before) & set(after)):
        first, last, now = before[name], after[name], restored.get(name)
        compared += 1
        if now is None:
            wrong.append(f"{name} is not there")
            continue
        low, high = sorted((first.rows, last.rows))
        if not low <= now.rows <= high:
            wrong.append(f"{name} holds {now.rows} rows, {first.rows} were there before the backup, {last.rows} after")
        newest = [one for one in (first.last, last.last) if one is not None]
        if len(newest) == 2 and now.last is not None and not min(newest) <= now.last <= max(newest):
            wrong.append(f"{name} ends at {now.last}, the backup saw {first.last} to {last.last}")
        if len(newest) == 2 and now.last is None:
            wrong.append(f"{name} has no newest row, the backup saw {last.last}")
    return compared, wrong
