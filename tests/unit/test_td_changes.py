"""Which hours an incremental backup of TDengine takes: new, corrected and re-filled ones, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.tdengine.backup import changes, scan
from agents.tdengine.backup.block import Block, Column
from agents.tdengine.backup.manifest import HOUR_NS, Manifest, Subtable, Window
from agents.tdengine.backup.sums import Sums, runs_of

ONE = Subtable("t1", "tick_data", ["600000"])
SHAPE = {"tick_data": {"columns": [["ts", "TIMESTAMP", True]], "tags": [["symbol", "VARCHAR(20)"]]}}
DAY = 20000
HOURS = [DAY * 24, DAY * 24 + 1, (DAY + 1) * 24]  # two of one day, one of the next


def block(hour: int, first: int = 0) -> Block:
    ts = np.arange(hour * HOUR_NS + first, hour * HOUR_NS + first + 3, dtype="<i8")
    return Block(3, (Column(9, 8, np.zeros(3, bool), ts.view(np.uint8).reshape(3, 8)),))


def digest(content: Block) -> str:
    sums = Sums()
    sums.add("x", runs_of(content, ONE))
    return next(iter(sums.told()["x"].values()))[1]


class Server:
    """What td_scan tells of a database: hour -> rows; its days and marks follow from them unless they are changed."""

    def __init__(self) -> None:
        self.rows = {hour: block(hour) for hour in HOURS}
        self.odd_days: set[int] = set()
        self.odd_marks: set[int] = set()
        self.looked: list[Any] = []

    def marks(self, *_: Any) -> dict[int, tuple[int, str]]:
        ranges = _[4]
        self.looked = list(ranges or [])
        wanted = (h for h in self.rows if ranges is None or any(a <= h < b for a, b in ranges))
        return {h: (self.rows[h].rows, digest(self.rows[h])[::-1] + "x" * (h in self.odd_marks)) for h in wanted}

    def days(self, *_: Any) -> dict[int, str]:
        found: dict[int, str] = {}
        for hour, rows in sorted(self.rows.items()):
            found[hour // 24] = found.get(hour // 24, "") + digest(rows)
        return {day: told + "x" * (day in self.odd_days) for day, told in found.items()}

    def of_range(self, *_: Any) -> Any:
        start, end = _[4]
        return ((ONE.name, rows) for hour, rows in self.rows.items() if start <= hour < end)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(scan, "days", found.days)
    monkeypatch.setattr(
        scan, "marks", lambda session, database, name, shape, ranges=None: found.marks(0, 0, 0, 0, ranges)
    )
    monkeypatch.setattr(scan, "of_range", found.of_range)
    return found


def base(server: Server) -> Manifest:
    marks = server.marks(0, 0, 0, 0, None)
    windows = {hour: Window(3, digest(rows), marks[hour][1], "F") for hour, rows in server.rows.items()}
    return Manifest(
        "20261121-100000F", "full", None, 1.0, 2.0, "3.3.7.5", "market_data", {"duration": "1d"}, SHAPE, [ONE],
        {"tick_data": windows}, {}, {}, {"20000": [[2, 100, 0]]}, {"tick_data": server.days()}, 9, 9, 100, "key", 1.0,
    )  # fmt: skip


def find(made: Manifest | None, size: int = 100, shape: dict[str, Any] = SHAPE) -> changes.Changes:
    session: Any = None
    filesets = {"20000": [[2, size, 0]]}
    return changes.find(session, "market_data", shape, [ONE], filesets, {"duration": "1d"}, made)


def test_a_full_backup_takes_everything(server: Server) -> None:
    found = find(None)
    assert found.changed is None and sorted(found.marks["tick_data"]) == HOURS


def test_where_nothing_was_written_nothing_is_looked_at(server: Server) -> None:
    found = find(base(server))
    assert (found.changed, sorted(found.kept["tick_data"])) == ({"tick_data": set()}, HOURS)
    assert server.looked == []


def test_a_correction_is_found_though_its_files_are_as_long_as_before(server: Server) -> None:
    made = base(server)
    server.rows[HOURS[1]] = block(HOURS[1], first=7)
    found = find(made)
    assert found.changed == {"tick_data": {HOURS[1]}}
    assert sorted(found.kept["tick_data"]) == [HOURS[0], HOURS[2]]


def test_files_that_grew_are_looked_at_though_no_sum_of_the_day_tells(server: Server) -> None:
    """Values that changed places leave plain sums as they were."""
    made = base(server)
    server.rows[HOURS[0]] = block(HOURS[0], first=7)
    made = replace(made, days={"tick_data": server.days()})
    assert find(made).changed == {"tick_data": set()}
    assert find(made, size=101).changed == {"tick_data": {HOURS[0]}}


def test_another_mark_of_the_same_rows_costs_a_look_and_no_row(server: Server) -> None:
    made = base(server)
    server.odd_days, server.odd_marks = {DAY}, {HOURS[0]}
    found = find(made)
    assert found.changed == {"tick_data": set()}
    assert found.marks["tick_data"][HOURS[0]][1].endswith("x")  # so that the next backup need not look again
    assert sorted(found.kept["tick_data"]) == HOURS


def test_few_such_rows_are_taken_without_a_look(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = base(server)
    server.odd_days, server.odd_marks = {DAY}, {HOURS[0]}
    monkeypatch.setattr(changes, "WORTH_A_LOOK", 0.5)
    assert find(made).changed == {"tick_data": {HOURS[0]}}


def test_new_hours_are_taken_and_deleted_ones_are_dropped(server: Server) -> None:
    made = base(server)
    server.rows[HOURS[2] + 1] = block(HOURS[2] + 1)
    del server.rows[HOURS[0]]
    found = find(made)
    assert found.changed == {"tick_data": {HOURS[2] + 1}}
    assert sorted(found.kept["tick_data"]) == [HOURS[1], HOURS[2]]


def test_a_day_that_was_deleted_is_dropped(server: Server) -> None:
    made = base(server)
    del server.rows[HOURS[2]]
    assert sorted(find(made).kept["tick_data"]) == HOURS[:2]


def test_another_column_makes_other_rows_of_all(server: Server) -> None:
    wider = {"tick_data": {**SHAPE["tick_data"], "columns": [["ts", "TIMESTAMP", True], ["price", "DOUBLE", False]]}}
    found = find(base(server), shape=wider)
    assert found.changed == {"tick_data": set(HOURS)} and found.kept == {"tick_data": {}}
