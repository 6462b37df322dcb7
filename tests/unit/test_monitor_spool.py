"""The spool and its shipper: nobody waits for the database, nothing is lost or there twice, and what goes is said."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.monitor import shipping, spool
from agents.monitor.shipping import Busy, ship
from agents.monitor.spool import BULK, Spool, Stream, in_use
from agents.monitor.store import Receipt
from agents.monitor.take import take
from tests.unit.monitor_kit import Monitoring, data, operation, run

Lines = list[str]


@pytest.fixture
def kept(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


class Taker:
    """A database in the memory of this process."""

    def __init__(self) -> None:
        self.lines: Lines = []
        self.incarnation = "first"
        self.fails: Callable[[], None] = lambda: None

    def __call__(self, texts: Sequence[str]) -> Receipt:
        self.fails()
        self.lines += texts
        return Receipt(len(texts), len(texts), 0, self.incarnation)


def streamed(kept: Spool, *lines: str) -> None:
    stream = Stream(kept)
    for one in lines:
        stream.add(one)
    stream.close()


def test_lines_are_shipped_in_the_order_in_which_they_came(kept: Spool) -> None:
    kept.put(["a", "b"])
    streamed(kept, "c")
    kept.put([])
    kept.put(["d"])
    taker = Taker()
    assert ship(kept, taker).lines == 4
    assert taker.lines == ["a", "b", "c", "d"] and kept.segments() == []
    assert ship(kept, taker).lines == 0


def test_a_spool_that_nobody_made_is_no_error(kept: Spool) -> None:
    assert ship(kept, Taker()).lines == 0 and not kept.folder.exists()


def test_a_segment_that_is_written_to_is_shipped_and_stays(kept: Spool) -> None:
    stream, taker = Stream(kept), Taker()
    stream.add("a")
    ship(kept, taker)
    (segment,) = kept.segments()
    assert in_use(segment) and taker.lines == ["a"]
    stream.add("b")
    with segment.open("ab") as half:
        half.write(b"half of a li")
    ship(kept, taker)
    assert taker.lines == ["a", "b"], "a line that is being written is no line yet"
    stream.close()
    ship(kept, taker)
    assert taker.lines == ["a", "b", "half of a li"] and kept.segments() == []


def test_a_shipper_that_dies_after_a_delivery_repeats_it(kept: Spool, db: Monitoring) -> None:
    kept.put([operation(str(n)) for n in range(1200)])
    deliveries = []

    def dies(texts: Sequence[str]) -> Receipt:
        receipt = take(db.dsn(), texts)
        deliveries.append(len(texts))
        if len(deliveries) == 2:
            raise KeyboardInterrupt
        return receipt

    with pytest.raises(KeyboardInterrupt):
        ship(kept, dies)
    assert ship(kept, partial(take, db.dsn())).new == 200
    assert db.one("select count(*) from operation_logs") == 1200
    assert deliveries == [500, 500]


def test_while_the_database_is_away_everything_waits_and_nobody_does(kept: Spool) -> None:
    stream = Stream(kept)
    slowest = 0.0
    for n in range(2000):
        began = time.perf_counter()
        stream.add(operation(str(n)))
        slowest = max(slowest, time.perf_counter() - began)
    with pytest.raises(AgentError, match="took nothing"):
        ship(kept, partial(take, "host=127.0.0.1 port=1 dbname=monitoring"))
    stream.close()
    taker = Taker()
    ship(kept, taker)
    assert len(taker.lines) == 2000 and slowest < 1.0


def test_twenty_outages_lose_nothing_and_double_nothing(kept: Spool, db: Monitoring) -> None:
    """The server is killed, and deliveries are cut off before and after they are there, while two threads write."""
    chance = random.Random(14)
    over, written = threading.Event(), [0, 0]

    def write(who: int) -> None:
        stream = Stream(kept)
        while not over.is_set():
            number = written[who]
            (kept.put if number % 50 == 0 else lambda lines: stream.add(*lines))([operation(f"{who}-{number}")])
            written[who] += 1
            time.sleep(0.0005)
        stream.close()

    def deliver(texts: Sequence[str]) -> Receipt:
        kind = chance.random()
        if kind < 0.2:
            raise AgentError("cut off before")
        receipt = take(db.dsn(), texts)
        if kind < 0.4:
            raise AgentError("cut off after")
        return receipt

    threads = [threading.Thread(target=write, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    outages = 0
    while outages < 20:
        if outages % 5 == 4:
            db.server.stop("immediate")
        try:
            ship(kept, deliver)
        except AgentError:
            outages += 1
        if outages % 5 == 0:
            db.server.start()
    over.set()
    for thread in threads:
        thread.join()
    ship(kept, partial(take, db.dsn()))
    assert db.one("select count(*) from operation_logs") == sum(written) > 100
    assert db.one("select count(*) from rejected") == 0 and kept.segments() == []


def test_a_child_that_was_forked_writes_a_segment_of_its_own(kept: Spool) -> None:
    stream = Stream(kept)
    stream.add("parent 1")
    child = os.fork()
    if child == 0:
        try:
            stream.add("child 1")
            stream.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    stream.add("parent 2")
    stream.close()
    taker = Taker()
    ship(kept, taker)
    assert sorted(taker.lines) == ["child 1", "parent 1", "parent 2"]


# ---- bounds


def told_losses(lines: Lines) -> int:
    return sum(data(one)["number"] for one in lines if one.startswith('{"kind":"loss"'))


def test_of_what_waits_too_long_the_oldest_bulk_goes_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 2000)
    kept = Spool(tmp_path / "spool", max_bytes=20_000)
    kept.put([run("r", 1, "passed")])
    streamed(kept, *(operation(str(n)) for n in range(500)))
    assert kept.depth().size_bytes < 24_000
    taker = Taker()
    ship(kept, taker)
    names = [data(one)["operation_id"] for one in taker.lines if json.loads(one)["kind"] == "operation"]
    assert told_losses(taker.lines) + len(names) == 500 and len(names) > 20
    assert names == [str(n) for n in range(500 - len(names), 500)], "the oldest go first"
    assert any(json.loads(one)["kind"] == "run" for one in taker.lines), "what must not be lost never goes"


def test_a_full_disk_stops_no_writer_and_is_told_later(
    kept: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Stream(kept)
    stream.add(operation("before"))
    real = os.write

    def full(fd: int, text: bytes) -> int:
        real(fd, text[:7])  # the disk takes what it can
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.os, "write", full)
    stream.add(operation("lost 1"))
    stream.add(operation("lost 2"))
    monkeypatch.setattr(spool.os, "write", real)
    stream.add(operation("after"))
    stream.close()
    taker = Taker()
    ship(kept, taker)
    assert told_losses(taker.lines) == 2
    saves = [one for one in taker.lines if not one.startswith('{"kind":"loss"')]
    assert [data(one)["operation_id"] for one in saves] == ["before", "after"], "no half of a line is left"
    assert capsys.readouterr().err.count("takes no more") == 1


def test_a_disk_without_room_takes_what_was_shipped_first(kept: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed(kept, "shipped")
    ship(kept, Taker())
    streamed(kept, "waits 1")
    streamed(kept, "waits 2")
    room = iter([0, spool.FREE_BYTES, 0, spool.FREE_BYTES, *[spool.FREE_BYTES] * 9])
    monkeypatch.setattr(spool, "free_bytes", lambda _: next(room))
    kept.trim()
    assert list(kept.shipped.iterdir()) == []
    taker = Taker()
    ship(kept, taker)
    assert told_losses(taker.lines) == 1 and taker.lines[0] == "waits 2"


def test_what_was_shipped_is_kept_for_a_while_and_no_longer(kept: Spool) -> None:
    streamed(kept, "a")
    streamed(kept, "b")
    ship(kept, Taker())
    old, _ = sorted(kept.shipped.iterdir())
    os.utime(old, (0, 0))
    ship(kept, Taker())
    assert [one.suffix for one in kept.shipped.iterdir()] == [BULK]
    ship(kept, Taker(), keep_s=-1)
    assert list(kept.shipped.iterdir()) == []


# ---- another database


def test_a_database_that_is_another_one_is_told_everything_again(kept: Spool) -> None:
    taker = Taker()
    kept.put(["a"])
    ship(kept, taker)
    stream = Stream(kept)
    stream.add("b")
    (kept.folder / "seen.json").write_text('{"drills": 7}')
    ship(kept, taker)
    restored = Taker()
    restored.incarnation = "second"
    done = ship(kept, restored)
    assert done.began_anew and sorted(set(restored.lines)) == ["a", "b"]
    assert not (kept.folder / "seen.json").exists(), "whoever gathers begins anew, too"
    stream.close()
    assert not ship(kept, restored).began_anew


def test_a_shipper_that_dies_while_it_begins_anew_begins_anew_again(
    kept: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.put(["a"])
    ship(kept, Taker())
    restored = Taker()
    restored.incarnation = "second"
    monkeypatch.setattr(shipping, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ship(kept, restored)
    monkeypatch.undo()
    assert ship(kept, restored).began_anew
    assert "a" in restored.lines


def test_how_far_it_came_may_be_forgotten(kept: Spool) -> None:
    stream, taker = Stream(kept), Taker()
    stream.add("a")
    ship(kept, taker)
    (kept.folder / shipping.STATE).write_text("{torn")
    ship(kept, taker)
    assert taker.lines == ["a", "a"]
    stream.close()


def test_where_nobody_knows_which_database_has_it_all_is_told_again(kept: Spool) -> None:
    taker = Taker()
    kept.put(["a"])
    assert not ship(kept, taker).began_anew, "nothing was shipped before"
    (kept.folder / shipping.STATE).unlink()
    assert ship(kept, taker).began_anew and taker.lines == ["a", "a"]
    assert not ship(kept, taker).began_anew


def test_two_do_not_ship_at_once(kept: Spool) -> None:
    kept.put(["a"])
    second: list[BaseException] = []

    def slow(texts: Sequence[str]) -> Receipt:
        try:
            ship(kept, Taker())
        except Busy as error:
            second.append(error)
        return Receipt(len(texts), 1, 0, "first")

    ship(kept, slow)
    assert len(second) == 1
