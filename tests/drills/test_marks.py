"""A mark on a real estate under load: the tables are damaged after it, and come back as they were at it, row for row.

Nothing here asserts on time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.errors import Refused
from runbooks.actions.postgresql import side as side_act
from runbooks.hosts import Estate, Host
from runbooks.marks import asking, keeping
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.restore_table import SIDE
from tests.drills import estate as seen
from tests.drills.doors import dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(900)]
DATABASE = "quant_research"
MADE = "CREATE TABLE marked (n bigint PRIMARY KEY, said text NOT NULL)"
FILL = "INSERT INTO marked SELECT i, 'as it was ' || i FROM generate_series(1, 500) i"
DAMAGE = """
DELETE FROM marked WHERE n <= 50;
UPDATE marked SET said = 'spoilt' WHERE n BETWEEN 51 AND 80;
INSERT INTO marked SELECT i, 'after it' FROM generate_series(1001, 1010) i;
"""
HELD = "(select md5(string_agg(n || '=' || said, ',' order by n)) from marked)"
NAME = f"before-damage-{time.time_ns()}"  # a lab that is kept has those of earlier runs


def primary_of(estate: Estate) -> Host:
    return server.the_primary(server.survey(estate)).host


@pytest.fixture(scope="module")
def whole(estate_lab: Estate) -> Iterator[Estate]:
    seen.make_whole(estate_lab)
    primary = primary_of(estate_lab)
    side_act.drop(primary, SIDE, 60)
    primary.execute(f"DROP TABLE IF EXISTS marked, marked_replaced, marked_restored; {MADE}; {FILL}", DATABASE)
    yield estate_lab
    side_act.drop(primary, SIDE, 60)
    primary.execute("DROP TABLE IF EXISTS marked, marked_replaced, marked_restored", DATABASE)


def one(estate: Estate, expression: str) -> object:
    return primary_of(estate).query(f"select {expression} as found", DATABASE)[0]["found"]


def listed(name: str) -> dict[str, object]:
    done = dr("marks", "--json")
    assert done.code == 0, done.err
    [found] = [mark for mark in json.loads(done.out)["marks"] if mark["name"] == name]
    return dict(found)


def test_restore_table_brings_back_exactly_the_rows_of_the_mark_although_others_wrote_all_the_while(
    whole: Estate, tmp_path: Path
) -> None:
    with seen.load(whole, tmp_path) as load:
        load.writes_on()
        was = one(whole, HELD)
        taken = dr("mark", NAME, "--json")
        assert taken.code == 0, taken.err
        mark = json.loads(taken.out)
        assert (mark["estate"], mark["timeline"], mark["databases"]) == (whole.name, seen.timeline(whole), [])
        assert mark["positions"][0]["shadow"]
        primary_of(whole).execute(DAMAGE, DATABASE)
        assert one(whole, HELD) != was
        words = ("restore-table", "--tables", "marked", "--to-mark", NAME, "--mode", "replace")
        looked = dr(*words)
        assert looked.code == 0, looked.err
        done = dr(*words, "--yes")
        assert done.code == 0, done.err
        assert one(whole, HELD) == was
        load.writes_on()
    assert listed(NAME)["restorable"] is True, "the restore has closed the segment of the mark"


def test_a_name_that_stands_and_one_that_is_not_there_are_refused(whole: Estate) -> None:
    dr("mark", NAME).assert_told(3, "stands already", hint="another name")
    dr("restore-table", "--tables", "marked", "--to-mark", "nobody").assert_told(2, "there is no mark 'nobody'")


def test_a_file_that_was_edited_is_told_and_refused(whole: Estate) -> None:
    name = f"edited-{time.time_ns()}"
    assert dr("mark", name).code == 0
    path = f"/var/lib/mystocks-dr/marks/{name}@*.json"
    whole.backup.run(f"sed -i 's/\"timeline\": /\"timeline\": 1/' {path}")
    try:
        dr("restore-pitr", "--to-mark", name).assert_told(3, "cannot be believed", hint=f"--to-name {name}")
        assert dr("marks").code == 1
    finally:
        whole.backup.run(f"rm -f {path}")


def test_a_clock_that_is_a_year_ahead_takes_no_mark(whole: Estate) -> None:
    """What the primary's clock says is told in its place: a container has the machine's own."""
    name = f"ahead-{time.time_ns()}"
    point = asking.point(primary_of(whole), name)
    kept = keeping.look(whole.backup).marks[-1]
    ahead = kept.model_copy(update={"name": name, "at": point["at"] + 366 * 86400, "lsn": point["lsn"]})
    with pytest.raises(Refused, match=r"366\.0 d ahead of this host's"):
        keeping.keep(whole.backup, ahead)
