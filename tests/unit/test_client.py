"""The client, with a store that is away: what is acknowledged is in the outbox, what is not is told."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import threading
import time
from collections import namedtuple
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agents.base.config import load_tables
from agents.base.errors import AgentError, BadConfig, BadRow, OutboxFull
from agents.client import AsyncClient, By, Client, NotAcknowledged
from agents.client import client as client_module
from agents.client import pool as pool_module
from agents.client.pool import ClientClosed
from agents.client.prepare import BATCH_BYTES, BATCH_ROWS, LATE_S
from agents.writing.batch import encode
from agents.writing.clock import STEP
from agents.writing.writer import Ack, Writer
from drills.benches.client import figures
from tests.unit.agent_fixtures import config_file
from tests.unit.client_kit import NODE, NOW, client, lines, order, records, setting, tick, ticks_file


def test_a_row_is_acknowledged_by_the_outbox_and_says_so(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        ack = one.save("order_records", [order()])
    assert (ack.by, ack.table, ack.taken, ack.refused, ack.complete) == (By.OUTBOX, "order_records", (0,), (), True)
    (row,) = lines(tmp_path)
    assert row["order_id"] == "O1"
    assert int(row["event_id"]) == ack.event_ids[0]
    assert ack.event_ids[0] % STEP == NODE
    assert "No host takes writes" in (ack.why or "")


@dataclass
class Order:
    order_id: str
    order_time: datetime
    account_id: str
    symbol: str
    side: str
    order_type: str
    quantity: int
    status: str
    strategy_id: str | None = None
    price: float | None = None
    remark: str | None = None


def test_rows_of_every_shape_are_the_same_rows(tmp_path: Path) -> None:
    row = order()
    known = load_tables(config_file(tmp_path).parent / "tables.json")["order_records"]
    full = {name: row.get(name) for name in known.column_names if name != "event_id"}
    shapes: list[Any] = [
        row, [row], (one for one in [row]), [tuple(full.values())], [list(full.values())], [Order(**row)], Order(**row),
        [namedtuple("Row", row)(**row)],
    ]  # fmt: skip
    with client(tmp_path) as one:
        assert [one.save("order_records", shape).taken for shape in shapes] == [(0,)] * len(shapes)
    found = [{**line, "event_id": ""} for line in lines(tmp_path)]
    assert len(found) == len(shapes)
    assert all(line == found[0] for line in found)


def test_rows_are_written_as_the_feed_writes_them(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        ack = one.save("order_records", [order(remark="手动\t撤单")])
        known = load_tables(tmp_path / "tables.json")
    values = (ack.event_ids[0], "O1", NOW, "ACC1", None, "600000.SH", "BUY", "LIMIT", 10.5, 100, "NEW", "手动\t撤单")
    assert records(tmp_path)[0].parts == encode(known, {"order_records": [values]}).parts


def test_a_bad_row_is_told_and_loses_nothing_else(tmp_path: Path) -> None:
    rows: list[Any] = [
        order(order_id="A"), order(side="BUYER", price=float("inf")), "no row", order(colour="red"),
        order(quantity=None), order(order_id="B", order_time=datetime(2026, 11, 20, 9, 30)), (1, 2),
    ]  # fmt: skip
    with client(tmp_path) as one:
        ack = one.save("order_records", rows)
    assert (ack.taken, ack.complete, ack.by) == ((0, 5), False, By.OUTBOX)
    assert [(one.row, one.column) for one in ack.refused] == [
        (1, "side"), (1, "price"), (2, ""), (3, "colour"), (4, "quantity"), (6, ""),
    ]  # fmt: skip
    assert str(ack.refused[0]) == "row 1: side has 5 characters, 4 are the most"
    assert [row["order_id"] for row in lines(tmp_path)] == ["A", "B"]
    assert lines(tmp_path)[1]["order_time"] == "2026-11-20T09:30:00+08:00"


def test_where_every_row_is_refused_nobody_acknowledges(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        ack = one.save("order_records", [order(side="BUYER")] * 3)
    assert (ack.by, ack.taken, len(ack.refused)) == (None, (), 3)
    assert not (tmp_path / "outbox.db").exists()


@pytest.mark.parametrize(
    ("name", "rows", "why"),
    [
        ("nowhere", [order()], "no table and no classification"),
        ("order_records", [], "no rows"), ("order_records", "abc", "no set of rows"), ("order_records", 5, "no set"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_rows_is_one_sentence_with_a_hint(tmp_path: Path, name: str, rows: object, why: str) -> None:
    with client(tmp_path) as one, pytest.raises(BadRow, match=why) as error:
        one.save(name, rows)
    assert error.value.hint
    assert "\n" not in str(error.value)


def test_an_event_id_is_the_library_s_and_nobody_else_s(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        assert str(one.save("order_records", [order(event_id=1)]).refused[0]) == (
            "row 0: event_id is no column of the table"
        )


def test_rows_of_each_store_go_to_its_own_outbox(tmp_path: Path) -> None:
    ticks_file(tmp_path)
    nodes = [{"name": "127.0.0.1", "port": 1}]
    settings = {"nodes": nodes, "database": "market_data", "user": "u", "passfile": "x"}
    (tmp_path / "tdengine.json").write_text(json.dumps(settings))
    with client(tmp_path) as one:
        assert one.save("tick_data", [tick()]).by is By.OUTBOX
        assert one.save("depth_data", [{"ts": NOW, "symbol": "600000", "exchange": "SSE"}]).by is By.OUTBOX
        assert one.save("order_book_depth", [{"ts": NOW, "symbol": "600000", "exchange": "SSE"}]).table == "depth_data"
        assert one.save("order_records", [order()]).by is By.OUTBOX
        assert str(one.save("tick_data", [tick(direction="BUY")]).refused[0]) == (
            "row 0: direction has 3 bytes, 1 are the most"
        )
    assert len(records(tmp_path, "outbox-tdengine.db")) == 3
    assert len(records(tmp_path)) == 1


def test_many_rows_are_batches_that_a_transaction_can_hold(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        ack = one.save("system_config", [setting(f"k{n}") for n in range(BATCH_ROWS * 2 + 1)])
        assert ack.taken == tuple(range(BATCH_ROWS * 2 + 1))
        big = one.save("system_config", [setting(f"k{n}", "中" * (BATCH_BYTES // 7)) for n in range(5)])
    assert [record.n for record in records(tmp_path)] == [BATCH_ROWS, BATCH_ROWS, 1, 2, 2, 1]
    assert big.complete
    assert list(ack.event_ids) == sorted(set(ack.event_ids))


def test_what_nobody_took_is_handed_back_and_may_be_written_again_as_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 1

    def write(self: Writer, batch: Any, late: bool) -> Ack:
        nonlocal room
        if not room:
            raise OutboxFull("The outbox takes no more.", "Free space.")
        room -= 1
        return Writer.write(self, batch, late)

    monkeypatch.setattr(client_module.ClientWriter, "write", write)
    with client(tmp_path) as one:
        rows = [setting(f"k{n}") for n in range(BATCH_ROWS + 7)]
        rows[3] = setting("k" * 65)
        with pytest.raises(NotAcknowledged, match="takes no more") as error:
            one.save("system_config", rows)
        assert error.value.hint
        done, rest = error.value.done, error.value.rest
        assert rest.late, "somebody may have saved newer rows of these keys meanwhile"
        assert (len(done.taken), done.taken[-1], rest.sound) == (BATCH_ROWS, BATCH_ROWS, 6)
        assert [one.row for one in done.refused] == [3]
        room = 2
        assert one.write(rest).taken == tuple(range(BATCH_ROWS + 1, BATCH_ROWS + 7))
        assert one.write(rest).event_ids == tuple(rest.pieces[0].ids)


def test_rows_whose_age_is_given_or_that_wait_before_they_are_written_are_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bool] = []

    def write(self: Writer, batch: Any, late: bool) -> Ack:
        said.append(late)
        return Writer.write(self, batch, late)

    monkeypatch.setattr(client_module.ClientWriter, "write", write)
    with client(tmp_path) as one:
        one.save("system_config", [setting()])
        one.write(one.prepare("system_config", [setting()], [5]))
        one.write(replace(one.prepare("system_config", [setting()]), made_at=time.monotonic() - LATE_S - 0.1))
    assert said == [False, True, True]


def test_a_client_is_told_to_slow_down_before_it_is_told_no(tmp_path: Path) -> None:
    with client(tmp_path, outbox={"path": str(tmp_path / "outbox.db"), "max_bytes": 100_000}) as one:
        told = []
        with pytest.raises(NotAcknowledged, match="takes no more"):
            for _ in range(100):
                told.append(one.save("order_records", [order(remark="x" * 5000)]))
    assert (told[0].slow_down_s, told[0].fill > 0) == (0.0, True)
    assert [ack.fill for ack in told] == sorted(ack.fill for ack in told)
    assert told[-1].fill > 0.9
    assert 0.8 < told[-1].slow_down_s <= 1.0
    assert sum(ack.slow_down_s > 0 for ack in told) > 5


def test_a_host_that_was_not_deployed_for_it_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="names no node"):
        Client.open(config_file(tmp_path))
    with pytest.raises(BadConfig, match="cannot be read"):
        Client.open(tmp_path / "nothing.json")
    with pytest.raises(BadConfig, match="pool"):
        Client.open(config_file(tmp_path, node=NODE), pool=0)


def test_a_catalogue_of_a_newer_deploy_is_told(tmp_path: Path) -> None:
    path = config_file(tmp_path, node=NODE)
    exported = json.loads((tmp_path / "tables.json").read_text())
    (tmp_path / "tables.json").write_text(json.dumps({**exported, "version": 2}))
    with pytest.raises(BadConfig, match="newer deploy"):
        Client.open(path)


def test_threads_share_a_client(tmp_path: Path) -> None:
    with client(tmp_path, pool=3) as one:
        def work(name: int) -> None:
            for n in range(20):
                acks.append(one.save("system_config", [setting(f"k{name}-{n}")]))

        acks: list[Any] = []
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(acks) == 160
    assert len({event for ack in acks for event in ack.event_ids}) == 160
    assert {row["config_key"] for row in lines(tmp_path)} == {f"k{name}-{n}" for name in range(8) for n in range(20)}


def test_no_more_sessions_are_opened_than_the_pool_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = client_module.ClientWriter.__init__
    monkeypatch.setattr(
        client_module.ClientWriter, "__init__", lambda self, *words: (made.append(self), real(self, *words))[1]
    )
    with client(tmp_path, pool=2) as one:
        threads = [threading.Thread(target=one.save, args=("system_config", [setting(str(n))])) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= len(made) <= 2
    assert len(lines(tmp_path)) == 12


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    one = client(tmp_path)
    one.close()
    with pytest.raises(NotAcknowledged, match="closed") as error:
        one.save("order_records", [order()])
    assert isinstance(error.value.__cause__, ClientClosed)


def _in_child(one: Client, put: Any) -> None:
    put([one.save("system_config", [setting(f"child{os.getpid()}-{n}")]).event_ids[0] for n in range(20)])


def test_a_client_goes_on_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    with client(tmp_path) as one:
        stop = threading.Event()

        def busy() -> None:
            while not stop.is_set():
                one.save("system_config", [setting("parent")])

        thread = threading.Thread(target=busy)
        thread.start()
        children = [context.Process(target=_in_child, args=(one, queue.put)) for _ in range(3)]
        for child in children:
            child.start()
        taken = [queue.get(timeout=60) for _ in children]
        for child in children:
            child.join(60)
        stop.set()
        thread.join()
        one.save("system_config", [setting("after")])
    ids = [event for part in taken for event in part]
    assert len(ids) == len(set(ids)) == 60
    found = lines(tmp_path)
    assert len({int(row["event_id"]) for row in found}) == len(found)
    assert sum(row["config_key"].startswith("child") for row in found) == 60
    assert {row["config_key"] for row in found} >= {"parent", "after"}


def test_threads_that_fork_at_one_time_do_not_meet(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        one.save("system_config", [setting()])
        ended: list[int] = []

        def fork() -> None:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    os._exit(0)
                ended.append(os.waitpid(child, 0)[1])

        threads = [threading.Thread(target=fork) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert ended == [0] * 20
        assert one.save("system_config", [setting("after")]).complete


def test_a_fork_in_the_middle_of_a_save_that_hangs_leaves_the_child_without_a_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FORK_WAIT_S", 0.1)
    release, inside = threading.Event(), threading.Event()

    def hang(self: Writer, batch: Any, late: bool) -> Ack:
        inside.set()
        release.wait(30)
        return Writer.write(self, batch, late)

    monkeypatch.setattr(client_module.ClientWriter, "write", hang)
    with client(tmp_path) as one:
        thread = threading.Thread(target=one.save, args=("system_config", [setting()]))
        thread.start()
        inside.wait(10)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                one.save("system_config", [setting("child")])
                os.write(writing, b"saved")
            except AgentError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 1000) == b"This process was forked in the middle of a save that did not end."
        release.set()
        thread.join()
    assert [row["config_key"] for row in lines(tmp_path)] == ["k"]


def test_saves_run_beside_an_event_loop(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        async with AsyncClient.open(config_file(tmp_path, node=NODE), pool=2) as one:
            ticks = 0

            async def beat() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.001)
                    ticks += 1

            heart = asyncio.create_task(beat())
            acks = await asyncio.gather(*[one.save("system_config", [setting(f"k{n}")]) for n in range(10)])
            heart.cancel()
            assert ticks > 3
            return acks

    assert [ack.by for ack in asyncio.run(main())] == [By.OUTBOX] * 10
    assert len(lines(tmp_path)) == 10


def test_the_newer_of_two_processes_wins_whichever_began_first(tmp_path: Path) -> None:
    """Finding: an id was the start of its process and a count, so the process that began later won for ever."""
    first = client(tmp_path)
    first.save("system_config", [setting("k", "1")])
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_save_one, args=(tmp_path,))
    child.start()
    child.join(60)
    first.save("system_config", [setting("k", "3")])
    first.close()
    ids = {row["config_value"]: int(row["event_id"]) for row in lines(tmp_path)}
    assert ids["1"] < ids["2"] < ids["3"]


def _save_one(folder: Path) -> None:
    with Client.open(folder / "agent.json") as one:
        one.save("system_config", [setting("k", "2")])


def test_the_outbox_takes_what_it_must_reach(tmp_path: Path) -> None:
    """A floor that any machine has, so that a check that became slow is noticed; the bench measures the real rate."""
    rows = [order(order_id=f"O{n}") for n in range(300)]
    with client(tmp_path) as one:
        one.save("order_records", rows)
        started = time.process_time()
        for _ in range(20):
            one.prepare("order_records", rows)
        spent = time.process_time() - started
    assert 6000 / spent > 20_000


def test_the_bench_holds_the_library_to_what_was_promised() -> None:
    said: dict[str, object] = {
        "outbox": 30_000.0, "poison": 12_000.0, "store": 20_000.0, "feed": 24_000.0,
        "save": [1.0] * 199 + [9.0], "insert": [1.0] * 200,
    }  # fmt: skip
    found = {figure.name: figure for figure in figures([said])}
    assert [figure.met for figure in found.values()] == [True, False, None, True, None, True]
    assert found["of the feed's own path"].median == pytest.approx(20 / 24)
    slow = {figure.name: figure for figure in figures([{**said, "save": [1.0] * 190 + [9.0] * 10}])}
    assert slow["of a bare INSERT's"].met is False


def test_an_outbox_that_somebody_removed_is_told_once_and_a_new_one_is_made(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        one.save("order_records", order(order_id="A"))
        for path in tmp_path.glob("outbox.db*"):
            path.unlink()
        with pytest.raises(NotAcknowledged, match="removed or replaced") as error:
            one.save("order_records", order(order_id="B"))
        assert one.write(error.value.rest).complete
    assert [line["order_id"] for line in lines(tmp_path)] == ["B"]


def test_an_async_client_goes_on_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    one = AsyncClient.open(config_file(tmp_path, node=NODE), pool=1)

    def save(key: str) -> By | None:
        return asyncio.run(asyncio.wait_for(one.save("system_config", [setting(key)]), 20)).by

    assert save("before") is By.OUTBOX
    child = os.fork()
    if not child:
        try:
            os._exit(0 if save("child") is By.OUTBOX else 3)
        finally:
            os._exit(4)
    assert save("parent") is By.OUTBOX
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(line["config_key"] for line in lines(tmp_path)) == ["before", "child", "parent"]
