"""A TDengine database with one of everything, on a real server: all of it is in the backup, whatever is done to it.

The tests run in the order in which they stand.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence

import pytest

from runbooks.actions import backup as backup_actions
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes.tdengine import backups, ground
from tests.drills import td_torture as torture
from tests.drills.doors import dr
from tests.drills.test_tdengine_restore import MINE, SIDE, accepted, filled, server_of

pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.destructive, pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip
HOUR_NS = 3600 * 10**9
AT = (time.time_ns() // HOUR_NS - 72) * HOUR_NS + 300 * 10**9
PYTHON = "cd /opt/mystocks-dr && exec python3 "


def run(host: Host, statements: Sequence[str], database: str = MINE) -> list[list[dict[str, object]]]:
    """Run them in one session; the rows of each."""
    said = host.run(
        f"{PYTHON}-m agents.tdengine.session --database %s", database, user="postgres",
        stdin="".join(f"{one}\n" for one in statements), timeout=120,
    )  # fmt: skip
    return [json.loads(line) for line in said.stdout.splitlines()]


def take(estate: Estate, kind: str) -> str:
    backup_actions.run_job(estate.backup, f"td-{kind}", Asker.door("a test"), wait_s=60)
    return backups.labels(estate.backup)[-1]


@pytest.fixture(scope="module")
def tortured(estate_lab: Estate) -> Iterator[Estate]:
    host = estate_lab.backup
    run(host, torture.DROP)
    run(host, (*torture.CREATE, *torture.rows(AT)))
    take(estate_lab, "full")
    yield estate_lab
    run(host, torture.DROP)
    ground.ask(server_of(estate_lab), f"DROP DATABASE IF EXISTS {SIDE}")
    if not ground.rows(server_of(estate_lab), MINE):  # a lab that was new: no backup of nothing is taken
        filled(estate_lab)
    accepted(estate_lab)


def compared(*words: str) -> dict[str, dict[str, int]]:
    """Table -> rows, missing, other, live, of the newest backup against a database."""
    found = json.loads(dr("validate", "--json", *words).out)["comparison"]
    return {one["table"]: one for one in found["tables"]}


def exact(*words: str) -> None:
    """Every row of the newest backup is there as it was, and no other one."""
    for name, one in compared(*words).items():
        if name in torture.TABLES:
            assert (one["missing"], one["other"]) == (0, 0), name
            assert one["rows"] == one["live"] > 0, name


def test_everything_is_in_the_backup_and_nothing_is_left_out(tortured: Estate) -> None:
    newest = backups.look(tortured.backup).newest
    assert newest is not None and newest.left_out == ()
    assert {*torture.TABLES, "empty_st"} <= set(newest.tables)
    assert "No backup of TDengine lacks anything" in dr("backup.list", "--store", "tdengine").out
    exact()


@pytest.mark.parametrize("kind", list(torture.changes(AT)))
def test_changes_are_seen_whatever_the_values(tortured: Estate, kind: str) -> None:
    run(tortured.backup, torture.changes(AT)[kind])
    take(tortured, "incr")
    exact()


@pytest.mark.parametrize(
    ("first", "second"), [("1.5", 'float("inf")'), ("2.5", 'float("inf")'), ("2.5", 'float("-inf")')]
)
def test_changes_are_seen_beside_nan_and_infinities(tortured: Estate, first: str, second: str) -> None:
    script = torture.NAN.format(at=AT + 600 * 10**9, first=first, second=second, database=MINE)
    tortured.backup.run(f"{PYTHON}-", user="postgres", stdin=script)
    take(tortured, "incr")
    exact()


def test_it_comes_back_whole_into_a_database_beside(tortured: Estate) -> None:
    ended = dr("tdengine-restore", "--into", SIDE, "--yes", timeout=300)
    assert ended.code == 0, ended.err
    assert "torture_topic is not made" in ended.out
    exact("--into", SIDE)
    host = tortured.backup
    for question in (
        "SELECT TAGS tbname, `t_ubi`, `t_f`, `t_d`, `t_vc`, `t_nc`, `t_vb`, `t_geo` FROM `every-type`",
        "SELECT TAGS tbname, `j` FROM `jsoned`",
    ):  # fmt: skip
        was, now = (run(host, [question], database)[0] for database in (MINE, SIDE))
        # The vnodes answer in whatever order.
        assert len(was) > 0 and sorted(map(repr, was)) == sorted(map(repr, now)), question
    for question in (
        "DESCRIBE `every-type`", "DESCRIBE `keyed-1`", "DESCRIBE `empty_st`",
        *(f"SELECT COUNT(*) FROM `{name}`" for name in torture.DEFINED),
    ):  # fmt: skip
        assert run(host, [question]) == run(host, [question], SIDE), question
    for asked in ("SHOW CREATE TABLE `plain`", "SHOW CREATE STABLE `empty_st`"):
        assert run(host, [asked]) == run(host, [asked], SIDE), asked
    # SHOW CREATE TABLE of a subtable with a VARBINARY tag tells bytes that are no text.
    given = "SELECT table_name, `ttl`, `table_comment` FROM information_schema.ins_tables WHERE `ttl` = 3000"
    assert run(host, [f"{given} AND db_name = '{MINE}'"]) == run(host, [f"{given} AND db_name = '{SIDE}'"])
    assert run(host, [f"{given} AND db_name = '{SIDE}'"])[0] == [
        {"table_name": "子-'1", "ttl": 3000, "table_comment": "a child"}
    ]


def test_it_is_proven(tortured: Estate) -> None:
    said = tortured.backup.run(f"{PYTHON}-m agents.tdengine.backup.prove", user="postgres", timeout=300).json()
    assert said["outcome"] == "passed", said


def test_a_supertable_that_is_dropped_and_made_again_at_once_is_restored_whole(tortured: Estate) -> None:
    host = tortured.backup
    bars = next(one for one in torture.CREATE if "`bars`" in one and "STABLE" in one)
    run(host, ["DROP STABLE `bars`", bars])
    assert compared()["bars"]["missing"] == 80
    ended = dr("tdengine-restore", "--tables", "bars", "--yes", timeout=300)
    assert ended.code == 0, ended.err
    exact()


def test_a_shape_that_changed_gets_what_fits_on_consent(tortured: Estate) -> None:
    host = tortured.backup
    run(host, ["DROP STABLE `bars`", "CREATE STABLE `bars` (`ts` TIMESTAMP, `extra` INT, `note` VARCHAR(30), "
               "`event_id` BIGINT) TAGS (`colour` INT, `symbol` VARCHAR(12))"])  # fmt: skip
    told = dr("tdengine-restore", "--tables", "bars")
    assert "bars: close is not there any more" in told.out and "--accept-lost-columns" in told.out
    dr("tdengine-restore", "--tables", "bars", "--yes").assert_told(
        3, "bars: close is not there any more", hint="--accept-lost-columns"
    )
    ended = dr("tdengine-restore", "--tables", "bars", "--accept-lost-columns", "--yes", timeout=300)
    assert ended.code == 0, ended.err
    count = "SELECT COUNT(*) AS n, COUNT(`note`) AS noted, COUNT(`extra`) AS extra FROM `bars`"
    assert run(host, [count])[0] == [{"n": 80, "noted": 80, "extra": 0}]
    assert run(host, ["SELECT DISTINCT `symbol`, `colour` FROM `bars` ORDER BY `symbol`"])[0] == [
        {"symbol": "600000", "colour": None}, {"symbol": "600001", "colour": None},
    ]  # fmt: skip


def test_what_the_second_engine_dumps_has_the_plain_tables_too_and_comes_back(tortured: Estate) -> None:
    """What it does not know or would write as something else is named, and stops no other."""
    said = tortured.backup.run(f"{PYTHON}-m agents.tdengine.backup.dump take", user="postgres", timeout=300).json()
    assert said["counts"]["plain"] > 0
    assert "blobs" in said["left_out"] and not said["counts"].keys() & said["left_out"].keys()
    assert set(said["left_out"]) == {"blobs", "every-type", "jsoned", "表'q"}
    assert said["left_out"]["jsoned"] == "taosdump cannot write a backslash in a tag (j)"
    assert "without blobs: taosdump knows no BLOB" in dr("backup.list", "--store", "tdengine").out
    run(tortured.backup, [f"DROP DATABASE IF EXISTS {SIDE}"])
    words = f"{PYTHON}-m agents.tdengine.backup.dump restore %s --into %s"
    back = tortured.backup.run(words, said["label"], SIDE, user="postgres", timeout=300).json()
    assert back["rows"] == said["counts"] and {"plain", "keyed-1", "bars"} <= set(back["rows"])
    made = ["SHOW CREATE TABLE `plain`", "DESCRIBE `keyed-1`"]
    assert run(tortured.backup, made) == run(tortured.backup, made, SIDE)
