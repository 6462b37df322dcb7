"""TDengine on a real server, from the package that TDENGINE_PACKAGE names; without one each test is skipped by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agents.feed.ticks import SHARES
from deploys.run import deploy
from drills import feed as feeds
from drills import stores
from drills.measuring.tally import Writing
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes import app

pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.timeout(300),
    pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip


@pytest.fixture
def server(estate_lab: Estate) -> Host:
    return estate_lab.group("tdengine")[0]


def ask(server: Host, statement: str) -> list[dict[str, object]]:
    """Rows of one statement, asked as root on the server's own host."""
    text = server.run(
        "cd /opt/mystocks-dr && python3 -m agents.tdengine.admin sql", stdin=json.dumps({"sql": statement})
    ).text
    rows = json.loads(text)
    assert isinstance(rows, list)
    return rows


def ids(server: Host, table: str, run: int) -> list[int]:
    """The numbers of one feed's rows in a supertable, in order, each as often as it is there."""
    low = run << 32
    rows = ask(
        server,
        f"SELECT event_id FROM market_data.`{table}` WHERE event_id BETWEEN {low} AND {low + (1 << 32) - 1}",
    )
    return sorted(int(str(row["event_id"])) - low for row in rows)


def test_second_deploy_changes_nothing(estate_lab: Estate, server: Host) -> None:
    changes = deploy("lab", [server.name, estate_lab.app.name])
    assert changes.by_operation == {}
    assert changes.operations > 30


def test_password_that_everybody_knows_opens_nothing(server: Host) -> None:
    state = json.loads(server.run("cd /opt/mystocks-dr && python3 -m agents.tdengine.admin state").text)
    assert state["default_password"] is False
    assert {"td_writer", "td_backup"} <= set(state["users"])
    options = state["databases"]["market_data"]
    assert (options["precision"], options["wal_level"], options["wal_fsync_period"]) == ("ns", "2", "0")
    assert set(SHARES) <= {name.partition(".")[2] for name in state["supertables"]}


def test_killed_server_costs_no_acknowledged_row(estate_lab: Estate, server: Host, tmp_path: Path) -> None:
    """Killed under load it comes back by itself; what it did not acknowledge went to the outbox."""
    with feeds.running(estate_lab.app, 5000, 1, tmp_path, stores.TDENGINE) as feed:
        server.run("systemctl kill -s KILL taosd")
        feed.ledger.wait_for(lambda view: view.writing is Writing.OUTBOX, 30, "rows in the outbox")
        feed.ledger.wait_for(
            lambda view: view.writing is Writing.STORE and not view.awaiting_replay, 120, "rows in the store again"
        )
        feed.stop()
    until(
        lambda: app.outbox(estate_lab.app, settings="agent-tdengine.json"), 60, what="an empty outbox",
        accept=lambda box: not box.pending_records,
    )  # fmt: skip
    view = feed.ledger.view()
    assert view.run is not None
    acked = feed.ledger.acked_ids()
    assert set(acked) == set(SHARES)
    for table, numbers in acked.items():
        found = ids(server, table, view.run)
        assert len(found) == len(set(found)), f"{table} has rows twice"
        lacking = set(numbers) - set(found)
        assert not lacking, f"{len(lacking)} acknowledged rows are missing in {table}"
    assert view.by_outbox > 0
    assert view.acked > 5000


def test_ticks_of_one_nanosecond_stay_apart(server: Host) -> None:
    sub = "USING market_data.tick_data TAGS ('同刻', 'SSE') (ts, event_id, price, volume)"
    for number in (1, 2, 3, 3):
        ask(server, f"INSERT INTO market_data.same_instant {sub} VALUES (1700000000000000001, {number}, 1.5, 100)")
    rows = ask(server, "SELECT event_id FROM market_data.same_instant WHERE ts = 1700000000000000001")
    assert sorted(int(str(row["event_id"])) for row in rows) == [1, 2, 3]
    ask(server, "DROP TABLE market_data.same_instant")



SAVE_TICKS = """
import json, sys, time
from mystocks_dr import Client
now = time.time_ns()
def tick(n, **more):
    return {"ts": now + n % 2, "price": 10.5 + n, "volume": 100, "symbol": "600000", "exchange": "SSE", **more}
with Client.open() as client:
    ticks = [tick(n) for n in range(300)]
    ticks[7] = tick(7, direction="BUY")
    ticks[8] = tick(8, ts=now - 20 * 365 * 86_400 * 10**9)
    ack = client.save("tick_data", ticks)
    level = {"ts": now, "symbol": "600000", "exchange": "SSE", "bid_price_1": 10.5}
    depth = client.save("order_book_depth", [level])
refused = [str(one) for one in ack.refused]
print(json.dumps({"by": [ack.by.value, depth.by.value], "ids": ack.event_ids, "refused": refused}))
"""


def test_ticks_of_the_client_library_are_there_and_bad_ones_are_told(estate_lab: Estate, server: Host) -> None:
    """Field case: a tick that TDengine refuses was acknowledged, and held up every later one for ever."""
    said = estate_lab.app.run(
        "cd / && PYTHONPATH=/opt/mystocks-dr:/opt/mystocks-dr/client exec python3 -c %s", SAVE_TICKS, user="mystocks",
        timeout=60,
    ).json()  # fmt: skip
    assert said["by"] == ["store", "store"]
    wide, old = said["refused"]
    assert wide == "row 7: direction has 3 bytes, 1 are the most"
    assert old.startswith("row 8: ts is ")
    assert old.endswith("older than the 3650 days that TDengine keeps")
    found = ask(
        server,
        f"SELECT event_id FROM market_data.tick_data WHERE event_id BETWEEN {min(said['ids'])} AND {max(said['ids'])}",
    )
    assert sorted(int(str(row["event_id"])) for row in found) == sorted(said["ids"])
    assert len(said["ids"]) == 298
