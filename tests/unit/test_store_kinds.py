"""What a store's error says: it is away, the same may go through, or it refused; and the newest row of a key wins."""

from __future__ import annotations

import fcntl
import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from agents.base.config import Column, Table
from agents.base.deadline import DeadlineExceeded
from agents.base.failures import Kind
from agents.postgresql.store import Unconfirmed
from agents.tdengine.newest import absent, nanoseconds, newer, subtables
from agents.tdengine.sent import SLOTS, turn
from agents.tdengine.session import TdengineError
from agents.tdengine.sql import subtable
from agents.tdengine.store import Node, TdStore, Worker
from agents.writing.backend import kind_of, refusal
from agents.writing.batch import Part, copy_text, rows_of


def sqlstate(code: str) -> psycopg2.Error:
    error = psycopg2.Error(f"said {code}")
    error.__setstate__({"pgcode": code})  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("08006", Kind.AWAY), ("57P01", Kind.AWAY), ("57P03", Kind.AWAY), ("53300", Kind.AWAY), ("53100", Kind.AWAY),
        ("25006", Kind.AWAY), ("40001", Kind.UNLUCKY), ("40P01", Kind.UNLUCKY), ("55P03", Kind.UNLUCKY),
        ("57014", Kind.UNLUCKY), ("22001", Kind.REFUSED), ("23502", Kind.REFUSED), ("P0001", Kind.REFUSED),
        ("42P01", Kind.REFUSED), ("42703", Kind.REFUSED), ("53400", Kind.REFUSED), ("54000", Kind.REFUSED),
        ("XX000", Kind.REFUSED),
    ],
)  # fmt: skip
def test_postgresqls_codes_are_told_apart(code: str, kind: Kind) -> None:
    error = sqlstate(code)
    assert kind_of(error) is kind
    if kind is Kind.REFUSED:
        assert refusal(error).of_row is (code[:2] in ("22", "23"))
        assert str(refusal(error)) == f"said {code}"


@pytest.mark.parametrize(
    "error", [psycopg2.OperationalError("gone"), Unconfirmed("a notice"), DeadlineExceeded("late"), OSError("gone")]
)
def test_where_nobody_answered_the_store_is_away(error: Exception) -> None:
    assert kind_of(error) is Kind.AWAY


@pytest.mark.parametrize(
    ("code", "kind", "of_row"),
    [
        (0x2653, Kind.REFUSED, True), (0x060B, Kind.REFUSED, True), (0x2603, Kind.REFUSED, False),
        (0x2602, Kind.REFUSED, False), (0x0388, Kind.REFUSED, False), (0x9999, Kind.REFUSED, False),
        (0x000B, Kind.AWAY, False), (0x0213, Kind.AWAY, False), (0x0914, Kind.AWAY, False), (0, Kind.UNLUCKY, False),
        (0x0618, Kind.UNLUCKY, False),
    ],
)  # fmt: skip
def test_tdengines_codes_are_told_apart(code: int, kind: Kind, of_row: bool) -> None:
    error = TdengineError("said so", "", code)
    assert kind_of(error) is kind
    if kind is Kind.REFUSED:
        assert refusal(error).of_row is of_row


BARS = Table(
    "minute_kline", "market_data", "market_data",
    (Column("ts", "timestamp", False), Column("event_id", "bigint", False), Column("close", "double", False)),
    ("ts",), "newest", (Column("symbol", "binary(20)", False),),
)  # fmt: skip
TICKS = Table("tick_data", "market_data", "market_data", BARS.columns, ("ts", "event_id"), "ignore", BARS.tags)


def part(table: str, *rows: tuple[object, ...]) -> Part:
    events = [int(str(row[1])) for row in rows]
    columns = ("ts", "event_id", "close", "symbol")
    return Part(table, columns, min(events), max(events), len(rows), copy_text(rows))


class Server:
    """Answers with (ts, event id) of what it holds by subtable."""

    def __init__(self, *held: tuple[str, int, int]) -> None:
        self.asked: list[str] = []
        self._held = held

    def __call__(self, statement: str) -> list[list[Any]]:
        self.asked.append(statement)
        first, last = (int(found) for found in re.findall(r"[<>]= (\d+)", statement))
        return [
            [subtable("minute_kline", [symbol]), ts, event] for symbol, ts, event in self._held
            if subtable("minute_kline", [symbol]) in statement and first <= ts <= last
        ]  # fmt: skip


class Refusing(Worker):
    """A session in which every question is refused, and nothing else."""

    def __init__(self, code: int) -> None:
        self.written: list[str] = []
        self._code = code

    def ask(self, statement: str, deadline: float) -> dict[str, Any]:
        if statement.startswith("SELECT"):
            raise TdengineError("refused", "", self._code)
        self.written.append(statement)
        return {"affected": 1}


class Answering(Worker):
    """A session with a server that holds rows."""

    def __init__(self, *held: tuple[str, int, int]) -> None:
        self.held, self.written = list(held), list[str]()
        self.asked: list[str] = []

    def ask(self, statement: str, deadline: float) -> dict[str, Any]:
        if statement.startswith("SELECT"):
            self.asked.append(statement)
            return {"rows": Server(*self.held)(statement)}
        self.written.append(statement)
        return {"affected": len(re.findall(r"\(\d+,\d+", statement))}


def closes(parts: Any) -> list[str | None]:
    return [row[2] for found in parts for row in rows_of(found)]


def test_an_older_row_does_not_take_the_place_of_a_newer_one_in_tdengine() -> None:
    server = Server(("A", 1000, 50), ("B", 1000, 10))
    late = part("minute_kline", (1000, 20, "old", "A"), (1000, 20, "new", "B"), (2000, 5, "first", "A"))
    assert closes(newer([late], {"minute_kline": BARS}, server)) == ["new", "first"]


def test_of_two_rows_of_a_key_in_one_batch_the_greater_number_wins_whatever_their_order() -> None:
    both = part("minute_kline", (1000, 9, "newer", "A"), (1000, 8, "older", "A"))
    assert closes(newer([both], {"minute_kline": BARS}, Server())) == ["newer"]


def test_of_two_rows_of_a_key_in_two_records_the_greater_number_wins_too() -> None:
    """They may go to the server in one statement, of which the last row is kept."""
    parts = [part("minute_kline", (1000, 9, "newer", "A")), part("minute_kline", (1000, 8, "older", "A"))]
    assert closes(newer(parts, {"minute_kline": BARS}, Server())) == ["newer"]


def test_the_same_row_again_is_written_and_a_batch_that_is_all_older_is_not() -> None:
    server, tables = Server(("A", 1000, 20)), {"minute_kline": BARS}
    assert closes(newer([part("minute_kline", (1000, 20, "same", "A"))], tables, server)) == ["same"]
    assert list(newer([part("minute_kline", (1000, 19, "old", "A"))], tables, server)) == []


def test_times_that_lie_far_apart_are_asked_for_apart() -> None:
    server = Server(*(("A", nth * 10**9, nth) for nth in range(10_000)))
    rows = part("minute_kline", (5 * 10**9, 4, "old", "A"), (9000 * 10**9, 10**9, "new", "A"), (10**18, 1, "far", "A"))
    assert closes(newer([rows], {"minute_kline": BARS}, server)) == ["new", "far"]
    assert len(server.asked) == 3


def test_one_subtable_is_named_twice_since_the_client_would_ask_a_single_one_by_what_it_remembers() -> None:
    server = Server(("A", 1000, 50))
    assert list(newer([part("minute_kline", (1000, 20, "old", "A"))], {"minute_kline": BARS}, server)) == []
    name = subtable("minute_kline", ["A"])
    assert server.asked[0].endswith(f"TBNAME IN ('{name}','{name}')")


@pytest.mark.parametrize("code", [0x2603, 0x2662, 0x0618, 0x9999])
def test_a_look_that_is_refused_is_not_taken_for_nothing_newer(code: int) -> None:
    worker = Refusing(code)
    store = TdStore(Node("tsdb1", "tsdb1", worker), {"minute_kline": BARS}, late=True)
    with pytest.raises(TdengineError):
        store.write([part("minute_kline", (1000, 20, "old", "A"))], 5)
    assert worker.written == []


def test_of_a_supertable_that_is_gone_every_row_is_absent_and_of_one_nobody_can_ask_about_none_is_known() -> None:
    rows = part("minute_kline", (1000, 20, "old", "A"))
    assert TdStore(Node("tsdb1", "tsdb1", Refusing(0x2603)), {"minute_kline": BARS}).absent(rows, 5) == [20]
    with pytest.raises(TdengineError):
        TdStore(Node("tsdb1", "tsdb1", Refusing(0x2662)), {"minute_kline": BARS}).absent(rows, 5)


def soon() -> float:
    return time.monotonic() + 1


def held(sent: Path) -> bool:
    """Whether anybody has a turn, of whatever subtable."""
    try:
        with turn(sent, map(str, range(20 * SLOTS)), 0, time.monotonic() + 0.3):
            return False
    except DeadlineExceeded:
        return True


def written(sent: Path, server: Answering, *rows: tuple[object, ...]) -> None:
    TdStore(Node("tsdb1", "tsdb1", server), {"minute_kline": BARS}, sent=sent).write([part("minute_kline", *rows)], 5)


def test_of_two_programs_that_save_at_one_moment_the_later_event_wins_whichever_arrives_last(tmp_path: Path) -> None:
    sent, server = tmp_path / "outbox.sent", Answering()
    written(sent, server, (1000, 10, "first", "A"))
    server.asked.clear()
    written(sent, server, (1000, 21, "second save", "A"))
    assert server.asked == [], "nothing newer was sent, so nothing is looked for"
    server.held = [("A", 1000, 21)]
    written(sent, server, (1000, 20, "first save", "A"), (2000, 20, "another key", "A"))
    assert len(server.asked) == 1
    assert [re.findall(r"\(\d+,(\d+)", one) for one in server.written] == [["10"], ["21"], ["20"]]
    assert "(2000,20," in server.written[-1]
    written(sent, server, (3000, 22, "third save", "A"))
    assert len(server.asked) == 1


@pytest.mark.parametrize("said", [b"", b"damaged", bytes(8 * SLOTS), b"\xff" * 8 * SLOTS, b"\x7f" * 8 * SLOTS])
def test_where_nobody_knows_what_was_sent_it_is_looked_for(tmp_path: Path, said: bytes) -> None:
    sent, server = tmp_path / "outbox.sent", Answering(("A", 1000, 21))
    sent.write_bytes(said)
    written(sent, server, (1000, 20, "older", "A"))
    assert server.written == []
    assert len(server.asked) == 1


def test_who_cannot_have_a_turn_in_time_is_away(tmp_path: Path) -> None:
    sent, server = tmp_path / "outbox.sent", Answering()
    store = TdStore(Node("tsdb1", "tsdb1", server), {"minute_kline": BARS}, sent=sent)
    with turn(sent, subtables([part("minute_kline", (1000, 5, "held", "A"))], {"minute_kline": BARS}), 5, soon()):
        with pytest.raises(DeadlineExceeded) as late:
            store.write([part("minute_kline", (1000, 20, "waits", "A"), (1000, 20, "of a batch", "B"))], 0.05)
        assert (kind_of(late.value), server.written) == (Kind.AWAY, [])
        store.write([part("minute_kline", (1000, 20, "another symbol", "B"))], 0.5)
    assert len(server.written) == 1
    assert not held(sent)


def test_who_has_a_turn_too_late_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded), turn(tmp_path / "outbox.sent", ["a"], 5, time.monotonic() - 1):
        pytest.fail("its statement would be under way when the next one writes")
    assert not held(tmp_path / "outbox.sent")


def test_a_child_that_was_forked_in_a_turn_does_not_keep_it(tmp_path: Path) -> None:
    sent = tmp_path / "outbox.sent"
    with turn(sent, ["a", "b"], 5, soon()):
        assert held(sent)
        wait, ended = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ended)
            os.read(wait, 1)
            os._exit(0)
    try:
        assert not held(sent)
    finally:
        os.close(wait)
        os.close(ended)
        os.waitpid(child, 0)


def test_rows_that_are_only_added_take_no_turn(tmp_path: Path) -> None:
    sent, server = tmp_path / "outbox.sent", Answering()
    with turn(sent, map(str, range(20 * SLOTS)), 5, soon()):
        TdStore(Node("tsdb1", "tsdb1", server), {"tick_data": TICKS}, sent=sent).write(
            [part("tick_data", (1000, 4, "x", "A"))], 0.05
        )
    assert (len(server.asked), len(server.written)) == (0, 1)


def test_a_disk_that_takes_no_note_costs_a_look_and_not_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    server, sent = Answering(), tmp_path / "outbox.sent"
    written(tmp_path / "no folder" / "outbox.sent", server, (1000, 20, "no file", "A"))
    written(sent, server, (2000, 20, "noted", "A"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        written(sent, server, (2000, 22, "no note", "A"))
    server.held = [("A", 2000, 22)]
    written(sent, server, (2000, 21, "the note before says nothing any more", "A"))
    assert (len(server.asked), len(server.written)) == (4, 3)


def test_a_file_system_without_such_locks_keeps_no_row_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "fcntl", none)
    server = Answering()
    written(tmp_path / "outbox.sent", server, (1000, 20, "x", "A"))
    assert len(server.written) == 1


def test_programs_that_save_many_symbols_at_once_do_not_wait_for_one_another_for_ever(tmp_path: Path) -> None:
    sent, symbols = tmp_path / "outbox.sent", [f"S{nth}" for nth in range(300)]

    def save(order: list[str]) -> None:
        for event in range(1, 20):
            written(sent, Answering(), *((1000, event, "x", symbol) for symbol in order))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(save, order) for order in (symbols, symbols[::-1])]:
            done.result()


def test_of_many_saves_that_meet_the_latest_stays_and_without_turns_it_would_not(tmp_path: Path) -> None:
    def met(sent: Path | None) -> int:
        held: dict[int, int] = {}

        class Slow(Answering):
            def ask(self, statement: str, deadline: float) -> dict[str, Any]:
                time.sleep(random.random() / 500)
                if statement.startswith("SELECT"):
                    self.held = [("A", ts, event) for ts, event in held.items()]
                else:
                    held.update((int(ts), int(event)) for ts, event in re.findall(r"\((\d+),(\d+),", statement))
                return super().ask(statement, deadline)

        def save(store: TdStore, ts: int, event: int) -> None:
            store.write([part("minute_kline", (ts, event, "x", "A"))], 10)

        with ThreadPoolExecutor(2) as pool:
            stores = [TdStore(Node("a", "a", Slow()), {"minute_kline": BARS}, sent=sent) for _ in range(2)]
            for ts in range(1, 101):
                for done in [pool.submit(save, store, ts, 2 * ts + nth) for nth, store in enumerate(stores)]:
                    done.result()
        return sum(held[ts] != 2 * ts + 1 for ts in range(1, 101))

    assert met(None) > 5
    assert met(tmp_path / "outbox.sent") == 0


def test_rows_that_are_only_added_are_not_asked_about() -> None:
    server = Server()
    assert closes(newer([part("tick_data", (1, 2, "x", "A"))], {"tick_data": TICKS}, server)) == ["x"]
    assert server.asked == []


def test_what_is_absent_in_tdengine_is_found_by_event_id() -> None:
    server = Server(("A", 1000, 50))
    rows = part("minute_kline", (1000, 20, "older", "A"), (1000, 50, "same", "A"), (1000, 60, "newer", "A"))
    assert absent(rows, BARS, server) == [60]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1700000000000000001", 1_700_000_000_000_000_001), ("2026-11-20T02:30:00+00:00", 1795141800000000000),
        ("2026-11-20T10:30:00.000001+08:00", 1795141800000001000),
        ("2026-11-20 10:30:00.123456789+08:00", 1795141800123456789), ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2026-11-20T02:30:00.0000000001Z", None), ("2026-11-20T02:30:00", None), ("no time", None),
        (None, None),
    ],
)  # fmt: skip
def test_times_are_read_as_the_outbox_keeps_them(text: str | None, ns: int | None) -> None:
    assert nanoseconds(text) == ns

