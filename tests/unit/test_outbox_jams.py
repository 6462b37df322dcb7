"""Nothing jams the outbox: a record that waits, fails or is dead holds up nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.base.config import Config, Table
from agents.base.errors import OutboxFull
from agents.writing import applying, records, stalls
from agents.writing import replayer as program
from agents.writing.batch import encode
from agents.writing.letters import Letters
from agents.writing.outbox import Outbox
from agents.writing.replayer import Replayer, drain_once, serve
from tests.unit.agent_fixtures import config as config_in
from tests.unit.agent_fixtures import order, orders, setting, tables
from tests.unit.fake_store import NO_TABLE, ODD, TOO_LONG, FakeStore, until


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_in(tmp_path)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


@pytest.fixture
def outbox(config: Config) -> Outbox:
    return Outbox(config.outbox.path)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = FakeStore()
    monkeypatch.setattr(program, "backend", lambda config, name: store.backend)
    monkeypatch.setattr(program, "RETRY_S", 0.001)
    monkeypatch.setattr(stalls, "FIRST_S", 0.01)
    return store


Drain = Callable[..., Replayer]


@pytest.fixture
def drain(config: Config, known: dict[str, Table], outbox: Outbox, store: FakeStore) -> Drain:
    def drained(seconds: float = 10.0) -> Replayer:
        replayer = Replayer(config, known, outbox, threading.Event())
        drain_once(outbox, replayer, seconds, threading.Event())
        replayer.close()
        return replayer

    return drained


def letters_of(outbox: Outbox) -> list[tuple[int, str | None]]:
    return [
        (next(iter(letter.tables.values()))[0], letter.last_error) for letter in Letters(outbox.path).every()
    ]


def balanced(outbox: Outbox) -> bool:
    accounts = outbox.accounts()
    assert accounts, "a balance of nothing proves nothing"
    return all(one.missing == 0 for one in accounts)


@pytest.mark.parametrize("code", [TOO_LONG, ODD, NO_TABLE])
def test_one_row_that_is_refused_dies_alone_whatever_the_code(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain, code: int
) -> None:
    for first in range(1, 1001, 100):
        outbox.enqueue(orders(known, first, first + 99), known, 7)
    store.poison = {534: code}
    drain()
    assert store.rows["order_records"] == set(range(1, 1001)) - {534}
    ((event, why),) = letters_of(outbox)
    assert event == 534
    assert "event 534 is refused" in str(why)
    assert outbox.status().pending_rows == 0
    assert balanced(outbox)


@pytest.mark.parametrize("made_after", [1, 2, 5, 9, 12, 20, 21, 25, 40, 60])
def test_a_table_that_comes_while_its_rows_are_tried_kills_none_of_them(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain, made_after: int
) -> None:
    """Field case: rows that came while a rebuild made the supertables were dead, because later ones had gone in."""
    store.missing, store.made_after = {"order_records"}, made_after
    for first in range(1, 101, 50):
        outbox.enqueue(orders(known, first, first + 49), known, 7)
    assert until(lambda: drain(1) and outbox.status().pending_rows == 0)
    assert letters_of(outbox) == []
    assert store.rows["order_records"] == set(range(1, 101))
    assert balanced(outbox)


def test_a_lone_row_with_a_code_that_names_no_value_waits_until_another_of_its_table_went_in(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.poison = {1: ODD}
    outbox.enqueue(orders(known, 1, 1), known, 7)
    outbox.enqueue(encode(known, {"system_config": [setting(50)]}), known, 7)
    drain()
    status = outbox.status()
    assert (status.pending_rows, status.dead_rows, status.held) == (1, 0, {"order_records": status.last_error})
    assert store.rows == {"system_config": {50}}
    outbox.enqueue(orders(known, 2, 2), known, 7)
    assert until(lambda: drain() and outbox.status().pending_rows == 0)
    assert [event for event, _ in letters_of(outbox)] == [1]
    assert store.rows["order_records"] == {2}


def test_a_table_that_is_missing_holds_its_own_rows_only_and_takes_them_when_it_is_back(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    store.missing = {"system_config"}
    for first in range(1, 300, 10):
        rows = {"order_records": [order(n) for n in range(first, first + 10)], "system_config": [setting(first)]}
        outbox.enqueue(encode(known, rows), known, 7)
    stop = threading.Event()
    replayer = Replayer(config, known, outbox, stop)
    drain_once(outbox, replayer, 5, stop)
    assert store.rows == {"order_records": set(range(1, 301))}
    status = outbox.status()
    assert (status.pending_rows, status.dead_rows, status.held_records) == (30, 0, 30)
    assert "does not exist" in (status.held or {})["system_config"]
    tried = store.writes
    outbox.enqueue(orders(known, 900, 909), known, 7)
    drain_once(outbox, replayer, 5, stop)
    assert store.rows["order_records"] >= set(range(900, 910))
    assert store.writes - tried < 6, "what waits is not tried again with every other record"
    store.missing = set()
    assert until(lambda: drain_once(outbox, replayer, 1, stop) or outbox.status().pending_rows == 0)
    assert len(store.rows["system_config"]) == 30
    assert outbox.status().held == {}
    assert balanced(outbox)


def test_new_rows_of_a_table_that_takes_nothing_are_held_without_a_try_each(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.missing = {"order_records"}
    for first in range(1, 2001, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
    drain()
    assert outbox.status().held_records == 200
    assert store.writes < 150
    assert outbox.waiting() == 0


def test_a_thousand_refused_rows_among_ten_thousand_end_as_letters(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.poison = dict.fromkeys(range(10, 10_001, 10), TOO_LONG)
    outbox.enqueue(orders(known, 1, 10_000), known, 7)
    began = time.monotonic()
    replayer = drain(60.0)
    assert (replayer.done.rows, replayer.done.dead) == (9_000, 1_000)
    assert outbox.status().pending_rows == 0
    assert time.monotonic() - began < 40
    assert balanced(outbox)


def test_a_large_record_makes_progress_across_sessions(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    """Each process dies after one transaction; what it learned is in the file."""
    outbox.enqueue(orders(known, 1, 9_000), known, 7)
    store.poison = {4_321: ODD}
    for _ in range(100):
        if not outbox.waiting():
            break
        replayer = Replayer(config, known, outbox, threading.Event())
        replayer.step(1)
        replayer.close()
    assert store.rows["order_records"] == set(range(1, 9_001)) - {4_321}
    assert [event for event, _ in letters_of(outbox)] == [4_321]


def test_rows_that_are_all_refused_are_not_tried_one_by_one_and_wait_for_somebody(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.poison = dict.fromkeys(range(1, 2001), TOO_LONG)
    outbox.enqueue(orders(known, 1, 2000), known, 7)
    outbox.enqueue(encode(known, {"system_config": [setting(9_999)]}), known, 7)
    drain()
    status = outbox.status()
    assert (status.dead_rows, status.pending_rows) == (0, 2000)
    assert store.writes < 300
    assert store.rows["system_config"] == {9_999}
    assert Letters(outbox.path).bury("order_records", "wrong unit upstream") >= 1
    assert outbox.status().dead_rows == 2000
    assert balanced(outbox)


def test_a_deadlock_is_tried_again_at_once_and_nothing_dies(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.unlucky = 3
    outbox.enqueue(orders(known, 1, 10), known, 7)
    replayer = drain()
    assert (replayer.done.rows, store.sessions) == (10, 1)
    assert letters_of(outbox) == []


@pytest.mark.parametrize("alone", [False, True])
def test_a_row_that_ends_every_session_dies_when_others_go_in(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain, alone: bool
) -> None:
    """Also where there is no other table whose rows could show that the store is there."""
    store.kills = {7}
    for first in range(1, 41, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
    if not alone:
        outbox.enqueue(encode(known, {"system_config": [setting(50)]}), known, 7)
    drain(20.0)
    assert store.rows["order_records"] == set(range(1, 41)) - {7}
    assert [event for event, _ in letters_of(outbox)] == [7]


@pytest.mark.parametrize("back_after", range(1, 13))
@pytest.mark.parametrize("others", [1, 10])
def test_a_store_that_comes_back_while_a_row_is_judged_kills_no_row(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain, back_after: int, others: int
) -> None:
    """On three real nodes one third of all returns: two tries of the row fell into the outage, the sample after it."""
    store.kills, store.back_after = set(range(1, 100)), back_after
    outbox.enqueue(orders(known, 1, 1), known, 7)
    outbox.enqueue(orders(known, 2, 1 + others), known, 7)
    drain()
    assert letters_of(outbox) == []
    assert store.rows["order_records"] == set(range(1, 2 + others))
    assert balanced(outbox)


@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("applied", [False, True])
def test_a_part_of_the_store_that_is_away_kills_no_row_while_others_of_the_table_go_in(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain, applied: bool, n: int
) -> None:
    """TDengine: the copies of one vgroup elect a leader, those of another have one."""
    store.apart = store.kills = set(range(1, 1 + n))
    if applied:
        outbox.enqueue(orders(known, 50, 59), known, 7)
        drain()
    outbox.enqueue(orders(known, 1, n), known, 7)
    outbox.enqueue(orders(known, 100, 109), known, 7)
    drain(0.5)
    assert (letters_of(outbox), outbox.status().dead_rows) == ([], 0)
    store.kills = set()
    drain()
    assert store.rows["order_records"] >= {*range(1, 1 + n), *range(100, 110)}
    assert outbox.status().pending_rows == 0
    assert balanced(outbox)


def test_a_row_that_ends_every_session_dies_when_others_of_its_place_go_in(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.kills, store.apart = {7}, {7, 8}
    outbox.enqueue(orders(known, 7, 7), known, 7)
    outbox.enqueue(orders(known, 1, 6), known, 7)
    outbox.enqueue(orders(known, 8, 9), known, 7)
    drain()
    assert store.rows["order_records"] == {1, 2, 3, 4, 5, 6, 8, 9}
    assert [event for event, _ in letters_of(outbox)] == [7]


def test_a_row_of_whose_place_nobody_knows_holds_up_the_others_for_a_while_only(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "UNDECIDED_S", 0.2)
    store.kills = store.apart = {7}
    outbox.enqueue(orders(known, 7, 7), known, 7)
    outbox.enqueue(orders(known, 8, 9), known, 7)
    drain()
    assert store.rows["order_records"] == {8, 9}
    assert [event for event, _ in letters_of(outbox)] == [7]


def test_a_table_that_somebody_has_locked_waits_whole_and_the_others_go_on(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    """A restore holds its table for an hour: not one of its rows may be taken apart or given up for that."""
    store.locked = {"order_records"}
    for first in range(1, 101, 10):
        rows = {"order_records": [order(n) for n in range(first, first + 10)]}
        outbox.enqueue(encode(known, rows), known, 7)
        outbox.enqueue(encode(known, {"system_config": [setting(1000 + first, f"k{first}")]}), known, 7)
    stop = threading.Event()
    replayer = Replayer(config, known, outbox, stop)
    assert until(lambda: drain_once(outbox, replayer, 1, stop) or not outbox.waiting())
    status = outbox.status()
    assert (status.dead_rows, status.pending_rows, list(status.held or {})) == (0, 100, ["order_records"])
    assert status.pending_records == 10
    assert len(store.rows["system_config"]) == 10
    store.locked = set()
    assert until(lambda: drain_once(outbox, replayer, 1, stop) or outbox.status().pending_rows == 0, 40)
    assert store.rows["order_records"] == set(range(1, 101))


def test_when_every_write_hangs_nothing_is_held_taken_apart_or_given_up(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    """No synchronous standby: connecting works, no commit is answered."""
    store.locked = {"order_records", "system_config"}
    outbox.enqueue(orders(known, 1, 10), known, 7)
    outbox.enqueue(encode(known, {"system_config": [setting(50)]}), known, 7)
    drain(1.0)
    status = outbox.status()
    assert (status.dead_rows, status.pending_records, status.held_records) == (0, 2, 0)
    store.locked = set()
    assert drain().done.rows == 11


def test_a_store_that_is_away_kills_nothing_and_splits_nothing(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.down = True
    for first in range(1, 41, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
    drain(0.5)
    assert outbox.status().pending_records == 4
    store.down = False
    assert drain().done.rows == 40


def test_a_large_record_on_a_slow_store_is_given_time(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, drain: Drain
) -> None:
    store.rows_per_s = 300.0  # 20,000 rows take 67 s, of which the test waits for none
    outbox.enqueue(orders(known, 1, 20_000), known, 7)
    assert drain().done.rows == 20_000


def test_orders_leave_before_ticks_and_ticks_are_not_forgotten(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    assert known["order_records"].lane < known["system_config"].lane
    for nth in range(40):
        outbox.enqueue(encode(known, {"system_config": [setting(10_000 + nth, f"k{nth}")]}), known, 7)
    for first in range(1, 4001, 100):
        outbox.enqueue(orders(known, first, first + 99), known, 7)
    assert outbox.pending(1)[0].parts[0].table == "order_records"
    replayer = Replayer(config, known, outbox, threading.Event())
    for _ in range(5):
        replayer.step(1)
    assert "system_config" in store.rows
    assert len(store.rows["order_records"]) >= 500


def test_a_table_gone_from_the_catalogue_holds_its_rows_and_the_others_go_on(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    rows = {"order_records": [order(1)], "system_config": [setting(2)]}
    outbox.enqueue(encode(known, rows), known, 7)
    fewer = {name: table for name, table in known.items() if name != "system_config"}
    replayer = Replayer(config, fewer, outbox, threading.Event())
    drain_once(outbox, replayer, 5, threading.Event())
    assert store.rows == {"order_records": {1}}
    assert "no table system_config" in (outbox.status().held or {})["system_config"]
    again = Replayer(config, known, outbox, threading.Event())
    assert until(lambda: drain_once(outbox, again, 1, threading.Event()) or outbox.status().pending_rows == 0)
    assert store.rows["system_config"] == {2}


def test_the_service_survives_a_full_disk_and_a_locked_file(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(1, 101, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
    stop, full = threading.Event(), [5]
    real = Outbox.mark_applied

    def marked(self: Outbox, *words: object) -> None:
        if full[0]:
            full[0] -= 1
            raise OutboxFull("The outbox takes no more (database or disk is full).", "Free space.")
        real(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "mark_applied", marked)

    def run() -> None:
        mine = Outbox(config.outbox.path)
        serve(mine, Replayer(config, known, mine, stop), stop)
        mine.close()

    service = threading.Thread(target=run)
    service.start()
    try:
        assert until(lambda: outbox.status().pending_rows == 0)
    finally:
        stop.set()
        service.join()
    assert full == [0]
    assert store.rows["order_records"] == set(range(1, 101))


def test_a_hundred_restarts_in_a_row_lose_and_repeat_no_record(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    for first in range(1, 1001, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
    for _ in range(100):
        mine = Outbox(config.outbox.path)
        replayer = Replayer(config, known, mine, threading.Event())
        replayer.step(1)
        replayer.close()
        mine.close()
    assert store.rows["order_records"] == set(range(1, 1001))
    assert outbox.status().applied_rows == 1000
    assert balanced(outbox)


def test_a_row_that_ends_every_session_in_the_middle_of_urgent_ones_costs_them_little(
    outbox: Outbox, known: dict[str, Table], store: FakeStore, config: Config
) -> None:
    """Orders keep coming: each try takes half the rows, so that they get through while the other is looked for."""
    store.kills = {100_000}
    outbox.enqueue(encode(known, {"system_config": [setting(100_000)]}), known, 7)
    outbox.enqueue(encode(known, {"system_config": [setting(100_001, "other")]}), known, 7)
    replayer = Replayer(config, known, outbox, threading.Event())
    for first in range(1, 2001, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
        replayer.step(1)
    drain_once(outbox, replayer, 20, threading.Event())
    assert store.rows == {"order_records": set(range(1, 2001)), "system_config": {100_001}}
    assert [event for event, _ in letters_of(outbox)] == [100_000]
    assert store.writes < 1500


def test_a_record_of_a_newer_version_waits_alone_and_goes_when_newer_agents_start(
    config: Config, known: dict[str, Table], outbox: Outbox, store: FakeStore, drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plain = records.data_of
    monkeypatch.setattr("agents.writing.outbox.data_of", lambda parts: plain(parts).replace('"n":', '"rows":'))
    outbox.enqueue(orders(known, 1, 1), known, 7)
    monkeypatch.setattr("agents.writing.outbox.data_of", plain)
    outbox.enqueue(orders(known, 2, 3), known, 7)
    drain()
    assert store.rows["order_records"] == {2, 3}
    status = outbox.status()
    assert (status.pending_rows, status.dead_rows) == (1, 0)
    assert "another version" in str(status.held)
    monkeypatch.setattr(
        "agents.writing.outbox.parts_of",
        lambda data, checksum: records.parts_of(
            text := data.replace(b'"rows":', b'"n":'), records.checksum_of(text.decode())
        ),
    )
    drain()
    assert store.rows["order_records"] == {1, 2, 3}
    assert not outbox.status().pending_records
