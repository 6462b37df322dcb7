"""The tracker's history service on real servers: the seed's paths, what it refuses, who answers in a failover."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base.config import load_config
from agents.base.errors import BadConfig
from agents.tracker.history import questions, reading
from agents.tracker.history.questions import Wrong, question
from agents.tracker.history.service import Service
from agents.tracker.history.sessions import Readers
from inventories.catalog.tracker import DATABASE
from tests.unit.postgres_server import Server, folder_for_server
from tests.unit.tracker_kit import settings, tracked_server

TODAY = date(2026, 11, 27)
ROWS = (
    "INSERT INTO daily_ohlc SELECT i, 'VCB', date '2026-01-01' + i, 90.10 + i, 91.5 + i, 89.5 + i, 90.25 + i, 1000 * i"
    " FROM generate_series(0, 300) i",
    # The exchange's 27th begins at 17:00 UTC of the 26th.
    "INSERT INTO trades (event_id, symbol, price, volume, value, trade_type, traded_at) VALUES"
    " (1, 'VCB', 90.5, 100, 9050, 'neutral', '2026-11-26 16:59:59Z'),"
    " (2, 'VCB', 90.6, 100, 9060, 'neutral', '2026-11-26 17:00:00Z'),"
    " (3, 'VCB', 90.7, 100, 9070, 'neutral', '2026-11-27 16:59:59Z'),"
    " (4, 'VCB', 90.8, 100, 9080, 'neutral', '2026-11-27 17:00:00Z'),"
    " (5, 'HPG', 27.5, 100, 2750, 'neutral', '2026-11-27 03:00:00Z')",
    "INSERT INTO foreign_snapshots VALUES (1, 'VCB', 900, 400, 500, 12.5, 0, '2026-11-27 03:00Z')",
    "INSERT INTO basis_history VALUES (1, 'VN30F2612', 1301.2, 1300.1, 1.1, '2026-11-27 03:00Z'),"
    " (2, 'VN30F2703', 1305.2, 1300.1, 5.1, '2026-11-27 03:01Z')",
    "INSERT INTO alerts VALUES (1, 'VCB', 'spike', 'đột biến', 'info', '2026-11-27 03:00Z'),"
    " (2, 'HPG', 'spike', NULL, NULL, '2026-11-27 04:00Z')",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tracked_server() as server:
        server.sql(*ROWS, database=DATABASE)
        yield server


@contextmanager
def serving(path: Path) -> Iterator[int]:
    service = Service(Readers(load_config(path)), port=0)
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield int(service.server_address[1])
    finally:
        service.shutdown()
        thread.join()
        service.server_close()
        service.readers.close()


@pytest.fixture(scope="module")
def port(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(settings(tmp_path_factory.mktemp("history"), server)) as port:
        yield port


def asked(port: int, target: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text, parse_float=str) if text else None
    finally:
        connection.close()


def rows(port: int, target: str) -> list[dict[str, Any]]:
    status, said = asked(port, target)
    assert status == 200, said
    assert said["source"] == "pg1 (primary, timeline 1)"
    return list(said["rows"])


def test_daily_bars_of_a_range_are_as_exact_as_the_database_has_them(port: int) -> None:
    found = rows(port, "/api/history/VCB/daily?from=2026-01-02&to=2026-01-03")
    assert found == [
        {"symbol": "VCB", "date": "2026-01-02", "open": "91.10", "high": "92.50", "low": "90.50", "close": "91.25",
         "volume": 1000},
        {"symbol": "VCB", "date": "2026-01-03", "open": "92.10", "high": "93.50", "low": "91.50", "close": "92.25",
         "volume": 2000},
    ]  # fmt: skip
    assert len(rows(port, "/api/history/vcb/daily?to=2026-10-28")) == 301, "a year without from"


def test_a_day_is_one_of_the_exchange(port: int) -> None:
    found = rows(port, "/api/history/VCB/trades?date=2026-11-27")
    assert [one["id"] for one in found] == [2, 3]
    assert found[0]["traded_at"] == "2026-11-27T00:00:00+07:00"


def test_foreign_basis_and_alerts_are_answered(port: int) -> None:
    days = "from=2026-11-27&to=2026-11-27"
    assert rows(port, f"/api/history/VCB/foreign?{days}")[0]["f_net_vol"] == 500
    assert [one["basis"] for one in rows(port, f"/api/history/basis?{days}")] == ["1.10", "5.10"]
    assert len(rows(port, f"/api/history/basis?{days}&futures=VN30F2703")) == 1
    assert [one["id"] for one in rows(port, f"/api/history/alerts?{days}")] == [2, 1], "the newest first"
    assert rows(port, f"/api/history/alerts?{days}&symbol=VCB")[0]["message"] == "đột biến"
    assert rows(port, "/api/history/HPG/foreign?from=2026-11-27&to=2026-11-27") == []


def test_a_limit_says_whether_there_is_more(port: int) -> None:
    target = "/api/history/VCB/daily?from=2026-01-01&to=2026-01-10&limit="
    for limit, n, more in ((3, 3, True), (10, 10, False), (11, 10, False)):
        status, said = asked(port, f"{target}{limit}")
        assert (status, len(said["rows"]), said["more"]) == (200, n, more)
    assert [one["date"][-2:] for one in asked(port, f"{target}3")[1]["rows"]] == ["01", "02", "03"]


@pytest.mark.parametrize(
    ("target", "status", "says"),
    [
        ("/", 404, "There is no /"),
        ("/api/history/", 404, "There is no"),
        ("/api/history/VCB/weekly", 404, "There is no"),
        ("/api/history/VCB/basis", 404, "There is no"),
        ("/api/history/daily", 404, "There is no"),
        ("/api/history/VCB/daily/x", 404, "There is no"),
        ("/api/history/V%20CB/daily", 400, "is no symbol"),
        ("/api/history/VCB';--/daily", 400, "is no symbol"),
        ("/api/history/ABCDEFGHIJK/daily", 400, "is no symbol"),
        ("/api/history/VCB/daily?from=yesterday", 400, "from is 'yesterday'"),
        ("/api/history/VCB/daily?from=2026-02-30", 400, "from is '2026-02-30'"),
        ("/api/history/VCB/daily?from=2026-03-01&to=2026-02-01", 400, "after to"),
        ("/api/history/VCB/daily?form=2026-03-01", 400, "'form' is no word here"),
        ("/api/history/VCB/daily?from=2026-03-01&from=2026-03-02", 400, "said twice"),
        ("/api/history/VCB/daily?limit=0", 400, "limit is '0'"),
        ("/api/history/VCB/daily?limit=1e3", 400, "limit is '1e3'"),
        ("/api/history/VCB/daily?limit=50001", 400, "limit is '50001'"),
        ("/api/history/VCB/trades?date=20261127", 400, "date is '20261127'"),
        ("/api/history/alerts?symbol=%00", 400, "is no symbol"),
        ("/api/history/basis?x", 400, "cannot be read"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_a_hint(port: int, target: str, status: int, says: str) -> None:
    got, said = asked(port, target)
    assert got == status and says in said["error"] and said["hint"]


@given(st.text(max_size=60))
def test_no_target_is_worse_than_wrong(text: str) -> None:
    try:
        found = question(f"/api/history/{text}", TODAY)
    except Wrong as why:
        assert why.status in (400, 404) and why.hint
    else:
        assert found.limit <= questions.MOST


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(port: int, method: str) -> None:
    status, said = asked(port, "/api/history/alerts", method)
    assert status == 405 and "read only" in said["error"]


def test_its_sessions_cannot_write_whatever_they_are_asked(server: Server, tmp_path: Path) -> None:
    server.sql("GRANT INSERT ON alerts TO reader", database=DATABASE)
    readers = Readers(load_config(settings(tmp_path, server)))
    try:
        answer = readers.ask("SELECT current_setting('transaction_read_only') AS says LIMIT %s", (1,), 1)
        assert '"on"' in answer.json and not answer.more
    finally:
        readers.close()
        server.sql("REVOKE INSERT ON alerts FROM reader", database=DATABASE)


def test_a_question_that_the_server_refuses_leaves_no_session_behind(server: Server, tmp_path: Path) -> None:
    readers = Readers(load_config(settings(tmp_path, server)))
    with pytest.raises(psycopg2.Error) as kept:  # and with it all that was at hand there
        readers.ask("SELECT no_column LIMIT %s", (1,), 1)
    left = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND query LIKE '%no_column%'"
    deadline = time.monotonic() + 5
    while server.sql(left)[0][0] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.sql(left) == [(0,)] and kept.value


def test_head_gives_no_body(port: int) -> None:
    assert asked(port, "/api/history/alerts", "HEAD") == (200, None)


def test_without_any_server_the_answer_is_503_and_comes_in_time(tmp_path: Path) -> None:
    with serving(settings(tmp_path, None)) as port:
        started = time.monotonic()
        status, said = asked(port, "/api/history/alerts")
        assert status == 503 and "No server answers" in said["error"] and time.monotonic() - started < 3


def test_a_database_without_the_table_is_503_and_names_what_shows_its_revision(tmp_path: Path) -> None:
    with tracked_server() as server:
        server.sql("DROP TABLE alerts", database=DATABASE)
        with serving(settings(tmp_path, server)) as port:
            status, said = asked(port, "/api/history/alerts")
            assert status == 503 and "alerts" in said["error"] and "tracker-migrate" in said["hint"]


def test_readers_go_on_while_the_primary_dies_and_follow_the_new_one(tmp_path: Path) -> None:
    with tracked_server() as primary, folder_for_server() as place:
        primary.sql(*ROWS, database=DATABASE)
        standby = primary.standby(place)
        try:
            _replayed(primary, standby)
            with serving(settings(tmp_path, primary, standby)) as port:
                target = "/api/history/VCB/daily?from=2026-01-01&to=2026-10-28"
                assert asked(port, target)[1]["source"] == "pg1 (primary, timeline 1)"
                primary.stop()
                seen = _sources(port, target, lambda source: "standby" in source)
                assert seen[-1] == "pg2 (standby)", seen
                standby.promote()
                seen = _sources(port, target, lambda source: "primary" in source)
                assert seen[-1] == "pg2 (primary, timeline 2)", seen
        finally:
            standby.stop()


def _replayed(primary: Server, standby: Server) -> None:
    written = primary.sql("SELECT pg_current_wal_lsn()")[0][0]
    for _ in range(200):
        if standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{written}'", database="postgres")[0][0]:
            return
        time.sleep(0.05)
    raise AssertionError("the standby did not follow")


def _sources(port: int, target: str, wanted: Any) -> list[str]:
    """Who answered, until the wanted one did; every answer in between was whole."""
    seen: list[str] = []
    ends = time.monotonic() + 15
    while time.monotonic() < ends:
        status, said = asked(port, target)
        assert status == 200 and len(said["rows"]) == 301, said
        seen.append(said["source"])
        if wanted(said["source"]):
            return seen
        time.sleep(0.05)
    return seen


def test_the_reader_of_a_drill_tells_who_answered_and_who_did_not(port: int) -> None:
    told = reading.asked(f"http://127.0.0.1:{port}/api/history/alerts")
    assert told["ok"] is True and told["source"] == "pg1 (primary, timeline 1)"
    wrong = reading.asked(f"http://127.0.0.1:{port}/api/history/nothing")
    assert wrong["ok"] is False and "404" in str(wrong["why"])
    assert reading.asked("http://127.0.0.1:9/")["ok"] is False


def test_a_port_that_is_taken_is_bad_configuration(server: Server, tmp_path: Path, port: int) -> None:
    with pytest.raises(BadConfig, match=f"127.0.0.1:{port} cannot be listened on"):
        Service(Readers(load_config(settings(tmp_path, server))), port=port)
