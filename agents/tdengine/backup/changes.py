"""Which hours of a TDengine database changed since a backup: what an incremental one has to take.

Looked at are days whose data files or sums are others than before, days whose sums tell nothing (NaN), the newest day,
and, in turn, some that look untouched: values that changed places leave sums as they were, and once in a while the size
of the files too. In such a day every hour with as many rows as before is read and held against its hash, so that no
change of any value, key or type escapes; another number of rows needs no look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agents.tdengine.backup import scan
from agents.tdengine.backup.manifest import Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.scan import DAY, Range
from agents.tdengine.backup.schema import Shape, alike
from agents.tdengine.backup.sums import seed

Kept = dict[int, tuple[int, int]]
# Rows of a table that look untouched and are read again by each incremental backup: so many, or this part of all.
AGAIN_ROWS, AGAIN_PART = 250_000, 0.005


@dataclass(frozen=True)
class Changes:
    """By table: `changed` hours, None where everything is new, and `kept`, those whose rows lie in earlier backups, as
    (rows, hash); `days` as scan tells them; `next_day` as the manifest keeps it.
    """

    days: dict[str, dict[int, str]] = field(default_factory=dict)
    changed: dict[str, set[int] | None] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    next_day: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Now:
    """The database as it is."""

    database: str
    tables: Mapping[str, Shape]
    subtables: list[Subtable]
    filesets: dict[str, Any]
    options: dict[str, Any]


def find(
    session: RawSession, now: Now, base: Manifest | None, guarded: Callable[[str, Callable[[], None]], None]
) -> Changes:
    """Compare the database with `base`. `guarded` runs what asks for one table, and bears what ends for it alone.

    Raises TdengineError.
    """
    found = Changes()
    written = [
        scan.fileset_hours(number, now.options["duration"])
        for number, facts in now.filesets.items() if base and facts != base.filesets.get(number)
    ]  # fmt: skip
    seeds: dict[str, dict[str, int]] = {name: {} for name in now.tables}
    for one in now.subtables if base else ():
        seeds[one.stable][one.name] = seed(one)
    for name in now.tables:
        guarded(name, partial(_table, session, now, base, name, written, seeds[name], found))
    return found


def _table(
    session: RawSession, now: Now, base: Manifest | None, name: str, written: list[Range], seeds: dict[str, int],
    found: Changes,
) -> None:  # fmt: skip
    shape = now.tables[name]
    days = scan.days(session, now.database, name, shape)
    if base is None or not alike(base.tables.get(name), shape):  # another column, another row
        found.days[name], found.changed[name], found.kept[name] = days, None, {}
        return
    before = base.windows.get(name, {})
    touched = [*written, *_other_days(days, base.days.get(name, {}))]
    looked = {hour for start, end in touched for hour in range(start, end)}
    looked, next_day = _again(before, looked, base.next_day.get(name, 0))
    changed = _changed(session, now.database, name, shape, seeds, before, looked)
    found.days[name], found.changed[name] = days, changed.now
    found.kept[name] = {
        hour: (window.rows, int(window.hash, 16)) for hour, window in before.items()
        if hour not in looked or hour in changed.same
    }  # fmt: skip
    found.next_day[name] = next_day


def _other_days(now: Mapping[int, str], before: Mapping[int, str]) -> list[Range]:
    return [
        scan.day_hours(day) for day in now.keys() | before.keys()
        if now.get(day) != before.get(day) or now.get(day) == scan.UNSEEN
    ]  # fmt: skip


def _again(before: Mapping[int, Window], looked: set[int], next_day: int) -> tuple[set[int], int]:
    """With the newest day, and from `next_day` on as many others as may be read again; the day to go on from."""
    rows: dict[int, int] = {}
    for hour, window in before.items():
        rows[hour // DAY] = rows.get(hour // DAY, 0) + window.rows
    if not rows:
        return looked, next_day
    looked = looked | set(range(*scan.day_hours(max(rows))))
    left = max(AGAIN_ROWS, int(sum(rows.values()) * AGAIN_PART))
    for day in sorted(rows, key=lambda day: (day < next_day, day)):
        if day * DAY in looked:
            continue
        if left <= 0:
            return looked, day
        left -= rows[day]
        looked = looked | set(range(*scan.day_hours(day)))
    return looked, 0


@dataclass(frozen=True)
class _Looked:
    now: set[int]  # hours that are to be taken
    same: set[int]


def _changed(
    session: RawSession, database: str, name: str, shape: Shape, seeds: dict[str, int], before: Mapping[int, Window],
    looked: set[int],
) -> _Looked:  # fmt: skip
    if not looked:
        return _Looked(set(), set())
    there = scan.counts(session, database, name, scan.spans(looked))
    there = {hour: rows for hour, rows in there.items() if hour in looked}
    alike_ = {hour for hour, rows in there.items() if hour in before and before[hour].rows == rows}
    hashed = scan.hashed(session, database, name, shape["columns"], seeds, scan.spans(alike_)) if alike_ else {}
    same = {hour for hour in alike_ if hashed.get(hour) == (before[hour].rows, before[hour].hash)}
    return _Looked(there.keys() - same, same)
