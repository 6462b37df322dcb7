"""The outbox against a real PostgreSQL: triggers, missing and changed tables, locks, large records, and the proof."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from agents.base.config import Config, Table, load_config
from agents.writing.batch import Batch, encode
from agents.writing.letters import Letters
from agents.writing.outbox import Outbox
from agents.writing.proving import prove
from agents.writing.replayer import Replayer, drain_once
from agents.writing.writer import By, Writer
from tests.unit.agent_fixtures import config_file, order, orders, setting, tables
from tests.unit.fake_store import until
from tests.unit.postgres_server import DATABASE, Server, fresh_server

REFUSE = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.event_id % {} = 0 THEN RAISE EXCEPTION 'no order % today', NEW.event_id; END IF; RETURN NEW; END $$
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server: Server) -> Iterator[None]:
    yield
    server.sql("DROP TRIGGER IF EXISTS refuse ON order_records", "TRUNCATE order_records, system_config")


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


@pytest.fixture
def config(tmp_path: Path, server: Server) -> Config:
    hosts = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": server.port}]
    return load_config(config_file(tmp_path, hosts=hosts))


@pytest.fixture
def outbox(config: Config) -> Outbox:
    return Outbox(config.outbox.path)


def drained(config: Config, known: dict[str, Table], outbox: Outbox, seconds: float = 60.0) -> Replayer:
    replayer = Replayer(config, known, outbox, threading.Event())
    drain_once(outbox, replayer, seconds, threading.Event())
    replayer.close()
    return replayer


def refusing(server: Server, every: int) -> None:
    server.sql(
        REFUSE.format(every),
        "CREATE TRIGGER refuse BEFORE INSERT ON order_records FOR EACH ROW EXECUTE FUNCTION refuse()",
    )


def ids(server: Server) -> set[int]:
    return {row[0] for row in server.sql("SELECT event_id FROM order_records")}


def test_a_trigger_that_refuses_one_row_costs_that_row_alone(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    refusing(server, 777)
    for first in range(1, 2001, 100):
        rows = {"order_records": [order(n) for n in range(first, first + 100)], "system_config": [setting(first)]}
        outbox.enqueue(encode(known, rows), known, 7)
    done = drained(config, known, outbox).done
    assert (done.rows, done.dead) == (2018, 2)
    assert ids(server) == set(range(1, 2001)) - {777, 1554}
    assert [letter.last_error for letter in Letters(outbox.path).every()] == [
        "no order 777 today", "no order 1554 today",
    ]  # fmt: skip
    assert [one.missing for one in outbox.accounts()] == [0, 0]


def test_the_writer_goes_back_to_the_store_past_a_refused_row(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    refusing(server, 55)
    writer, stop = Writer(config, known, outbox, 7), threading.Event()
    replayer = Replayer(config, known, outbox, stop)
    by = []
    for first in range(1, 201, 10):
        by.append(writer.write(orders(known, first, first + 9)).by)
        drain_once(outbox, replayer, 10, stop)
    writer.close()
    replayer.close()
    assert by.count(By.OUTBOX) == 3
    assert ids(server) == set(range(1, 201)) - {55, 110, 165}


def test_a_missing_table_holds_its_own_rows_and_they_go_in_when_it_is_back(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    server.sql("ALTER TABLE system_config RENAME TO elsewhere")
    try:
        for first in range(1, 501, 10):
            rows = {"order_records": [order(n) for n in range(first, first + 10)], "system_config": [setting(first)]}
            outbox.enqueue(encode(known, rows), known, 7)
        drained(config, known, outbox)
        assert ids(server) == set(range(1, 501))
        status = outbox.status()
        assert (status.pending_rows, status.dead_rows) == (50, 0)
        assert "system_config" in (status.held or {})["system_config"]
    finally:
        server.sql("ALTER TABLE elsewhere RENAME TO system_config")
    assert until(lambda: drained(config, known, outbox) and not outbox.status().pending_rows)
    assert server.sql("SELECT event_id FROM system_config") == [(491,)], "the newest of the key"


def test_a_column_that_the_table_lacks_holds_and_kills_nothing(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    server.sql("ALTER TABLE order_records RENAME COLUMN remark TO note")
    try:
        outbox.enqueue(orders(known, 1, 500), known, 7)
        outbox.enqueue(encode(known, {"system_config": [setting(1)]}), known, 7)
        drained(config, known, outbox)
        status = outbox.status()
        assert (status.pending_rows, status.dead_rows) == (500, 0)
        assert server.sql("SELECT count(*) FROM system_config") == [(1,)]
    finally:
        server.sql("ALTER TABLE order_records RENAME COLUMN note TO remark")
    assert until(lambda: drained(config, known, outbox) and not outbox.status().pending_rows)
    assert len(ids(server)) == 500


def test_rows_from_before_a_column_with_a_default_was_added_go_in(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    outbox.enqueue(orders(known, 1, 100), known, 7)
    server.sql("ALTER TABLE order_records ADD COLUMN desk text NOT NULL DEFAULT 'main'")
    try:
        assert drained(config, known, outbox).done.rows == 100
        assert server.sql("SELECT DISTINCT desk FROM order_records") == [("main",)]
    finally:
        server.sql("ALTER TABLE order_records DROP COLUMN desk")


def test_a_lock_that_ends_in_a_deadlock_or_a_timeout_is_waited_out(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    server.sql("ALTER DATABASE quant_research SET lock_timeout = '50ms'")
    other = psycopg2.connect(host="127.0.0.1", port=server.port, dbname=DATABASE, user="postgres")
    other.cursor().execute("LOCK TABLE order_records IN ACCESS EXCLUSIVE MODE")
    outbox.enqueue(orders(known, 1, 100), known, 7)
    free = threading.Timer(1.0, other.rollback)
    free.start()
    try:
        replayer = drained(config, known, outbox, 20)
        assert (replayer.done.rows, outbox.status().dead_rows) == (100, 0)
    finally:
        free.join()
        other.close()
        server.sql("ALTER DATABASE quant_research RESET lock_timeout")


@pytest.mark.parametrize(("rows", "every"), [(20_000, 19_999), (20_000, 10)])
def test_a_large_record_with_refused_rows_ends_however_many_they_are(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox, rows: int, every: int
) -> None:
    refusing(server, every)
    outbox.enqueue(orders(known, 1, rows), known, 7)
    done = drained(config, known, outbox, 200).done
    assert (done.rows, done.dead) == (rows - rows // every, rows // every)
    assert outbox.status().pending_rows == 0
    assert len(ids(server)) == done.rows


def test_what_was_applied_is_proved_by_event_id_and_a_row_that_is_gone_is_named(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    outbox.enqueue(orders(known, 1, 100), known, 7)
    outbox.enqueue(encode(known, {"system_config": [setting(5, "a", "old"), setting(6, "b")]}), known, 7)
    drained(config, known, outbox)
    newer = Batch(encode(known, {"system_config": [setting(50, "a", "new")]}).parts)
    outbox.enqueue(newer, known, 7)
    drained(config, known, outbox)
    found = prove(config, known, outbox, 0)
    assert (found.proven, found.missing) == (103, 0)
    server.sql(
        "DELETE FROM order_records WHERE event_id = 42", "UPDATE system_config SET event_id = 1 WHERE config_key = 'b'"
    )
    found = prove(config, known, outbox, 0)
    assert (found.proven, found.missing) == (101, 2)
    assert set(found.examples) == {"event 42 of order_records", "event 6 of system_config"}


def test_a_corrected_letter_is_in_the_table_under_its_own_number(
    server: Server, config: Config, known: dict[str, Table], outbox: Outbox
) -> None:
    outbox.enqueue(encode(known, {"order_records": [order(1), order(2, side="SIDEWAYS"), order(3)]}), known, 7)
    drained(config, known, outbox)
    letters = Letters(outbox.path)
    (letter,) = letters.every()
    letters.edit(letter.id, {"side": "SELL"}, "typo")
    letters.retry([letter.id], known, "corrected", lambda n: range(1 << 62, (1 << 62) + n))
    drained(config, known, outbox)
    assert server.sql("SELECT side FROM order_records WHERE event_id = 2") == [("SELL",)]
    assert outbox.status().dead_rows == 0
