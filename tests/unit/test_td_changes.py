"""Which hours an incremental backup of TDengine takes: new, corrected and re-filled ones, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.tdengine.backup import changes, scan
from agents.tdengine.backup.block import Block, Column
from agents.tdengine.backup.manifest import HOUR_NS, Manifest, Subtable, Window
from agents.tdengine.backup.sums import Sums, runs_of, seed

ONE = Subtable("t1", "tick_data", ["600000"])
SHAPE = {"tick_data": {"columns": [["ts", "TIMESTAMP", True]], "tags": [["symbol", "VARCHAR(20)"]]}}
DAY = 20000
HOURS = [DAY * 24, DAY * 24 + 1, (DAY + 1) * 24, (DAY + 2) * 24]  # two of one day, one of each of the next
OLD = HOURS[:3]  # of days that are not the newest


def block(hour: int, first: int = 0) -> Block:
    ts = np.arange(hour * HOUR_NS + first, hour * HOUR_NS + first + 3, dtype="<i8")
    return Block(3, (Column(9, 8, np.zeros(3, bool), ts.view(np.uint8).reshape(3, 8)),))


def digest(content: Block) -> str:
    sums = Sums()
    sums.add("x", runs_of(content, seed(ONE)))
    return next(iter(sums.told()["x"].values()))[1]


class Server:
    """What scan tells of a database: hour -> rows; days follow from them unless they are changed."""

    def __init__(self) -> None:
        self.rows = {hour: block(hour) for hour in HOURS}
        self.days_said: dict[int, str] = {}
        self.read: set[int] = set()

    def inside(self, ranges: Any) -> list[int]:
        return [h for h in self.rows if ranges is None or any(a <= h < b for a, b in ranges)]

    def counts(self, session: Any, database: str, table: str, ranges: Any = None) -> dict[int, int]:
        return {hour: self.rows[hour].rows for hour in self.inside(ranges)}

    def hashed(
        self, session: Any, database: str, table: str, columns: Any, seeds: dict[str, int], ranges: Any
    ) -> dict[int, tuple[int, str]]:
        assert seeds == {ONE.name: seed(ONE)}
        self.read |= set(self.inside(ranges))
        return {hour: (self.rows[hour].rows, digest(self.rows[hour])) for hour in self.inside(ranges)}

    def days(self, *_: Any) -> dict[int, str]:
        found: dict[int, str] = {}
        for hour, rows in sorted(self.rows.items()):
            found[hour // 24] = found.get(hour // 24, "") + digest(rows)
        return {**found, **self.days_said}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    for name in ("days", "counts", "hashed"):
        monkeypatch.setattr(scan, name, getattr(found, name))
    monkeypatch.setattr(changes, "AGAIN_ROWS", 0)
    return found


def base(server: Server) -> Manifest:
    windows = {hour: Window(3, digest(rows), "F") for hour, rows in server.rows.items()}
    return Manifest(
        "20261121-100000F", "full", None, 1.0, 2.0, "3.3.7.5", "market_data", {"duration": "1d"}, SHAPE, [ONE],
        {"tick_data": windows}, {}, {}, {"20000": [[2, 100, 0]]}, {"tick_data": server.days()}, 12, 12, 100, "key", 1.0,
    )  # fmt: skip


def at_once(name: str, work: Callable[[], None]) -> None:
    work()


def find(made: Manifest | None, size: int = 100, shape: dict[str, Any] = SHAPE) -> changes.Changes:
    session: Any = None
    now = changes.Now("market_data", shape, [ONE], {"20000": [[2, size, 0]]}, {"duration": "1d"})
    return changes.find(session, now, made, at_once)


def test_a_full_backup_takes_everything_and_reads_nothing_twice(server: Server) -> None:
    assert find(None).changed == {"tick_data": None}
    assert server.read == set()


def test_where_nothing_was_written_only_the_newest_day_is_looked_at(server: Server) -> None:
    found = find(base(server))
    assert (found.changed, sorted(found.kept["tick_data"])) == ({"tick_data": set()}, HOURS)
    assert server.read == {HOURS[3]}


def test_a_correction_is_found_though_its_files_are_as_long_as_before(server: Server) -> None:
    made = base(server)
    server.rows[HOURS[1]] = block(HOURS[1], first=7)
    found = find(made)
    assert found.changed == {"tick_data": {HOURS[1]}}
    assert sorted(found.kept["tick_data"]) == [HOURS[0], *HOURS[2:]]


@pytest.mark.parametrize("then", [9, 0])
def test_rows_that_are_corrected_twice_within_an_hour_are_seen_twice(server: Server, then: int) -> None:
    """To another value, or back to the one of the full backup: what counts is the backup in between."""
    server.rows[HOURS[1]] = block(HOURS[1], first=7)
    between = base(server)
    server.rows[HOURS[1]] = block(HOURS[1], first=then)
    assert find(between).changed == {"tick_data": {HOURS[1]}}


def test_files_that_grew_are_looked_at_though_no_sum_of_the_day_tells(server: Server) -> None:
    """Values that changed places leave plain sums as they were."""
    made = base(server)
    server.rows[HOURS[0]] = block(HOURS[0], first=7)
    made = replace(made, days={"tick_data": server.days()})
    assert find(made).changed == {"tick_data": set()}
    assert find(made, size=101).changed == {"tick_data": {HOURS[0]}}


def test_a_day_whose_sums_tell_nothing_is_always_looked_at(server: Server) -> None:
    """NaN plus anything is NaN."""
    server.days_said = {DAY: scan.UNSEEN}
    made = base(server)
    server.rows[HOURS[1]] = block(HOURS[1], first=7)
    assert find(made).changed == {"tick_data": {HOURS[1]}}


def test_values_that_changed_places_today_are_seen_whatever_sums_and_files_say(server: Server) -> None:
    made = base(server)
    server.rows[HOURS[3]] = block(HOURS[3], first=7)
    made = replace(made, days={"tick_data": server.days()})
    assert find(made).changed == {"tick_data": {HOURS[3]}}


def test_days_that_look_untouched_are_read_again_in_turn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "AGAIN_ROWS", 1)
    made = base(server)
    server.rows[HOURS[2]] = block(HOURS[2], first=7)
    made = replace(made, days={"tick_data": server.days()})
    first = find(made)
    assert (first.changed["tick_data"], first.next_day) == (set(), {"tick_data": DAY + 1})
    second = find(replace(made, next_day=first.next_day))
    assert (second.changed["tick_data"], second.next_day) == ({HOURS[2]}, {"tick_data": DAY})


def test_a_small_database_is_read_again_as_a_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "AGAIN_ROWS", 250_000)
    assert find(base(server)).next_day == {"tick_data": 0}
    assert server.read == set(HOURS)


def test_another_sum_of_the_same_rows_costs_a_look_and_no_row(server: Server) -> None:
    """Sums of floating-point numbers depend on how the server has laid its blocks."""
    made = base(server)
    server.days_said = {DAY: "x"}
    found = find(made)
    assert found.changed == {"tick_data": set()}
    assert found.days["tick_data"][DAY] == "x"  # so that the next backup need not look again
    assert sorted(found.kept["tick_data"]) == HOURS


def test_new_hours_are_taken_unread_and_deleted_ones_are_dropped(server: Server) -> None:
    made = base(server)
    server.rows[HOURS[2] + 1] = block(HOURS[2] + 1)
    del server.rows[HOURS[0]]
    found = find(made)
    assert found.changed == {"tick_data": {HOURS[2] + 1}}
    assert sorted(found.kept["tick_data"]) == HOURS[1:]
    assert HOURS[2] + 1 not in server.read


def test_a_day_that_was_deleted_is_dropped(server: Server) -> None:
    made = base(server)
    del server.rows[HOURS[3]]
    assert sorted(find(made).kept["tick_data"]) == OLD


def test_another_column_makes_other_rows_of_all(server: Server) -> None:
    wider = {"tick_data": {**SHAPE["tick_data"], "columns": [["ts", "TIMESTAMP", True], ["price", "DOUBLE", False]]}}
    found = find(base(server), shape=wider)
    assert found.changed == {"tick_data": None} and found.kept == {"tick_data": {}}


def test_how_a_table_was_made_is_no_other_row(server: Server) -> None:
    noted = {"tick_data": {**SHAPE["tick_data"], "options": {"comment": "ticks"}}}
    assert find(base(server), shape=noted).changed == {"tick_data": set()}
