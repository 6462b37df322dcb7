"""The agents against a real PostgreSQL: one copy of every acknowledged row, whatever breaks in between."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from agents.base.config import Config, Host, Table, load_config
from agents.base.deadline import Deadline, DeadlineExceeded
from agents.base.errors import NoPrimary
from agents.postgresql import store as store_module
from agents.postgresql.primary import connect, find_primary
from agents.postgresql.store import Store, Unconfirmed, is_data_error
from agents.writing import replayer as replayer_program
from agents.writing import write_probe
from agents.writing.batch import Batch, encode
from agents.writing.outbox import Outbox
from agents.writing.replayer import Replayer, drain_once
from agents.writing.writer import By, Writer
from tests.unit.agent_fixtures import config_file, order, orders, setting, tables
from tests.unit.postgres_server import CuttingProxy, Server, folder_for_server, fresh_server

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("order_records", "transaction_records", "position_records", "daily_kline")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server: Server) -> Iterator[None]:
    yield
    server.sql(
        "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", f"TRUNCATE {', '.join(TABLES)}, system_config"
    )


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


@pytest.fixture
def config(tmp_path: Path, server: Server) -> Config:
    return load_config(config_at(tmp_path, server.port))


def config_at(folder: Path, *ports: int, **changes: object) -> Path:
    hosts = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": port} for port in ports]
    return config_file(folder, hosts=hosts, **changes)


@pytest.fixture
def store(config: Config, known: dict[str, Table]) -> Iterator[Store]:
    store = Store(find_primary(config, 5, "test"), known)
    yield store
    store.close()


def settings(known: dict[str, Table], *rows: tuple[object, ...]) -> Batch:
    return encode(known, {"system_config": rows})


def drained(config: Config, known: dict[str, Table], outbox: Outbox) -> Replayer:
    replayer = Replayer(config, known, outbox, threading.Event())
    drain_once(outbox, replayer, 10, threading.Event())
    replayer.close()
    return replayer


# ---- store ----


def test_text_of_every_kind_arrives_as_it_was(server: Server, store: Store, known: dict[str, Table]) -> None:
    remarks = ["止损\t单", "back\\slash", "\\N", "\\.", "line\r\nbreak", "", None, "\u2028\x85\x0b\x1c"]
    rows = [order(number, remark) for number, remark in enumerate(remarks, 1)]
    store.write(encode(known, {"order_records": rows}).parts, 5)
    found = server.sql("SELECT remark FROM order_records ORDER BY event_id")
    assert [row[0] for row in found] == remarks


def test_a_second_write_of_the_same_rows_changes_nothing(
    server: Server, store: Store, known: dict[str, Table]
) -> None:
    for _ in range(2):
        store.write(orders(known, 1, 50).parts, 5)
    assert server.sql("SELECT count(*), count(DISTINCT event_id) FROM order_records") == [(50, 50)]


def test_within_a_batch_the_newest_row_of_a_key_wins(
    server: Server, store: Store, known: dict[str, Table]
) -> None:
    batch = settings(known, setting(5, "a", "new"), setting(3, "a", "old"), setting(4, "b", "only"))
    store.write(batch.parts, 5)
    assert server.sql("SELECT config_key, config_value FROM system_config ORDER BY 1") == [
        ("a", "new"),
        ("b", "only"),
    ]


def test_an_older_row_never_overwrites_a_newer_one(
    server: Server, store: Store, known: dict[str, Table]
) -> None:
    for event, value in ((7, "new"), (6, "old")):
        store.write(settings(known, setting(event, "a", value)).parts, 5)
    assert server.sql("SELECT event_id, config_value FROM system_config") == [(7, "new")]


def test_a_data_error_rolls_the_whole_batch_back_and_the_session_goes_on(
    server: Server, store: Store, known: dict[str, Table]
) -> None:
    rows = {"system_config": [setting(1)], "order_records": [order(2, side="SIDEWAYS")]}
    with pytest.raises(psycopg2.Error) as error:
        store.write(encode(known, rows).parts, 5)
    assert is_data_error(error.value)
    store.write(orders(known, 3, 4).parts, 5)
    assert server.sql("SELECT (SELECT count(*) FROM system_config), count(*) FROM order_records") == [(0, 2)]


def test_sound_rows_are_kept_and_each_poison_row_stands_alone(
    server: Server, store: Store, known: dict[str, Table]
) -> None:
    rows = [order(number, side="SIDEWAYS" if number in (3, 8) else "BUY") for number in range(1, 12)]
    batch = encode(known, {"system_config": [setting(99)], "order_records": rows})
    sound, poison = store.write_sound_rows(batch.parts, 10)
    assert [(part.first, part.n) for part, _ in poison] == [(3, 1), (8, 1)]
    assert all("too long" in str(why) for _, why in poison)
    assert sum(part.n for part in sound) == 10
    found = [row[0] for row in server.sql("SELECT event_id FROM order_records ORDER BY 1")]
    assert found == [1, 2, 4, 5, 6, 7, 9, 10, 11]


# ---- deadline and acknowledgement ----


def test_a_table_that_is_altered_under_an_open_session_takes_what_it_takes(
    server: Server, store: Store, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its staging table went on refusing what the target took since, and rounded to the decimals that it had had."""
    store.write(orders(known, 1, 2).parts, 5)
    wide = encode(known, {"order_records": [order(number, side="SIDEWAYS") for number in range(3, 103)]})
    with pytest.raises(psycopg2.DataError):
        store.write(wide.parts, 5)
    kept = server.sql("SELECT numeric_scale FROM information_schema.columns WHERE (table_name, column_name) ="
                      " ('order_records', 'price')")
    assert kept == [(4,)]
    alter = "ALTER TABLE order_records ALTER side TYPE varchar(8), ALTER price TYPE numeric(18,6)"
    checks = [
        str(name) for (name,) in server.sql(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'order_records'::regclass AND contype = 'c'"
        )
    ]  # fmt: skip
    try:
        server.sql(*[f'ALTER TABLE order_records DROP CONSTRAINT "{name}"' for name in checks], alter)
        store.write(wide.parts, 5)
        monkeypatch.setattr(store_module, "STAGE_S", 0.0)
        (part,) = orders(known, 200, 200).parts
        store.write([replace(part, text=part.text.replace("10.5", "10.123456"))], 5)
        assert server.sql("SELECT count(*) FROM order_records WHERE side = 'SIDEWAYS'") == [(100,)]
        assert str(server.sql("SELECT price FROM order_records WHERE event_id = 200")[0][0]) == "10.123456"
    finally:
        server.sql("TRUNCATE order_records", "ALTER TABLE order_records ALTER side TYPE varchar(4),"
                   " ALTER price TYPE numeric(18,4)")


def test_two_tables_with_long_names_have_a_staging_table_each() -> None:
    first, second = "a" * 60 + "_1", "a" * 60 + "_2"
    assert store_module._stage_name(first) != store_module._stage_name(second)
    assert len(store_module._stage_name(first).string) < 64


def test_the_deadline_ends_the_call_without_cancelling_anything(server: Server, config: Config) -> None:
    connection = connect(config, config.hosts[0], "hanging")
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded), Deadline(connection, 0.2), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(30)")
    assert time.monotonic() - started < 2
    assert connection.closed
    assert "canceling statement" not in (server.folder / "log").read_text(encoding="utf-8", errors="replace")
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hanging'")


def test_the_deadline_does_not_touch_a_call_that_returns_in_time(config: Config) -> None:
    connection = connect(config, config.hosts[0], "test")
    for _ in range(3):
        with Deadline(connection, 0.3) as deadline, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        time.sleep(0.15)
    assert not deadline.expired
    connection.close()


def test_a_commit_without_its_standby_is_not_acknowledged_and_ends_as_one_copy(
    server: Server, config: Config, known: dict[str, Table], tmp_path: Path
) -> None:
    outbox = Outbox(config.outbox.path)
    writer = Writer(config, known, outbox, 7)
    assert writer.write(orders(known, 1, 5)).by is By.STORE
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    wait_for(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
    started = time.monotonic()
    ack = writer.write(orders(known, 6, 10))
    assert ack.by is By.OUTBOX
    assert time.monotonic() - started < 1.0
    server.sql("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    drained(config, known, outbox)
    assert server.sql("SELECT count(*), count(DISTINCT event_id) FROM order_records") == [(10, 10)]


def test_a_commit_whose_wait_was_cancelled_by_someone_is_not_acknowledged(
    server: Server, config: Config, known: dict[str, Table]
) -> None:
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    wait_for(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
    cancelling = threading.Thread(target=cancel_the_waiting_commit, args=(server,), daemon=True)
    cancelling.start()
    store = Store(find_primary(config, 5, "cancelled"), known)
    with pytest.raises(Unconfirmed):
        store.write(orders(known, 1, 1).parts, 10)
    cancelling.join(5)
    store.close()


def cancel_the_waiting_commit(server: Server) -> None:
    query = (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'cancelled' AND wait_event = 'SyncRep'"
    )
    wait_for(lambda: server.sql(query) != [])


def test_a_commit_whose_answer_got_lost_ends_as_one_copy(
    server: Server, known: dict[str, Table], tmp_path: Path
) -> None:
    proxy = CuttingProxy(server.port, b"COMMIT\0")
    through_proxy = load_config(config_at(tmp_path, proxy.port))
    outbox = Outbox(through_proxy.outbox.path)
    writer = Writer(through_proxy, known, outbox, 7)
    ack = writer.write(orders(known, 1, 20))
    assert (proxy.cuts, ack.by) == (1, By.OUTBOX)
    wait_for(lambda: server.sql("SELECT count(*) FROM order_records") == [(20,)])
    assert writer.write(orders(known, 21, 40)).by is By.OUTBOX
    drained(through_proxy, known, outbox)
    assert writer.write(orders(known, 41, 60)).by is By.STORE
    proxy.close()
    assert server.sql("SELECT count(*), count(DISTINCT event_id) FROM order_records") == [(60, 60)]


# ---- replayer ----


def test_a_poison_row_becomes_a_dead_letter_and_the_others_go_on(
    server: Server, config: Config, known: dict[str, Table]
) -> None:
    outbox = Outbox(config.outbox.path)
    for first in range(10, 60, 10):
        rows = [order(n, side="SIDEWAYS" if n == 34 else "BUY") for n in range(first, first + 10)]
        outbox.enqueue(encode(known, {"order_records": rows}), known, 7)
    done = drained(config, known, outbox).done
    assert (done.rows, done.dead) == (49, 1)
    status = outbox.status()
    assert (status.pending_rows, status.dead_rows, status.applied_rows) == (0, 1, 49)
    assert server.sql("SELECT count(*) FROM order_records WHERE event_id <> 34") == [(49,)]
    reported = [a.tables["order_records"] for a in outbox.applied_since(0, 7, 99)]
    assert sum(n for _, _, n in reported) == 49
    assert not any(first <= 34 <= last for first, last, _ in reported)


def test_a_failing_store_keeps_the_records_and_counts_the_tries(
    server: Server, config: Config, known: dict[str, Table]
) -> None:
    outbox = Outbox(config.outbox.path)
    outbox.enqueue(orders(known, 1, 5), known, 7)
    server.sql("ALTER TABLE order_records RENAME TO elsewhere")
    try:
        replayer = Replayer(config, known, outbox, threading.Event())
        replayer.step(2)
        replayer.close()
    finally:
        server.sql("ALTER TABLE elsewhere RENAME TO order_records")
    status = outbox.status()
    assert status.pending_rows == 5
    assert status.last_error is not None
    assert "order_records" in status.last_error
    assert drained(config, known, outbox).done.rows == 5


def test_replaying_by_hand_drains_and_says_what_it_did(
    server: Server,
    config: Config,
    known: dict[str, Table],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outbox = Outbox(config.outbox.path)
    for first in range(1, 2001, 100):
        outbox.enqueue(orders(known, first, first + 99), known, 7)
    assert replayer_program.main(["--config", str(tmp_path / "agent.json"), "--once"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["by"], report["applied_rows"], report["pending_rows"]) == ("once", 2000, 0)
    assert (report["host"], report["timeline"]) == ("127.0.0.1", 1)
    assert server.sql("SELECT count(*) FROM order_records") == [(2000,)]


def test_replaying_by_hand_without_a_database_ends_in_time_and_fails(
    config: Config, known: dict[str, Table], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Outbox(config.outbox.path).enqueue(orders(known, 1, 5), known, 7)
    path = config_at(tmp_path, 1)
    assert replayer_program.main(["--config", str(path), "--once", "--timeout", "0.5"]) == 1
    assert json.loads(capsys.readouterr().out)["pending_rows"] == 5


def test_a_hanging_replay_leaves_for_the_new_primary_at_the_promotion(
    server: Server, known: dict[str, Table], tmp_path: Path
) -> None:
    with folder_for_server() as folder:
        standby = server.standby(folder)
        try:
            both = load_config(config_at(tmp_path, server.port, standby.port))
            outbox = Outbox(both.outbox.path)
            outbox.enqueue(orders(known, 1, 20), known, 7)
            server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
            wait_for(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
            promoting = threading.Timer(0.7, standby.promote)
            promoting.start()
            replayer = Replayer(both, known, outbox, threading.Event())
            replayer.applying.patience = 20.0
            assert not replayer.step()
            assert replayer.step()
            promoting.join()
            replayer.close()
            assert replayer.done.timeline == 2
            assert standby.sql("SELECT count(*) FROM order_records") == [(20,)]
        finally:
            standby.stop()


# ---- primary and probe ----


def test_no_primary_names_every_host_and_its_reason(config: Config) -> None:
    gone = Config(
        (Host("127.0.0.1", port=1), Host("localhost", port=2)), "d", "u", config.tables, config.outbox
    )
    with pytest.raises(NoPrimary) as error:
        find_primary(gone, 0.2, "test")
    assert "127.0.0.1: " in str(error.value)
    assert "localhost: " in str(error.value)


def test_the_session_on_the_standby_becomes_the_primary_at_the_promotion(
    server: Server, known: dict[str, Table], tmp_path: Path
) -> None:
    with folder_for_server() as folder:
        standby = server.standby(folder)
        try:
            both = load_config(config_at(tmp_path, standby.port, server.port))
            primary = find_primary(both, 5, "test")
            assert (primary.connection.info.port, primary.timeline) == (server.port, 1)
            primary.connection.close()
            assert probed(tmp_path, both, "--host", "127.0.0.1", "--expect-failure")["stage"] == "insert"
            promoting = threading.Timer(0.3, standby.promote)
            promoting.start()
            alone = load_config(config_at(tmp_path, standby.port))
            found = find_primary(alone, 10, "test")
            promoting.join()
            # Both take writes now; the higher timeline is the primary.
            again = find_primary(both, 5, "test")
            assert [p.timeline for p in (found, again)] == [2, 2]
            assert again.connection.info.port == standby.port
            found.connection.close()
            again.connection.close()
        finally:
            standby.stop()


def probed(folder: Path, config: Config, *arguments: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "agents.writing.write_probe", "--config", str(folder / "agent.json"), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    outcome: dict[str, Any] = json.loads(run.stdout)
    return outcome


def test_the_probe_writes_one_committed_row(
    server: Server, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = server.sql("SELECT count(*) FROM dr_probe")[0][0]
    assert write_probe.main(["--config", str(tmp_path / "agent.json")]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["wrote"], outcome["host"], outcome["timeline"]) == (True, "127.0.0.1", 1)
    assert server.sql("SELECT count(*) FROM dr_probe") == [(before + 1,)]  # type: ignore[operator]


@pytest.mark.parametrize("arguments", [[], ["--host", "127.0.0.1"]])
def test_the_probe_of_a_dead_host_fails_in_time(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(config_at(tmp_path, 1))
    started = time.monotonic()
    assert write_probe.main(["--config", path, "--timeout", "0.5", *arguments]) == 1
    assert write_probe.main(["--config", path, "--timeout", "0.5", "--expect-failure", *arguments]) == 0
    assert time.monotonic() - started < 3
    assert not json.loads(capsys.readouterr().out.splitlines()[0])["wrote"]


@pytest.mark.parametrize(("word", "rows"), [("go\n", 1), ("", 0), ("no\n", 0)])
def test_the_probe_that_waits_for_its_word_writes_nothing_without_it(
    server: Server, config: Config, tmp_path: Path, word: str, rows: int
) -> None:
    before = server.sql("SELECT count(*) FROM dr_probe")[0][0]
    arguments = ["--config", str(tmp_path / "agent.json"), "--host", "127.0.0.1", "--when-told"]
    ran = subprocess.run(
        [sys.executable, "-m", "agents.writing.write_probe", *arguments], input=word, cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode == 0, bool(ran.stdout)) == (bool(rows), bool(rows))
    assert server.sql("SELECT count(*) FROM dr_probe") == [(before + rows,)]  # type: ignore[operator]


def test_a_commit_that_only_waits_for_its_standby_is_no_proof_of_a_fence(
    server: Server, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    wait_for(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
    path = str(tmp_path / "agent.json")
    assert (
        write_probe.main(["--config", path, "--host", "127.0.0.1", "--timeout", "1", "--expect-failure"]) == 1
    )
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["wrote"], outcome["stage"]) == (False, "commit")


# ---- the whole, with the server going away in the middle ----


def test_the_feed_loses_and_repeats_nothing_when_the_server_crashes(server: Server, tmp_path: Path) -> None:
    path = config_at(tmp_path, server.port)
    replayer = start("agents.writing.replayer", path)
    feed = start("agents.feed.feeder", path, "--rate", "2000", "--batch", "100")
    ledger = Reader(feed)
    try:
        wait_for(lambda: ledger.count("ack") > 10)
        server.stop()
        wait_for(lambda: ledger.count("store_down") > 0)
        time.sleep(1.5)
        server.start()
        wait_for(lambda: ledger.count("store_up") > 0)
        wait_for(lambda: ledger.lines[-1].get("by") == "store")
        time.sleep(0.5)
    finally:
        assert feed.stdin is not None
        feed.stdin.close()
        assert feed.wait(20) == 0
        replayer.send_signal(signal.SIGTERM)
        assert replayer.wait(10) == 0
    ledger.join(5)
    stop = ledger.lines[-1]
    acked = ledger.ids("ack")
    assert (stop["kind"], stop["acked"], stop["outbox_pending"]) == ("stop", len(acked), 0)
    assert ledger.longest_gap() < 1.0
    assert ledger.ids("replayed") == ledger.ids("ack", by="outbox")
    assert ledger.ids("replayed")
    found = [row for table in TABLES for row in server.sql(f"SELECT event_id & 4294967295 FROM {table}")]
    assert len(found) == len(set(found))
    assert acked <= {row[0] for row in found}


def test_the_feed_ends_by_itself_after_its_time_and_by_signal(server: Server, tmp_path: Path) -> None:
    path = config_at(tmp_path, server.port)
    by_time = start("agents.feed.feeder", path, "--rate", "500", "--batch", "50", "--seconds", "0.5")
    by_signal = start("agents.feed.feeder", path, "--rate", "500", "--batch", "50")
    ledger = Reader(by_signal)
    wait_for(lambda: ledger.count("ack") > 2)
    by_signal.send_signal(signal.SIGTERM)
    assert (by_signal.wait(10), by_time.wait(10)) == (0, 0)
    ledger.join(5)
    assert ledger.lines[-1]["kind"] == "stop"
    for feed in (by_time, by_signal):
        assert feed.stdin is not None
        feed.stdin.close()


def test_a_feed_that_was_killed_goes_on_with_its_run_and_tells_what_was_replayed(
    server: Server, tmp_path: Path
) -> None:
    path = config_at(tmp_path, server.port)
    first = start("agents.feed.feeder", path, "--rate", "2000", "--batch", "100")
    before = Reader(first)
    wait_for(lambda: before.count("ack") > 5)
    server.stop()
    wait_for(lambda: before.lines[-1].get("by") == "outbox" and before.count("ack") > 15)
    first.kill()
    first.wait()
    before.join(5)
    given_away = max(before.ids("ack"))
    again = ("--run", str(before.lines[1]["run"]), "--first", str(given_away + 1000))
    second = start("agents.feed.feeder", path, "--rate", "2000", "--batch", "100", *again)
    after = Reader(second)
    wait_for(lambda: after.count("ack") > 2)
    server.start()
    replayer = start("agents.writing.replayer", path)
    try:
        wait_for(lambda: after.lines[-1].get("by") == "store")
        time.sleep(0.5)
    finally:
        assert second.stdin is not None
        second.stdin.close()
        assert second.wait(20) == 0
        replayer.send_signal(signal.SIGTERM)
        assert replayer.wait(10) == 0
    after.join(5)
    assert after.lines[1]["run"] == before.lines[1]["run"]
    assert min(after.ids("ack")) == given_away + 1001
    assert before.ids("ack", by="outbox") <= after.ids("replayed")
    found = {row[0] for table in TABLES for row in server.sql(f"SELECT event_id & 4294967295 FROM {table}")}
    assert before.ids("ack") | after.ids("ack") <= found


def start(module: str, config: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, "--config", str(config), *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


class Reader(threading.Thread):
    """Collects the feed's lines with their times of arrival."""

    def __init__(self, feed: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.lines: list[dict[str, Any]] = [{}]
        self.times: list[float] = [time.monotonic()]
        self._feed = feed
        self.start()

    def run(self) -> None:
        assert self._feed.stdout is not None
        for line in self._feed.stdout:
            self.times.append(time.monotonic())
            self.lines.append(json.loads(line))

    def count(self, kind: str) -> int:
        return sum(line.get("kind") == kind for line in list(self.lines))

    def ids(self, kind: str, by: str | None = None) -> set[int]:
        return {
            seq
            for line in self.lines
            if line.get("kind") == kind and (by is None or line["by"] == by)
            for first, last in line["rows"].values()
            for seq in range(first, last + 1)
        }

    def longest_gap(self) -> float:
        times = [
            at
            for at, line in zip(self.times, self.lines, strict=True)
            if line.get("kind") in ("ack", "replayed")
        ]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)
