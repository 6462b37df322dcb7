"""A delayed standby of real servers: where a target lies ahead of it, and opened there without ceasing to be one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg2
import pytest

from runbooks.probes.postgresql import window
from tests.unit.delayed_kit import Failed, Pair, delayed_pair
from tests.unit.postgres_server import DATABASE

COUNT = "select count(*) from kept"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with delayed_pair() as made:
        made.primary.sql("create table other (n int)", "create table kept (n int)")
        yield made


@pytest.fixture
def bad(pair: Pair) -> Iterator[dict[str, Any]]:
    """Three rows, a moment, then a statement that deletes them all; afterwards the standby is one again."""
    pair.fresh()
    pair.primary.sql("truncate kept", "insert into kept values (1), (2), (3)")
    pair.primary.sql("select pg_create_restore_point('before')")
    moment = pair.primary.sql("select clock_timestamp()::text")[0][0]
    time.sleep(0.05)
    xid = _in_one(pair, "delete from kept")
    pair.primary.sql("insert into other values (1)")
    pair.arrived()
    yield {"xid": str(xid), "moment": str(moment)}
    with suppress(Failed):
        pair.drop()
    pair.standby.stop("fast")
    pair.standby.start()


def _in_one(pair: Pair, *statements: str) -> int:
    """Its number, of statements in one transaction."""
    words: dict[str, Any] = {"host": "127.0.0.1", "port": pair.primary.port, "user": "postgres", "dbname": DATABASE}
    with psycopg2.connect(**words) as one, one.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("select pg_current_xact_id()::text")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def test_it_is_opened_just_before_the_transaction_and_goes_on_behind_afterwards(
    pair: Pair, bad: dict[str, Any]
) -> None:
    before = pair.replayed
    place = pair.window("xid", bad["xid"])
    assert str(place["after"]["xid"]) == bad["xid"] and place["locks"] == []
    pair.standby.stop("fast")
    said = pair.open(place["stop"])
    assert said["standby"] and said["paused"] and not said["promoted"] and said["phase"] == "ready"
    assert pair.ask(said, COUNT) == "3"
    assert pair.open(place["stop"])["reached"] == said["reached"]  # the same again is answered by what is open
    pair.drop()
    pair.standby.start()
    assert pair.standby.sql("select pg_is_in_recovery(), current_setting('recovery_min_apply_delay')") == [(True, "1h")]
    assert pair.standby.sql(COUNT) == [(3,)]  # it has come as far, and what it would replay next it puts off
    assert before != pair.replayed
    assert not list((pair.standby.data.parent).glob("side-*"))


@pytest.mark.parametrize("kind", ["time", "name", "lsn"])
def test_a_moment_a_restore_point_and_a_position_lead_to_the_same_rows(
    pair: Pair, bad: dict[str, Any], kind: str
) -> None:
    by_xid = pair.window("xid", bad["xid"])
    value = {"time": bad["moment"], "name": "before", "lsn": by_xid["stop"]}[kind]
    place = pair.window(kind, value)
    assert place["before"]["lsn"] == by_xid["before"]["lsn"]
    assert str(place["after"]["xid"]) == bad["xid"]
    if kind != "name":
        pair.standby.stop("fast")
        assert pair.ask(pair.open(place["stop"]), COUNT) == "3"


def test_the_wal_is_looked_through_a_few_segments_at_a_time(pair: Pair, bad: dict[str, Any]) -> None:
    for _ in range(3):
        pair.primary.sql("insert into other values (3)", "select pg_switch_wal()")
    last = _in_one(pair, "insert into other values (4)")
    pair.arrived()
    for xid in (bad["xid"], str(last)):
        assert pair.window("xid", xid, at_once=1) == pair.window("xid", xid)


def test_with_the_target_included_the_rows_are_gone(pair: Pair, bad: dict[str, Any]) -> None:
    place = pair.window("xid", bad["xid"], inclusive=True)
    assert str(place["before"]["xid"]) == bad["xid"]
    pair.standby.stop("fast")
    assert pair.ask(pair.open(place["stop"]), COUNT) == "0"


def test_what_is_not_ahead_of_it_has_no_place(pair: Pair, bad: dict[str, Any]) -> None:
    assert pair.window("name", "nobody made it")["stop"] is None
    assert pair.window("xid", "3")["stop"] is None
    assert pair.window("time", "2100-01-01 00:00:00+00")["stop"] is None


def test_what_was_rolled_back_has_no_place(pair: Pair, bad: dict[str, Any]) -> None:
    connection = psycopg2.connect(host="127.0.0.1", port=pair.primary.port, user="postgres", dbname=DATABASE)
    with connection.cursor() as cursor:
        cursor.execute("insert into kept values (9)")
        cursor.execute("select pg_current_xact_id()::text")
        row = cursor.fetchone()
    connection.rollback()
    connection.close()
    pair.arrived()
    assert row is not None and pair.window("xid", str(row[0]))["stop"] is None


def test_a_restore_point_that_stands_twice_is_counted(pair: Pair, bad: dict[str, Any]) -> None:
    pair.primary.sql("select pg_create_restore_point('before')")
    pair.arrived()
    assert pair.window("name", "before")["times"] >= 2


def test_a_dropped_table_is_read_just_before_its_lock_with_all_that_was_committed(
    pair: Pair, bad: dict[str, Any]
) -> None:
    """At the commit of the DROP recovery holds its lock, and nobody could read the table."""
    pair.primary.sql("create table doomed (n int)", "insert into doomed values (1), (2)")
    lock = "lock table doomed in access exclusive mode"
    xid = _in_one(pair, lock, "insert into doomed values (3)", "drop table doomed")
    pair.primary.sql("insert into other values (2)")
    pair.arrived()
    place = pair.window("xid", str(xid))
    assert {(one["xid"], one["commits"]) for one in place["locks"]} == {(xid, 0)}
    assert place["locks"][0]["lsn"] < place["stop"]
    pair.standby.stop("fast")
    said = pair.open(place["locks"][0]["lsn"])
    assert pair.ask(said, "set statement_timeout = '5s'; select count(*) from doomed") == "2"
    pair.drop()
    said = pair.open(place["stop"])
    assert "canceling statement" in pair.ask(said, "set statement_timeout = '1s'; select count(*) from doomed")


def test_a_target_that_never_came_ends_it_and_the_standby_is_whole(pair: Pair, bad: dict[str, Any]) -> None:
    pair.standby.stop("fast")
    with pytest.raises(Failed, match="was not reached"):
        pair.open("7/0")
    pair.standby.start()
    assert pair.standby.sql("select pg_is_in_recovery()") == [(True,)]


def test_it_is_not_opened_while_its_own_server_runs(pair: Pair, bad: dict[str, Any]) -> None:
    with pytest.raises(Failed, match="The standby runs"):
        pair.open(pair.window("xid", bad["xid"])["stop"])
    pair.drop()
    assert pair.standby.sql("select pg_is_in_recovery()") == [(True,)], "dropping stopped a server that is not its own"


def test_killed_while_it_is_open_it_starts_as_the_delayed_standby(pair: Pair, bad: dict[str, Any]) -> None:
    place = pair.window("xid", bad["xid"])
    pair.standby.stop("fast")
    pair.open(place["stop"])
    pair.standby.stop("immediate")  # whoever holds the data
    pair.standby.start()
    assert pair.standby.sql("select pg_is_in_recovery(), current_setting('recovery_min_apply_delay')") == [(True, "1h")]
    pair.drop()
    assert pair.standby.sql("select pg_is_in_recovery()") == [(True,)], "dropping stopped a server that is not its own"


def test_it_tells_how_far_it_is_and_since_when(pair: Pair, bad: dict[str, Any]) -> None:
    replayed, next_xid, since = pair.standby.sql(window._SQL)[0]
    assert str(replayed) == pair.replayed
    assert int(str(next_xid)) <= int(bad["xid"]) and float(str(since)) < time.time()
    assert window.Window(0, 0.0, int(str(next_xid))).may_hold(int(bad["xid"]))
    assert not window.Window(0, 0.0, int(str(next_xid))).may_hold(int(bad["xid"]) + (1 << 32))


def test_a_table_is_read_with_its_partitions_their_indexes_and_what_is_kept_beside(
    pair: Pair, bad: dict[str, Any]
) -> None:
    pair.primary.sql(
        "create table parted (n int primary key, t text) partition by range (n)",
        "create table parted_1 partition of parted for values from (0) to (9)",
    )
    pair.fresh()

    def query(sql: str) -> list[dict[str, Any]]:
        return list(pair.standby.sql(f"select coalesce(json_agg(q), '[]') from ({sql}) q")[0][0])  # type: ignore[call-overload]

    def number(name: str) -> int:
        return int(str(pair.standby.sql(f"select '{name}'::regclass::oid::bigint")[0][0]))

    found = window.families(query, ("public.parted", "public.nobody"))
    assert found["public.nobody"] == window.Family()
    assert found["public.parted"].itself == {number("parted")}
    names = ("parted", "parted_1", "parted_pkey", "parted_1_pkey")
    assert {number(name) for name in names} < found["public.parted"].whole
    assert query(window.LOCKED) == []
