"""The trading system's own interface: its queue's file is read by either code, and its manager's calls lose nothing."""

from __future__ import annotations

import json
import sqlite3
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import BadRow, OutboxFull
from agents.client import BatchFailureStrategy, Client, FailureRecoveryQueue, Manager, NotAcknowledged, recovery_queue
from agents.client import client as client_module
from agents.client import manager as manager_module
from agents.client.recovery_queue import QueueUnusable
from agents.client.takeover import take_over
from agents.writing.writer import Writer
from tests.unit import client_kit as kit
from tests.unit.client_kit import NOW, client, lines, order

# As the trading system's code makes, fills and reads it.
THEIR_TABLE = (
    "CREATE TABLE IF NOT EXISTS outbox_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, classification TEXT NOT NULL,"
    " target_database TEXT NOT NULL, data_json TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
    " retry_count INTEGER DEFAULT 0, status TEXT DEFAULT 'pending')"
)
THEIR_INSERT = "INSERT INTO outbox_queue (classification, target_database, data_json) VALUES (?, ?, ?)"
THEIR_SELECT = (
    "SELECT id, classification, target_database, data_json FROM outbox_queue WHERE status = 'pending'"
    " ORDER BY created_at ASC LIMIT ?"
)


class Kind(Enum):
    ORDERS = "order_records"


@pytest.fixture
def queue(tmp_path: Path) -> FailureRecoveryQueue:
    return FailureRecoveryQueue(str(tmp_path / "below" / "queue.db"))


def their(queue: FailureRecoveryQueue, statement: str, *words: Any) -> list[Any]:
    connection = sqlite3.connect(queue.db_path)
    try:
        with connection:
            return connection.execute(statement, words).fetchall()
    finally:
        connection.close()


def test_what_we_put_in_their_code_reads_and_the_other_way_round(queue: FailureRecoveryQueue) -> None:
    their(queue, THEIR_TABLE)
    number = queue.enqueue("order_records", "postgresql", {"data": [{"order_id": "O1"}]})
    their(queue, THEIR_INSERT, "tick_data", "tdengine", json.dumps({"data": []}))
    ours, old = queue.get_pending_items(), their(queue, THEIR_SELECT, 100)
    assert ours == old == [
        (number, "order_records", "postgresql", '{"data": [{"order_id": "O1"}]}'),
        (number + 1, "tick_data", "tdengine", '{"data": []}'),
    ]  # fmt: skip
    assert queue.get_pending_items(limit=1) == ours[:1]


def test_an_item_is_completed_or_failed_and_counts_its_tries(queue: FailureRecoveryQueue) -> None:
    first, second = (queue.enqueue("a", "b", {}) for _ in range(2))
    assert queue.mark_completed(first)
    assert queue.mark_failed(second)
    assert not queue.mark_failed(99)
    assert queue.get_pending_items() == []
    assert their(queue, "SELECT status, retry_count FROM outbox_queue ORDER BY id") == [("completed", 0), ("failed", 1)]
    assert queue.retry_failed() == 1
    assert [item[0] for item in queue.get_pending_items()] == [second]


def test_what_plain_json_cannot_hold_is_held(queue: FailureRecoveryQueue) -> None:
    data = {
        "at": NOW, "day": date(2026, 11, 20), "money": Decimal("10.50"), "gap": float("nan"), "far": float("inf"),
        "kind": Kind.ORDERS, "set": {1}, "text": "\ud800中", 5: "five",
    }  # fmt: skip
    queue.enqueue(Kind.ORDERS, "postgresql", data)
    ((_, classification, _, text),) = queue.get_pending_items()
    assert classification == "order_records"
    assert json.loads(text) == {
        "at": "2026-11-20T02:30:00+00:00", "day": "2026-11-20", "money": "10.50", "gap": None, "far": "Infinity",
        "kind": "order_records", "set": [1], "text": "\ud800中", "5": "five",
    }  # fmt: skip


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_failed_save_of_a_frame_is_kept(queue: FailureRecoveryQueue, library: str) -> None:
    """Their manager calls it with a DataFrame, which their own queue loses with an exception."""
    module = kit.library(library)
    frame = module.DataFrame({"symbol": ["A", "B"], "at": [NOW, None], "price": [1.5, None]})
    queue.add_failed_operation(
        operation_type="save", classification="daily_kline", data=frame, table_name="daily_kline",
        kwargs={"upsert": True}, error="connection refused",
    )  # fmt: skip
    ((_, classification, _, text),) = queue.get_pending_items()
    assert classification == "daily_kline"
    assert json.loads(text) == {
        "operation_type": "save", "table_name": "daily_kline", "kwargs": {"upsert": True},
        "error": "connection refused",
        "data": [
            {"symbol": "A", "at": "2026-11-20T02:30:00+00:00", "price": 1.5},
            {"symbol": "B", "at": None, "price": None},
        ],
    }  # fmt: skip


def test_what_nobody_can_keep_is_one_sentence(queue: FailureRecoveryQueue) -> None:
    nested: list[Any] = []
    nested.append(nested)
    for data in (object(), b"bytes", nested):
        with pytest.raises(BadRow, match="cannot be kept") as error:
            queue.enqueue("a", "b", {"data": data})
        assert error.value.hint
    assert queue.get_pending_items() == []


def _other(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trades (id INTEGER)")
    connection.close()


def _ours(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE outbox_queue (id, classification, target_database, data, checksum)")
    connection.close()


def _cut(path: Path) -> None:
    queue = FailureRecoveryQueue(str(path))
    for _ in range(50):
        queue.enqueue("a", "b", {"x": "y" * 500})
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text("no database at all" * 50), "not a database"), (_other, "another application"),
        (_ours, "outbox of a host"), (lambda path: path.mkdir(), "unable to open"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_queue_is_named_and_left_as_it_is(tmp_path: Path, make: Any, why: str) -> None:
    path = tmp_path / "queue.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(QueueUnusable, match=why) as error:
        FailureRecoveryQueue(str(path))
    assert error.value.hint
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_file_that_was_half_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    _cut(path)
    with pytest.raises(QueueUnusable, match=r"malformed|disk image"):
        FailureRecoveryQueue(str(path)).get_pending_items()


def test_a_file_on_a_shared_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_queue, "shared_kind", lambda path: "nfs4")
    with pytest.raises(QueueUnusable, match="nfs4, where locks do not hold"):
        FailureRecoveryQueue(str(tmp_path / "queue.db"))


def test_the_kind_of_a_file_system_is_that_of_the_longest_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = f"/dev/sda / ext4 rw 0 0\nhost:/x {tmp_path} nfs4 rw 0 0\n/dev/sdb {tmp_path}/a ext4 rw 0 0\n"
    (tmp_path / "mounts").write_text(mounts)
    real = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self, **kw: mounts if str(self) == "/proc/self/mounts" else real(self, **kw)
    )
    assert recovery_queue.shared_kind(tmp_path / "q.db") == "nfs4"
    assert recovery_queue.shared_kind(tmp_path / "a" / "q.db") == ""


@pytest.fixture
def saves(tmp_path: Path) -> Any:
    with client(tmp_path) as one:
        yield one


def test_the_manager_saves_by_classification(saves: Client, tmp_path: Path) -> None:
    manager = Manager(saves)
    assert manager.save_data_by_classification(Kind.ORDERS, [order()], "order_records")
    assert manager.save_data_by_classification("order_records", [order()], "orders_of_today")
    assert manager.save_data_by_classification("order_records", [], "order_records")
    assert len(lines(tmp_path)) == 2
    with pytest.raises(BadRow, match="trade_calendar holds trade_calendar, not order_records"):
        manager.save_data_by_classification("order_records", [order()], "trade_calendar")
    with pytest.raises(BadRow, match="no classification"):
        manager.save_data_by_classification("weather", [order()], "weather")


@pytest.mark.parametrize("strategy", list(BatchFailureStrategy))
@pytest.mark.parametrize(
    ("class_", "table", "why"),
    [("weather", "weather", "no classification"), ("order_records", "trade_calendar", "trade_calendar holds")],
)
def test_a_batch_of_an_unknown_class_is_answered_row_by_row_and_kept(
    saves: Client, queue: FailureRecoveryQueue, tmp_path: Path, strategy: BatchFailureStrategy, class_: str, table: str,
    why: str,
) -> None:  # fmt: skip
    """Its callers read a result: an exception there would take the rows with it."""
    rows = [order(order_id="A"), order(order_id="B")]
    result = Manager(saves, queue).save_data_batch_with_strategy(class_, rows, table, 1, strategy)
    assert (result.total_records, result.successful_records, result.failed_indices) == (2, 0, [0, 1])
    assert all(why in message for message in result.error_messages.values())
    assert result.rollback_executed is (strategy is BatchFailureStrategy.ROLLBACK)
    ((status, text),) = their(queue, "SELECT status, data_json FROM outbox_queue")
    assert (status, [row["order_id"] for row in json.loads(text)["data"]]) == ("failed", ["A", "B"])
    told = Manager(saves).save_data_batch_with_strategy(class_, rows, table, 1, strategy)
    assert (told.failed_indices, told.success_rate) == ([0, 1], 0.0), "without a queue the caller has them still"
    assert not (tmp_path / "outbox.db").exists() or lines(tmp_path) == []


def test_what_the_catalogue_refuses_is_in_the_queue_and_nothing_else(
    saves: Client, queue: FailureRecoveryQueue, tmp_path: Path
) -> None:
    manager = Manager(saves, queue)
    rows = [order(order_id="A"), order(side="BUYER"), order(order_id="B")]
    assert not manager.save_data_by_classification("order_records", rows, "order_records")
    assert [row["order_id"] for row in lines(tmp_path)] == ["A", "B"]
    ((status, text),) = their(queue, "SELECT status, data_json FROM outbox_queue")
    kept = json.loads(text)
    assert (status, [row["side"] for row in kept["data"]]) == ("failed", ["BUYER"])
    assert kept["error"] == "row 1: side has 5 characters, 4 are the most"


def test_what_nobody_acknowledged_waits_in_the_queue(
    saves: Client, queue: FailureRecoveryQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Writer, batch: Any, late: bool) -> Any:
        raise OutboxFull("The outbox takes no more.", "Free space.")

    monkeypatch.setattr(client_module.ClientWriter, "write", full)
    rows = [order(order_id="A"), order(side="BUYER"), order(order_id="B")]
    assert not Manager(saves, queue).save_data_by_classification("order_records", rows, "order_records")
    ((_, _, _, text),) = queue.get_pending_items()
    assert len(json.loads(text)["data"]) == 3
    with pytest.raises(NotAcknowledged):
        Manager(saves).save_data_by_classification("order_records", rows, "order_records")


@pytest.mark.parametrize("batch", [False, True])
def test_a_row_that_the_store_may_have_is_taken_over_under_its_own_event_id(
    saves: Client, queue: FailureRecoveryQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: bool
) -> None:
    """COMMIT went through, its answer did not, and the outbox was full: the same row must not be there twice."""
    tried: list[Any] = []

    def unknown(self: Writer, batch: Any, late: bool) -> Any:
        tried.append(batch)
        raise OutboxFull("The outbox takes no more.", "Free space.")

    rows = [order(order_id="A"), order(side="BUYER"), order(order_id="B")]
    with monkeypatch.context() as patched:
        patched.setattr(client_module.ClientWriter, "write", unknown)
        manager = Manager(saves, queue)
        if batch:
            assert manager.save_data_batch_with_strategy("order_records", rows, "order_records").failed_records == 3
        else:
            assert not manager.save_data_by_classification("order_records", rows, "order_records")
    taken = take_over(saves, Path(queue.db_path))
    assert (taken.rows, [one.rows for one in taken.set_aside]) == (2, [1])
    assert [int(row["event_id"]) for row in lines(tmp_path)] == [
        int(line.split("\t")[0]) for line in tried[0].parts[0].text.splitlines()
    ]


def test_without_a_clock_rows_wait_in_the_queue(
    saves: Client, queue: FailureRecoveryQueue, tmp_path: Path
) -> None:
    (tmp_path / "clock").write_bytes(b"damaged")
    manager = Manager(saves, queue)
    assert not manager.save_data_by_classification("order_records", [order()], "order_records")
    assert manager.save_data_batch_with_strategy("order_records", [order()], "order_records").failed_records == 1
    assert len(queue.get_pending_items()) == 2


def test_nothing_of_a_frame_is_lost_in_the_queue(saves: Client, queue: FailureRecoveryQueue) -> None:
    """Two columns of one name, and an index that nobody named: the catalogue refuses both, the file keeps all."""
    pandas = kit.library("pandas")
    frame = pandas.DataFrame([order(), order(order_id="O2")])
    twice = pandas.concat([frame, frame[["price"]] * 2], axis=1)
    times = pandas.DatetimeIndex([NOW, NOW])
    levels = pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])
    manager = Manager(saves, queue)
    for one in (twice, frame.set_index(times), frame.set_index(levels), frame.set_index("order_id")):
        manager.save_data_by_classification("order_records", one, "order_records")
    first, second, third = (
        json.loads(row[0])["data"] for row in their(queue, "SELECT data_json FROM outbox_queue ORDER BY id")
    )
    assert first["columns"].count("price") == 2
    assert first["data"][0][-1] == 21.0
    assert [row["index0"] for row in second] == [NOW.isoformat()] * 2
    assert [(row["x"], row["index1"]) for row in third] == [("a", 1), ("b", 2)]
    assert all(row["order_id"] for row in second)


def test_an_item_that_is_no_text_hides_no_other(queue: FailureRecoveryQueue) -> None:
    their(queue, THEIR_INSERT.replace("?, ?, ?", "'a', 'b', CAST(? AS TEXT)"), b'{"x": "\xd6"}')
    queue.enqueue("c", "d", {"x": 1})
    first, second = queue.get_pending_items()
    assert first[3] == '{"x": "\udcd6"}'
    assert second[1:] == ("c", "d", '{"x": 1}')


def test_a_queue_whose_file_somebody_tidied_away_takes_items_again(queue: FailureRecoveryQueue) -> None:
    queue.enqueue("a", "b", {})
    Path(queue.db_path).unlink()
    assert queue.enqueue("a", "b", {}) == 1
    assert len(queue.get_pending_items()) == 1


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_batch_goes_on_behind_a_bad_row_and_names_it(saves: Client, tmp_path: Path, as_frame: bool) -> None:
    rows: Any = [order(order_id=f"O{n}", side="BUYER" if n in (3, 7) else "BUY") for n in range(10)]
    if as_frame:
        rows = kit.library("pandas").DataFrame(rows)
    result = Manager(saves).save_data_batch_with_strategy("order_records", rows, "order_records", batch_size=4)
    assert (result.total_records, result.successful_records, result.failed_records) == (10, 8, 2)
    assert (result.failed_indices, result.success_rate) == ([3, 7], 0.8)
    assert result.error_messages[7] == "row 7: side has 5 characters, 4 are the most"
    assert [row["order_id"] for row in lines(tmp_path)] == [f"O{n}" for n in range(10) if n not in (3, 7)]


def test_a_batch_rests_while_the_outbox_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trading system's own code asks nobody how fast it may go."""
    rested: list[float] = []
    monkeypatch.setattr(manager_module.time, "sleep", rested.append)
    with client(tmp_path, outbox={"path": str(tmp_path / "outbox.db"), "max_bytes": 100_000}) as one:
        rows = [order(remark="x" * 5000) for _ in range(16)]
        assert Manager(one).save_data_batch_with_strategy("order_records", rows, "order_records", 1).success_rate == 1
    assert rested[0] == 0.0
    assert rested[-1] > 0.5


def test_a_batch_that_is_to_be_whole_saves_nothing_when_a_row_is_refused(saves: Client, tmp_path: Path) -> None:
    rows = [order(order_id=f"O{n}", side="BUYER" if n == 7 else "BUY") for n in range(10)]
    result = Manager(saves).save_data_batch_with_strategy("order_records", rows, "order_records", 4, "rollback")
    assert (result.successful_records, result.rollback_executed, len(result.failed_indices)) == (0, True, 10)
    assert not (tmp_path / "outbox.db").exists()
    assert "side has 5" in result.error_messages[7]


def test_a_retry_writes_what_is_left_under_its_event_ids(
    saves: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "RETRY_S", 0.001)
    tries: list[Any] = []

    def full_twice(self: Writer, batch: Any, late: bool) -> Any:
        tries.append(batch)
        if len(tries) < 3:
            raise OutboxFull("The outbox takes no more.", "Free space.")
        return Writer.write(self, batch, late)

    monkeypatch.setattr(client_module.ClientWriter, "write", full_twice)
    result = Manager(saves).save_data_batch_with_strategy(
        "order_records", [order()], "order_records", failure_strategy=BatchFailureStrategy.RETRY
    )
    assert (result.successful_records, result.retry_count) == (1, 2)
    assert tries[0] == tries[1] == tries[2]
    assert len(lines(tmp_path)) == 1


def test_a_queue_takes_an_item_that_is_too_large_for_it_as_one_sentence(
    queue: FailureRecoveryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect

    def small(*words: Any, **more: Any) -> sqlite3.Connection:
        connection = real(*words, **more)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        return connection

    monkeypatch.setattr(recovery_queue.sqlite3, "connect", small)
    with pytest.raises(QueueUnusable, match=r"takes no such value|too big"):
        queue.enqueue("a", "b", {"x": "y" * 2000})


def test_times_of_the_queue_are_those_of_utc(queue: FailureRecoveryQueue) -> None:
    queue.enqueue("a", "b", {})
    ((created,),) = their(queue, "SELECT created_at FROM outbox_queue")
    at = datetime.fromisoformat(created).replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - at).total_seconds()) < 60
