"""The client library on the application host, as the trading system uses it: saved, queued, taken over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab import faults
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.probes import app
from tests.drills.doors import dr
from tests.drills.estate import lab_of
from tests.drills.test_pitr import psql

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
QUEUE = "/tmp/test-recovery-queue.db"
SAVE = """
import json, sys
from mystocks_dr import Client
with Client.open() as client:
    ack = client.save("system_config", json.load(sys.stdin))
print(json.dumps({"by": ack.by and ack.by.value, "taken": ack.taken, "refused": [str(one) for one in ack.refused]}))
"""
# As the trading system's own code writes it.
FILL = """
import json, sqlite3, sys
queue = sqlite3.connect(sys.argv[1])
queue.execute("CREATE TABLE outbox_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, classification TEXT NOT NULL,"
    " target_database TEXT NOT NULL, data_json TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
    " retry_count INTEGER DEFAULT 0, status TEXT DEFAULT 'pending')")
for one in json.load(sys.stdin):
    names = "classification, target_database, data_json"
    queue.execute(f"INSERT INTO outbox_queue ({names}) VALUES (?, 'postgresql', ?)", one)
queue.commit()
"""


def row(key: str, value: str = "v") -> dict[str, str]:
    return {"config_key": key, "config_value": value, "updated_at": "2026-11-20T02:30:00Z"}


def save(estate: Estate, *rows: dict[str, str]) -> dict[str, object]:
    found = estate.app.run(
        "cd / && PYTHONPATH=/opt/mystocks-dr:/opt/mystocks-dr/client exec python3 -c %s", SAVE, user="mystocks",
        stdin=json.dumps(rows), timeout=30,
    ).json()  # fmt: skip
    assert isinstance(found, dict)
    return found


def values(estate: Estate) -> dict[str, str]:
    rows = psql(estate, "select config_key, config_value from system_config where config_key like 'client%';")
    return {key: value for key, value in rows}  # noqa: C416 - a list of two is no pair to a type checker


@pytest.fixture
def estate(estate_lab: Estate) -> Iterator[Estate]:
    psql(estate_lab, "delete from system_config where config_key like 'client%';")
    yield estate_lab
    estate_lab.app.run("rm -f %s*", QUEUE)


def test_the_store_has_what_it_acknowledged_and_a_bad_row_is_told(estate: Estate) -> None:
    said = save(estate, row("client-a"), row("client-b" * 9), row("client-c"))
    assert said == {"by": "store", "taken": [0, 2], "refused": ["row 1: config_key has 72 characters, 64 are the most"]}
    assert set(values(estate)) == {"client-a", "client-c"}


def test_what_the_outbox_acknowledged_is_in_the_store_when_it_is_back(estate: Estate) -> None:
    faults.isolate(lab_of(estate), estate.app.name, [host.address for host in estate.postgres])
    try:
        assert save(estate, row("client-x", "queued"))["by"] == "outbox"
    finally:
        faults.heal(lab_of(estate), estate.app.name)
    until(
        lambda: app.outbox(estate.app), "outbox.drain", what="an empty outbox", accept=lambda box: not box.pending_rows
    )
    assert values(estate) == {"client-x": "queued"}


def test_a_queue_that_was_left_on_the_host_is_taken_over(estate: Estate) -> None:
    save(estate, row("client-new", "newer"))
    items = [
        ("system_config", json.dumps({"table_name": "system_config", "data": [row("client-q1"), row("client-q2")]})),
        ("system_config", "{half"), ("weather", json.dumps([row("client-w")])),
    ]  # fmt: skip
    estate.app.run("exec python3 -c %s %s", FILL, QUEUE, user="mystocks", stdin=json.dumps(items))
    first = dr("outbox.import", QUEUE)
    assert first.code == 1
    assert "2 rows of 3 items are acknowledged: 2 by the store, 0 by the outbox; 2 items set aside" in first.out
    assert "item 2, system_config: its data are no JSON" in first.out
    assert "item 3, weather: weather is no table and no classification" in first.out
    assert set(values(estate)) == {"client-new", "client-q1", "client-q2"}
    again = dr("outbox.import", QUEUE)
    assert (again.code, "0 rows of 0 items" in again.out) == (0, True), again.err
    dr("outbox.import", "/tmp/nowhere.db").assert_told(2, "There is no file /tmp/nowhere.db on this host")
    estate.app.run("cp /etc/mystocks-dr/agent.json %s.json", QUEUE)
    dr("outbox.import", f"{QUEUE}.json").assert_told(1, "not a database")
