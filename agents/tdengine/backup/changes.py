"""Which hours of a TDengine database changed since a backup: what an incremental one has to take.

Days whose sums or data files are others than before are looked at: the marks of their hours, and, where a mark is
another one and the number of rows is not, the rows themselves, if they are many. Sums of floating-point numbers depend
on how the server has laid its blocks; their rows do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.tdengine.backup import scan
from agents.tdengine.backup.manifest import Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.scan import Range
from agents.tdengine.backup.sums import Sums, runs_of

Marks = dict[int, tuple[int, str]]
# Of all rows: to read fewer of them twice would cost more than to keep them twice.
WORTH_A_LOOK = 0.05


@dataclass(frozen=True)
class Changes:
    """By supertable: `marks` of the hours that were looked at, `changed` hours (None: all of them), and `kept`, those
    whose rows lie in earlier backups, as (rows, hash); `days` as td_scan tells them.
    """

    marks: dict[str, Marks]
    changed: dict[str, set[int]] | None
    kept: dict[str, dict[int, tuple[int, int]]]
    days: dict[str, dict[int, str]]


def find(
    session: RawSession, database: str, tables: dict[str, Any], subtables: list[Subtable], filesets: dict[str, Any],
    options: dict[str, Any], base: Manifest | None,
) -> Changes:  # fmt: skip
    """Compare the database with `base`. Raises TdengineError."""
    days = {name: scan.days(session, database, name, shape) for name, shape in tables.items()}
    if base is None:
        every = {name: scan.marks(session, database, name, shape) for name, shape in tables.items()}
        return Changes(every, None, {}, days)
    written = [
        scan.fileset_hours(number, options["duration"])
        for number, facts in filesets.items() if facts != base.filesets.get(number)
    ]  # fmt: skip
    marks: dict[str, Marks] = {}
    changed: dict[str, set[int]] = {}
    kept: dict[str, dict[int, tuple[int, int]]] = {}
    for name, shape in tables.items():
        same_shape = base.supertables.get(name) == shape  # another column, another row
        before = base.windows.get(name, {}) if same_shape else {}
        touched = [*written, *_other_days(days[name], base.days.get(name, {}))]
        looked = {hour for start, end in touched for hour in range(start, end)}
        ranges = scan.spans(looked) if same_shape else None
        marks[name] = scan.marks(session, database, name, shape, ranges)
        other = {
            hour for hour, (rows, mark) in marks[name].items()
            if hour not in before or (before[hour].rows, before[hour].mark) != (rows, mark)
        }  # fmt: skip
        suspect = {hour for hour in other if hour in before and before[hour].rows == marks[name][hour][0]}
        same: set[int] = set()
        if _share(before, suspect) > WORTH_A_LOOK:
            same = _same_rows(session, database, name, shape, subtables, before, suspect)
        changed[name] = other - same
        left = marks[name].keys() - changed[name]
        # Nobody touched them, or they were looked at and are the same.
        kept[name] = {h: (w.rows, int(w.hash, 16)) for h, w in before.items() if h in left or h not in looked}
    return Changes(marks, changed, kept, days)


def _other_days(now: dict[int, str], before: dict[int, str]) -> list[Range]:
    return [scan.day_hours(day) for day in now.keys() | before.keys() if now.get(day) != before.get(day)]


def _share(before: dict[int, Window], hours: set[int]) -> float:
    """The part of all rows that lies in these hours."""
    return sum(before[hour].rows for hour in hours) / max(1, sum(window.rows for window in before.values()))


def _same_rows(
    session: RawSession, database: str, name: str, shape: dict[str, Any], subtables: list[Subtable],
    before: dict[int, Window], suspect: set[int],
) -> set[int]:  # fmt: skip
    """Those of the hours that hold the very rows of the backup before."""
    known = {one.name: one for one in subtables}
    sums = Sums()
    for span in scan.spans(suspect):
        for subtable, block in scan.of_range(session, database, name, shape, span):
            if subtable in known:  # a row of one that has just been made changes its hour by itself
                sums.add(name, runs_of(block, known[subtable]))
    found = sums.told().get(name, {})
    return {hour for hour in suspect if found.get(hour) == (before[hour].rows, before[hour].hash)}
