"""A primary and its standby, while thousands of rows a second are written, changed and deleted: what differs is told,
and a row that is on its way is no difference.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from inventories.catalog import load_tables
from inventories.errors import BadInput, TimedOut
from runbooks.probes.postgresql.server import Node
from runbooks.validation import copies as choosing
from runbooks.validation.content import Copies, compare
from runbooks.validation.difference import Looked
from tests.unit import heap_damage
from tests.unit.postgres_server import DATABASE, Server, folder_for_server
from tests.unit.record_kit import SYSTEM
from tests.unit.test_objectives import host
from tests.unit.test_validation_content import NAMES, short
from tests.unit.validation_kit import COLUMNS, Validated

QUOTE = (
    "INSERT INTO realtime_quotes (event_id, symbol, price, quoted_at) SELECT %(e)s, 'Q' || i, random() * 100, "
    "clock_timestamp() FROM generate_series(1, 40) i ON CONFLICT (symbol) DO UPDATE SET event_id = excluded.event_id, "
    "price = excluded.price, quoted_at = excluded.quoted_at"
)
ORDERS = (
    f"INSERT INTO order_records {COLUMNS['order_records']} SELECT %(e)s::bigint * 1000 + i, 'L' || %(e)s || '-' || i, "
    "clock_timestamp(), 'A1', 's', 'X', 'BUY', 'LIMIT', 10, 100, 'NEW' FROM generate_series(1, 100) i"
)
CORRECT = "UPDATE order_records SET remark = 'late ' || %(e)s WHERE event_id = 1 + %(e)s %% 2000"
CANCEL = "DELETE FROM transaction_records WHERE event_id = (SELECT min(event_id) FROM transaction_records)"


@dataclass
class Load:
    """Writers in transactions of several statements, one of them with savepoints and some that are undone."""

    port: int
    rate: float = 3000  # rows a second of one writer: a standby on a shared machine has to keep up
    rows: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=DATABASE)
        count, began = number * 10_000_000, time.monotonic()
        with connection.cursor() as cursor:
            while not self.stop.is_set():
                count += 1
                for statement in (ORDERS, "SAVEPOINT s", QUOTE, CORRECT, CANCEL):
                    cursor.execute(statement, {"e": count} if "%" in statement else None)
                cursor.execute("ROLLBACK TO s" if count % 3 == 0 else "RELEASE s")
                connection.rollback() if count % 7 == 0 else connection.commit()
                self.rows += 142
                ahead = (count - number * 10_000_000) * 142 / self.rate - (time.monotonic() - began)
                self.stop.wait(max(0.0, ahead))
        connection.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Validated, Validated]]:
    with folder_for_server() as one, folder_for_server() as two:
        primary = Server(one)
        primary.create()
        primary.sql("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        made = Validated(primary, DATABASE)
        made.fill(2000)
        standby = primary.standby(two)
        try:
            yield made, Validated(standby, DATABASE)
        finally:
            standby.stop()
            primary.stop()


def copies(pair: tuple[Validated, Validated], follows: bool = True) -> Copies:
    primary, standby = pair
    if not follows:
        return Copies(standby.asked, primary.asked, False, 60)
    return Copies(primary.asked, standby.asked, True, 60, 30)


def looked(made: Copies) -> Looked:
    tables, lacks = choosing.hashed(load_tables(), (*NAMES, "realtime_quotes"), made.base, made.other)
    assert not lacks
    return compare(made, tables.values(), lambda _: None)


def test_rows_on_their_way_are_no_difference(pair: tuple[Validated, Validated]) -> None:
    load = Load(pair[0].server.port)
    threads = [threading.Thread(target=load.run, args=(n,), daemon=True) for n in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        began = time.monotonic()
        found = [looked(copies(pair)) for _ in range(6)]
        rate = load.rows / (time.monotonic() - began)
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(20)
    assert [str(one) for look in found for one in look.differences] == []
    assert all(look.number > 4000 for look in found)
    assert rate > 500, f"{rate:.0f} rows/s are no load"
    after = looked(copies(pair))
    assert (after.differences, after.undecided) == ((), "")


def test_a_standby_that_does_not_come_so_far_is_told(pair: tuple[Validated, Validated]) -> None:
    primary, standby = pair
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        primary.sql("UPDATE order_records SET remark = 'x' WHERE event_id = 5")
        made = Copies(primary.asked, standby.asked, True, 60, 0.5)
        with pytest.raises(TimedOut, match="to replay"):
            looked(made)
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")


def test_what_was_written_after_a_restored_copy_supersedes_it_and_what_is_gone_is_told(
    pair: tuple[Validated, Validated],
) -> None:
    """A standby whose replay stands still is one here."""
    primary, standby = pair
    assert not looked(copies(pair)).differences
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        primary.sql(
            "UPDATE order_records SET remark = 'later' WHERE event_id BETWEEN 20 AND 30",
            "INSERT INTO realtime_quotes (event_id, symbol, price, quoted_at) VALUES (1, 'NEW', 1, now())",
        )
        assert looked(copies(pair, follows=False)).differences == ()
        primary.sql("DELETE FROM position_records WHERE event_id = 2000017")
        [found] = looked(copies(pair, follows=False)).differences
        assert (found.table, short(found.what)) == ("position_records", "row account_id=B17")
        assert found.found == "no such row"
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")


def test_damage_on_the_standby_that_no_wal_tells_of_is_found_while_rows_are_written(
    pair: tuple[Validated, Validated],
) -> None:
    primary, standby = pair
    primary.sql(
        "UPDATE strategy_parameters SET is_active = true",
        "INSERT INTO system_config (event_id, config_key, config_value, updated_at) SELECT i, 'key' || i, "
        "'value-' || i, now() FROM generate_series(101, 120) i ON CONFLICT DO NOTHING",
        "VACUUM (FREEZE) system_config", "CHECKPOINT",
    )
    place = Path(str(primary.sql("SELECT pg_relation_filepath('system_config')")[0][0]))
    made = copies(pair)
    tables, _ = choosing.hashed(load_tables(), ("system_config", "order_records"), made.base, made.other)
    assert not compare(made, tables.values(), lambda _: None).differences
    standby.sql("CHECKPOINT")
    standby.server.stop("fast")
    heap_damage.exchange(standby.server.data / place, b"value-107", b"value-1O7")
    heap_damage.remove(standby.server.data / place, b"value-113")
    standby.server.start()
    load = Load(primary.server.port)
    thread = threading.Thread(target=load.run, args=(9,), daemon=True)
    thread.start()
    try:
        found = compare(made, tables.values(), lambda _: None)
    finally:
        load.stop.set()
        thread.join(20)
    assert [str(one) for one in found.differences if "config_value" in one.what] == [
        "content: system_config: row config_key=key107: config_value: expected value-107, found value-1O7"
    ]
    assert {short(one.what) for one in found.differences} == {
        "row config_key=key107: config_value", "row config_key=key113"
    }  # fmt: skip


def test_one_of_several_standbys_is_chosen_and_the_others_are_said_to_be_left_out() -> None:
    def node(name: str, **facts: Any) -> Node:
        return Node(host(name), ssh=True, online=True, system=SYSTEM, timeline=1, **facts)

    primary, others = node("pg1", in_recovery=False), [node(name, in_recovery=True) for name in ("pg2", "pg3")]
    nodes = (primary, *others)
    pair, beside = choosing.standby(nodes, primary, DATABASE)
    assert (pair.other.host.name, beside) == ("pg2", "not compared: pg3 (--side pg3)")
    pair, beside = choosing.standby(nodes, primary, DATABASE, "pg3")
    assert (pair.other.host.name, beside) == ("pg3", "not compared: pg2 (--side pg2)")
    assert choosing.standby(nodes[:2], primary, DATABASE)[1] == ""
    with pytest.raises(BadInput, match="pg9 is no standby that answers"):
        choosing.standby(nodes, primary, DATABASE, "pg9")
