"""What the store took is written again in the order in which it took it, whichever way it went there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from agents.base.config import Config, load_config, load_tables
from agents.base.errors import AgentError, BadConfig
from agents.tdengine.session import TdengineError
from agents.writing import shadow_replay
from agents.writing.batch import Part
from agents.writing.lease import Lease
from agents.writing.outbox import Outbox
from agents.writing.shadow import Shadow, segments
from tests.unit.agent_fixtures import config_file, orders, tables

REFUSED = 0x2602  # a code that says the rows are at fault


class FakeStore:
    """The store's session: remembers event ids; `fails` sessions end first, `poison` ids are refused."""

    def __init__(self, fails: int = 0, poison: frozenset[int] = frozenset()) -> None:
        self.written: list[int] = []
        self.opened = 0
        self._fails, self._poison = fails, poison
        self.primary: Any = None
        self.closed = False

    def open(self) -> FakeStore:
        self.opened += 1
        return self

    def write(self, parts: Iterable[Part], deadline_s: float) -> None:
        found = ids(parts)
        if self._fails:
            self._fails -= 1
            raise TdengineError("the server went away", "", 0x000B)
        if self._poison & set(found):
            raise TdengineError("a value is out of range", "", REFUSED)
        self.written += found

    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[tuple[Part, str]]]:
        sound: list[Part] = []
        poison: list[tuple[Part, str]] = []
        waiting = list(parts)
        while waiting:
            part = waiting.pop(0)
            if not self._poison & set(ids([part])):
                sound.append(part)
                self.written += ids([part])
            elif part.n == 1:
                poison.append((part, "out of range"))
            else:
                waiting[:0] = part.halves()
        return sound, poison

    def ping(self, deadline_s: float) -> None:
        """Always there."""

    def abandon(self) -> None:
        """Never hangs."""

    def close(self) -> None:
        """Opened again at will."""


def ids(parts: Iterable[Part]) -> list[int]:
    return [int(line.split("\t")[0]) for part in parts for line in part.text.splitlines()]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_replay, "SETTLE_S", 0.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(config_file(tmp_path, shadow={"path": str(tmp_path / "shadow")}))


def kept(config: Config, folder: Path, first: int, last: int, origin: int = 7) -> None:
    assert config.shadow is not None
    writer = Shadow(config.shadow, origin)
    writer.keep(orders(tables(folder), first, last))
    writer.close()
    time.sleep(0.003)


def replayed(config: Config, store: FakeStore, since: float = 0, only: tuple[str, ...] = ()) -> shadow_replay.Replayed:
    outbox = Outbox(config.outbox.path)
    try:
        return shadow_replay.replay(config, load_tables(config.tables), outbox, since, only, store.open)
    finally:
        outbox.close()


def test_rows_of_several_writers_and_of_the_outbox_come_in_the_order_of_acknowledgement(
    config: Config, tmp_path: Path
) -> None:
    kept(config, tmp_path, 1, 2, origin=9)
    outbox = Outbox(config.outbox.path)
    outbox.enqueue(orders(tables(tmp_path), 3, 4), tables(tmp_path), 7)
    outbox.mark_applied(outbox.pending(10), "tsdb1", 1)
    time.sleep(0.003)
    kept(config, tmp_path, 5, 6, origin=3)
    kept(config, tmp_path, 7, 8, origin=9)
    outbox.enqueue(orders(tables(tmp_path), 100, 101), tables(tmp_path), 7)
    store = FakeStore()
    done = replayed(config, store)
    assert list(dict.fromkeys(store.written)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert store.written[-1] == 8, "the newest comes last however often it comes"
    assert (done.rows, done.refused, done.damaged_segments) == (8, 0, 0)
    assert outbox.status().pending_rows == 2, "what waits is newer, and is the replayer's"
    outbox.close()


def test_a_row_that_went_past_the_outbox_meanwhile_comes_again(config: Config, tmp_path: Path) -> None:
    kept(config, tmp_path, 1, 2)

    class Busy(FakeStore):
        def write(self, parts: Iterable[Part], deadline_s: float) -> None:
            super().write(parts, deadline_s)
            if 50 not in self.written:
                self.written.append(50)  # a writer, straight to the store
                kept(config, tmp_path, 50, 50, origin=8)

    store = Busy()
    replayed(config, store)
    assert store.written.count(50) > 1
    assert store.written[-1] == 50


@pytest.mark.parametrize("days", [60, -60])
def test_what_the_store_took_while_the_clock_was_wrong_comes_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    real = time.time
    kept(config, tmp_path, 1, 2)
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    kept(config, tmp_path, 3, 4)
    for file in segments(tmp_path / "shadow"):
        stamp = int(file.name[:15]) / 1000
        os.utime(file, (stamp, stamp))

    class Busy(FakeStore):
        def write(self, parts: Iterable[Part], deadline_s: float) -> None:
            if not self.written:
                kept(config, tmp_path, 5, 6, origin=3)
            super().write(parts, deadline_s)

    store = Busy()
    done = replayed(config, store, since=real() - 60)
    assert set(store.written) == {1, 2, 3, 4, 5, 6}
    assert done.rows == 4


def test_only_what_is_young_enough_and_named(config: Config, tmp_path: Path) -> None:
    kept(config, tmp_path, 1, 3)
    assert config.shadow is not None
    os.utime(segments(config.shadow.path)[0], (0, 0))
    kept(config, tmp_path, 4, 5)
    store = FakeStore()
    replayed(config, store, since=1.0)
    assert set(store.written) == {4, 5}
    other = FakeStore()
    assert replayed(config, other, only=("daily_kline",)).rows == 0
    assert other.written == []


def test_a_server_that_goes_away_is_waited_for(config: Config, tmp_path: Path) -> None:
    kept(config, tmp_path, 1, 3)
    store = FakeStore(fails=1)
    replayed(config, store)
    assert set(store.written) == {1, 2, 3}
    assert store.opened >= 2


def test_a_server_that_stays_away_is_told(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_replay, "PATIENCE_S", 0.0)
    kept(config, tmp_path, 1, 3)
    with pytest.raises(AgentError, match="takes no rows"):
        replayed(config, FakeStore(fails=99))


def test_a_row_that_is_refused_now_holds_up_no_other(config: Config, tmp_path: Path) -> None:
    kept(config, tmp_path, 1, 4)
    store = FakeStore(poison=frozenset({2}))
    done = replayed(config, store)
    assert set(store.written) == {1, 3, 4}
    assert done.refused >= 1


def test_where_no_shadow_is_kept_it_says_so(tmp_path: Path) -> None:
    config = load_config(config_file(tmp_path))
    with pytest.raises(BadConfig, match="No shadow"):
        replayed(config, FakeStore())


def test_beside_a_replayer_it_does_nothing(tmp_path: Path) -> None:
    path = config_file(tmp_path, shadow={"path": str(tmp_path / "shadow")})
    lease = Lease(load_config(path).outbox.path)
    assert lease.take()
    try:
        with pytest.raises(shadow_replay.Runs) as told:
            shadow_replay.main(["--config", str(path), "--since", "0"])
        assert told.value.exit_code == 3
    finally:
        lease.release()


def test_a_writer_that_goes_on_is_turned_to_the_outbox_so_that_the_replay_ends(
    config: Config, tmp_path: Path
) -> None:
    """A store that takes rows again is written to as fast as the shadow is read: each look would find more."""
    kept(config, tmp_path, 1, 3)
    outbox, late = Outbox(tmp_path / "outbox.db"), iter(range(4, 1000))

    class BusyStore(FakeStore):
        def write(self, parts: Iterable[Part], deadline_s: float) -> None:
            super().write(parts, deadline_s)
            if not outbox.waiting():  # what agents.writing.writer looks at
                number = next(late)
                kept(config, tmp_path, number, number)

    done = replayed(config, BusyStore())
    assert (done.rows, outbox.waiting()) == (3, 1)
    assert ids(part for record in outbox.pending(100) for part in record.parts) == [1, 2, 3]
    outbox.close()
