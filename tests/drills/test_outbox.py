"""Nothing jams the outbox of a real estate, and whoever looks sees what waits, for what, and what was refused."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drills import feed as feeds
from drills.measuring.tally import Writing
from inventories.catalog.load import load_recovery
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.judge import objectives
from runbooks.look import status
from runbooks.probes import app, outbox
from runbooks.probes.outbox import POSTGRESQL, TDENGINE, Box
from runbooks.probes.postgresql import server
from tests.drills import estate as seen
from tests.drills.doors import Ended, dr

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
tdengine = pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package")

TRIGGER = """
create or replace function refuse() returns trigger language plpgsql as $$
begin if new.event_id % 1000 = 7 then raise exception 'no order % today', new.event_id; end if; return new; end $$;
create trigger refuse before insert on order_records for each row execute function refuse();
"""
UNDONE = "drop trigger if exists refuse on order_records; drop function if exists refuse();"
WRITE_TICK = """
import sys, time
from pathlib import Path
from agents.base.config import load_config, load_tables
from agents.writing.batch import encode
from agents.writing.outbox import Outbox
from agents.writing.writer import Writer
config = load_config(Path('/etc/mystocks-dr/agent-tdengine.json'))
tables = load_tables(config.tables)
outbox = Outbox.of(config)
writer = Writer(config, tables, outbox, 5)
first = int(sys.argv[1])
def tick(n, direction):
    return (time.time_ns() + n, first + n, 10.0, 100, None, None, None, None, None, direction, '600000', 'SSE')
rows = [tick(n, sys.argv[2] if n == 3 else 'B') for n in range(10)]
print(writer.write(encode(tables, {'tick_data': rows})).by.value)
writer.close()
"""


@pytest.fixture
def whole(estate_lab: Estate) -> Estate:
    return seen.make_whole(estate_lab)


@contextmanager
def executed(estate: Estate, before: str, after: str) -> Iterator[Host]:
    primary = server.the_primary(server.survey(estate)).host
    database = str(estate.data["database"])
    primary.execute(before, database)
    try:
        yield primary
    finally:
        primary.execute(after, database)


def named(estate: Estate) -> set[str]:
    """What `status` does not find as promised."""
    found = objectives.findings(status.look(estate), load_recovery().limits)
    return {finding.objective for finding in found}


def assert_named(estate: Estate, finding: str) -> None:
    """Where the machine is busy a look may not know about every host; it says so, and the next one does."""
    until(lambda: named(estate), 30, what=f"the finding {finding!r}", accept=lambda found: finding in found)


def decided(*words: str) -> Ended:
    """`outbox.dead` did what it was told."""
    ended = dr("outbox.dead", *words)
    assert ended.code == 0, ended.err
    return ended


def there(primary: Host, estate: Estate, table: str, run: int) -> set[int]:
    rows = primary.query(
        f"select event_id - ({run}::bigint << 32) as n from {table} where event_id >> 32 = {run}",
        str(estate.data["database"]),
    )
    return {int(row["n"]) for row in rows}


def test_a_trigger_that_refuses_one_row_in_a_thousand_holds_up_nothing_else(whole: Estate, tmp_path: Path) -> None:
    box = Box(whole.app, POSTGRESQL)
    with executed(whole, TRIGGER, UNDONE) as primary, feeds.running(whole.app, 1000, 1, tmp_path) as feed:
        time.sleep(12)
        waits = app.outbox(whole.app)
        feed.stop()
    until(lambda: app.outbox(whole.app), 60, what="an empty outbox", accept=lambda now: not now.pending_rows)
    assert waits.pending_rows < 3000, "the outbox is drained while the trigger still refuses"
    run = feed.run_number
    acked = {n for first, last in feed.ledger.acked_ids()["order_records"].ranges() for n in range(first, last + 1)}
    refused = {n for n in acked if ((run << 32) + n) % 1000 == 7}
    assert refused
    assert there(primary, whole, "order_records", run) == acked - refused
    letters = outbox.dead(box, "order_records", 10_000, 60)
    assert len(letters) == len(refused)
    assert all("no order" in str(letter["last_error"]) for letter in letters)
    assert_named(whole, "dead letters in the outbox")
    number = str(letters[0]["id"])
    decided("--show", number)
    said = decided("--edit", number, "--set", "remark=looked at", "--reason", "a test")
    assert json.loads(said.out)["remark"] == "looked at"
    assert f"{len(letters)} letters" in decided("--retry", "all", "--reason", "the trigger is gone").out
    until(lambda: app.outbox(whole.app), 60, what="no dead letter", accept=lambda now: not now.pending_rows)
    assert there(primary, whole, "order_records", run) == acked
    assert app.outbox(whole.app).dead_rows == 0


def test_a_missing_table_holds_its_own_rows_until_it_is_back(whole: Estate, tmp_path: Path) -> None:
    away, back = "alter table position_records rename to elsewhere", "alter table elsewhere rename to position_records"
    before = app.outbox(whole.app).dead_rows
    with feeds.running(whole.app, 1000, 1, tmp_path) as feed:
        with executed(whole, away, back) as primary:
            time.sleep(8)
            waits = app.outbox(whole.app)
            assert_named(whole, "position_records in the outbox")
            refused = dr("replay-outbox")
        until(lambda: app.outbox(whole.app), 90, what="an empty outbox", accept=lambda now: not now.held_records)
        feed.stop()
    until(lambda: app.outbox(whole.app), 60, what="an empty outbox", accept=lambda now: not now.pending_rows)
    assert set(waits.held) == {"position_records"}
    assert waits.dead_rows == before
    refused.assert_told(3, "position_records", hint="--accept-held")
    run = feed.run_number
    for table in ("order_records", "position_records"):
        acked = {n for first, last in feed.ledger.acked_ids()[table].ranges() for n in range(first, last + 1)}
        assert there(primary, whole, table, run) == acked


def test_the_runbook_drains_and_its_account_is_even(whole: Estate, tmp_path: Path) -> None:
    """The replayer stands still while rows come in, and is killed once and again while they leave."""
    whole.app.run("systemctl stop mystocks-replayer")
    primary = server.the_primary(server.survey(whole)).host
    with feeds.running(whole.app, 3000, 1, tmp_path) as feed:
        primary.run("systemctl stop postgresql@17-main", timeout=60)
        feed.ledger.wait_for(lambda view: view.writing is Writing.OUTBOX, 30, "the outbox")
        time.sleep(10)
        dr("replay-outbox").assert_told(3, "no PostgreSQL node takes writes")
        feed.stop()
    primary.run("systemctl start postgresql@17-main", timeout=60)
    until(lambda: server.survey(whole), 60, what="a primary", accept=lambda nodes: any(n.is_primary for n in nodes))
    dr("replay-outbox").assert_told(3, "no replayer runs")
    whole.app.run("systemctl start mystocks-replayer")
    for _ in range(8):
        whole.app.run("systemctl kill -s KILL mystocks-replayer", expect=None)
        time.sleep(0.5)
    ended = dr("replay-outbox", "--rate", "20000")
    assert ended.code == 0, ended.err
    assert "enqueued =" in ended.out
    assert "found in the store by event id" in ended.out
    acked = feed.ledger.acked_ids()
    for table, numbers in acked.items():
        found = there(primary, whole, table, feed.run_number)
        if table in ("order_records", "transaction_records"):
            assert found >= {n for first, last in numbers.ranges() for n in range(first, last + 1)}


@tdengine
def test_a_tick_that_tdengine_refuses_is_a_letter_and_every_later_one_goes_in(whole: Estate) -> None:
    box = Box(whole.app, TDENGINE)
    before = len(outbox.dead(box, "", 10_000, 60))
    first = int(time.time()) << 32
    for nth, direction in enumerate(("B", "BUY", "S", "S")):
        whole.app.run(
            "cd /opt/mystocks-dr && exec python3 - %s %s", first + nth * 100, direction, user="mystocks",
            stdin=WRITE_TICK,
        )  # fmt: skip
    until(lambda: outbox.status(box), 60, what="an empty outbox", accept=lambda now: not now.pending_rows)
    letters = outbox.dead(box, "", 10_000, 60)
    assert len(letters) == before + 1
    assert "0x2653" in str(letters[-1]["last_error"])
    rows = json.loads(dr("outbox.status", "--json").out)
    assert {row["store"] for row in rows} == {"postgresql", "tdengine"}
    assert sum(row["dead_rows"] for row in rows) >= 1
    assert_named(whole, "dead letters in TDengine's outbox")
    number = str(letters[-1]["id"])
    decided("--store", "tdengine", "--edit", number, "--set", "direction=B", "--reason", "one letter")
    decided("--store", "tdengine", "--retry", number, "--reason", "corrected")
    until(lambda: outbox.status(box), 60, what="no letter", accept=lambda now: not now.pending_rows)
    left = outbox.dead(box, "", 10_000, 60)
    assert len(left) == before, left[-1]
    ended = dr("replay-outbox", "--store", "tdengine")
    assert ended.code == 0, ended.err
    assert "found in the store by event id" in ended.out
