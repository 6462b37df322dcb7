"""The monitoring database: its schema by migrations, lines that are there once, months that go with a word."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from agents.base.errors import BadConfig
from agents.monitor import history, migrate, store
from agents.monitor.spool import line
from tests.unit.monitor_kit import Monitoring, operation, run

# ---- migrations


def test_each_migration_is_applied_once(db: Monitoring) -> None:
    wanted = migrate.migrations()
    with closing(db.connect()) as connection:
        assert migrate.migrate(connection, wanted) == []
    assert db.one("select count(*) from schema_migrations") == len(wanted)


def test_a_migration_that_fails_leaves_nothing_and_is_tried_again(db: Monitoring) -> None:
    wanted = migrate.migrations()
    number = len(wanted) + 1
    broken = migrate.Migration(number, "broken", "CREATE TABLE half (n int); SELECT 1/0")
    with closing(db.connect()) as connection:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            migrate.migrate(connection, [*wanted, broken])
        assert db.one("select to_regclass('half') is null")
        assert migrate.migrate(connection, [*wanted, replace(broken, sql="CREATE TABLE half (n int)")]) == ["broken"]


def test_an_applied_migration_that_was_edited_is_refused(db: Monitoring) -> None:
    first, *others = migrate.migrations()
    with closing(db.connect()) as connection:
        with pytest.raises(BadConfig, match="0001_logs was applied with other words"):
            migrate.migrate(connection, [replace(first, sql=first.sql + "-- more"), *others])
        with pytest.raises(BadConfig, match="newer: it has 0003_keeping"):
            migrate.migrate(connection, [first, *others][:2])


# ---- lines


def test_a_line_that_comes_twice_is_there_once(db: Monitoring) -> None:
    at = datetime.now(UTC).isoformat()
    lines = [operation("a", at), operation("b"), operation("a", at)]
    assert db.put(lines).new == 2
    receipt = db.put(lines)
    assert (receipt.lines, receipt.new, receipt.rejected) == (3, 0, 0)
    assert db.one("select count(*) from operation_logs") == 2


def test_the_newer_revision_stays_in_whatever_order_they_come(db: Monitoring) -> None:
    db.put([run("r", 7, "passed"), run("r", 3, None)])
    assert db.put([run("r", 5, "failed")]).new == 0
    assert db.sql("select outcome, steps_done from runs") == [("passed", 7)]
    assert db.put([run("r", 8, "abandoned")]).new == 1
    assert db.one("select outcome from runs") == "abandoned"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("not JSON at all", "it is no JSON"),
        ('{"kind": "operation"}', "it has no kind and data"),
        (operation("x", operation_type="GUESS"), "operation_logs_operation_type_check"),
        (operation("x", record_count="many"), "invalid input syntax for type bigint"),
        (operation("x", colour="red"), "operation_logs has no column colour"),
        (operation("x", error_message="a\0b"), "unsupported Unicode escape sequence"),
        (operation("x", execution_time_ms=float("nan")), "invalid input syntax for type json"),
        (operation("x", "yesterday evening"), "invalid input syntax for type timestamp"),
        (operation("x", "2019-01-01T00:00:00+00:00"), "row of operation_logs is of 2019-01-01, and 6 months are kept"),
        (operation("x", "2999-01-01T00:00:00+00:00"), "a row of operation_logs is of 2999-01-01"),
        (line("weather", {"rain": 1}), "nothing here takes lines of kind weather"),
    ],
)
def test_a_line_that_fits_nowhere_is_kept_and_stops_no_other(db: Monitoring, bad: str, why: str) -> None:
    receipt = db.put([operation("good"), bad, operation("better"), run("r", 1, None)])
    assert (receipt.new, receipt.rejected) == (3, 1)
    assert db.put([bad]).rejected == 1
    ((text, reason),) = db.sql("select line, why from rejected")
    assert why in reason and text.replace("\\u0000", "\0") == bad.replace("\\u0000", "\0")


def test_what_was_rejected_is_taken_once_a_table_has_room_for_it(db: Monitoring) -> None:
    db.put([operation("x", colour="red"), "garbage"])
    db.sql("alter table operation_logs add column colour text")
    with closing(db.connect()) as connection:
        assert store.again(connection) == 1
    assert db.sql("select colour from operation_logs") == [("red",)]
    assert db.sql("select line from rejected") == [("garbage",)]


def test_a_database_that_breaks_off_took_nothing(db: Monitoring) -> None:
    with closing(db.connect()) as connection:
        store.put(connection, [operation("before")])
        db.sql(f"select pg_terminate_backend({connection.info.backend_pid})")
        with pytest.raises(psycopg2.Error):
            store.put(connection, [operation("after")])
    assert db.sql("select operation_id from operation_logs") == [("before",)]


# ---- months


def test_each_month_has_its_partition_and_an_old_one_goes_with_a_line(db: Monitoring) -> None:
    now = datetime.now(UTC)
    old = (now.replace(day=1) - timedelta(days=70)).replace(day=15)
    db.put([operation("new"), operation("old", old.isoformat()), operation("older", old.isoformat())])
    parts = "select inhrelid::regclass::text from pg_inherits where inhparent = 'operation_logs'::regclass"
    assert {name for (name,) in db.sql(parts)} == {f"operation_logs_{one:%Y_%m}" for one in (now, old)}
    db.sql("update kinds set keep_months = 1 where kind = 'operation'")
    assert db.one("select monitor_expire()") == 2
    assert db.sql("select operation_id from operation_logs") == [("new",)]
    assert db.sql("select table_name, to_char(month, 'YYYY_MM'), number from expired") == [
        ("operation_logs", f"{old:%Y_%m}", 2)
    ]
    ahead = (now.replace(day=1) + timedelta(days=32)).strftime("operation_logs_%Y_%m")
    assert ahead in {name for (name,) in db.sql(parts)}, "next month's has to be there before it begins"
    assert db.put([operation("late", old.isoformat())]).rejected == 1


def test_a_row_of_the_last_minute_of_a_month_is_in_that_month_by_utc(db: Monitoring) -> None:
    db.sql("alter role postgres set timezone = 'Asia/Shanghai'")
    try:
        first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        db.put([operation("last", (first - timedelta(seconds=1)).isoformat()), operation("first", first.isoformat())])
    finally:
        db.sql("alter role postgres reset timezone")
    last = f"{first - timedelta(seconds=1):%Y_%m}"
    assert db.sql(f"select operation_id from operation_logs_{last}") == [("last",)]
    assert db.one("select count(*) from rejected") == 0


# ---- rights


def test_a_recorder_brings_lines_and_sees_none(db: Monitoring) -> None:
    db.sql("alter role recorder login", "alter role historian login")
    with closing(psycopg2.connect(db.dsn("recorder"))) as connection:
        assert store.put(connection, [operation("a"), "garbage"]).new == 1
    for statement in (
        "select * from operation_logs", "delete from operation_logs", "select monitor_expire()",
        "insert into runs select * from runs", "update incarnation set id = gen_random_uuid()",
    ):
        with closing(psycopg2.connect(db.dsn("recorder"))) as connection, pytest.raises(
            psycopg2.errors.InsufficientPrivilege
        ):
            connection.cursor().execute(statement)
    assert len(history.read(db.dsn("historian"), ["operations"], None, 9)["entries"]) == 1
    with closing(psycopg2.connect(db.dsn("historian"))) as connection, pytest.raises(
        psycopg2.errors.InsufficientPrivilege
    ):
        connection.cursor().execute("select monitor_put('run', '[]')")


# ---- the past


def test_the_past_is_told_newest_first_with_what_was_lost(db: Monitoring) -> None:
    lost = {"loss_id": "l", "machine": "app1", "number": 7, "why": "the disk was full", "last_at": "2026-11-28 10:00Z"}
    db.put([run("r", 9, "passed"), operation("o"), line("loss", lost), "garbage"])
    told = history.read(db.dsn(), ["runs", "operations", "drills", "backups", "alarms", "slow", "quality"], None, 99)
    assert [(one["what"], one["name"], one["outcome"]) for one in told["entries"]] == [
        ("operations", "save order_records", "success"), ("runs", "failover", "passed"),
    ]  # fmt: skip
    assert told["entries"][1] | {"estate": "mystocks", "seconds": 5.0, "says": "9 of 9 steps, r"} == told["entries"][1]
    assert told["losses"] == ["app1: 7 lines were let go unshipped by 2026-11-28 10:00 UTC, as the disk was full"]
    assert told["rejected"] == 1
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    since = history.read(db.dsn(), ["runs", "operations"], an_hour_ago.isoformat(), 99)
    assert [one["what"] for one in since["entries"]] == ["operations"] and since["losses"] == []


def test_a_list_that_was_cut_says_so(db: Monitoring) -> None:
    db.put([run("a", 1, None), run("b", 1, None), operation("o")])
    whole, cut = (history.read(db.dsn(), ["runs", "operations"], None, limit) for limit in (3, 2))
    assert (len(whole["entries"]), whole["cut"]) == (3, False)
    assert (len(cut["entries"]), cut["cut"], cut["entries"][0]["what"]) == (2, True, "operations")
