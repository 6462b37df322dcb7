"""Event ids never go back and are nobody else's, whatever clocks, processes and power do."""

from __future__ import annotations

import fcntl
import multiprocessing
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from agents.base.errors import BadConfig
from agents.writing import clock as module
from agents.writing.clock import FRACTION_BITS, NODES, STEP, Clock, ClockUnusable, since_boot_ns

SECOND = 10**9


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock", 5)


def at(monkeypatch: pytest.MonkeyPatch, unix_s: float) -> None:
    monkeypatch.setattr(module.time, "time_ns", lambda: int(unix_s * SECOND))


def reboot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("00000000-0000-0000-0000-00000000beef\n")
    monkeypatch.setattr(module, "_BOOT", tmp_path / "boot_id")


def test_an_id_tells_its_second_and_its_host(clock: Clock) -> None:
    before = int(time.time())
    ids = clock.reserve(3)
    assert before <= ids[0] >> 32 <= before + 1
    assert {event % NODES for event in ids} == {5}
    assert list(ids) == [ids[0], ids[0] + STEP, ids[0] + 2 * STEP]


def test_ids_go_on_when_the_clock_is_set_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 1_800_000_000)
    first = clock.reserve(10)
    at(monkeypatch, 1_700_000_000)
    second = clock.reserve(10)
    assert second[0] == first[-1] + STEP
    assert clock.ahead_s() > 99_000_000


def test_a_new_process_goes_on_where_another_stopped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 1_800_000_000)
    last = clock.reserve(1000)[-1]
    assert Clock(clock.path, 5).reserve(1)[0] > last


def test_after_a_power_cut_that_lost_the_file_s_newest_word_no_id_is_given_twice(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was synced last is what the disk has: ids up to the ceiling may have been given since."""
    at(monkeypatch, 1_800_000_000)
    clock.reserve(1)
    synced = clock.path.read_bytes()
    last = clock.reserve(1_000_000)[-1]
    clock.path.write_bytes(synced)
    reboot(monkeypatch, tmp_path)
    at(monkeypatch, 1_700_000_000)
    assert Clock(clock.path, 5).reserve(1)[0] > last


def test_the_disk_is_asked_only_when_the_ceiling_is_reached(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(module.os, "fdatasync", synced.append)
    at(monkeypatch, 1_800_000_000)
    for _ in range(100):
        clock.reserve(10)
    assert len(synced) == 1
    at(monkeypatch, 1_800_000_011)
    clock.reserve(1)
    assert len(synced) == 2


def test_the_store_s_time_replaces_a_clock_that_is_wrong_and_one_that_is_set_later(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 1_800_000_000 - 36_000)  # this host is ten hours behind
    clock.calibrate(1_800_000_000 * SECOND, since_boot_ns())
    assert 0 <= (clock.reserve(1)[0] >> 32) - 1_800_000_000 <= 2
    at(monkeypatch, 1_900_000_000)  # and somebody sets it to 2030
    assert 0 <= (clock.reserve(1)[0] >> 32) - 1_800_000_000 <= 2


def test_a_store_that_is_years_ahead_is_not_believed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that followed it would win over everything until then, on every host that ever asked it."""
    at(monkeypatch, 1_800_000_000)
    clock.calibrate(1_900_000_000 * SECOND, since_boot_ns())
    assert clock.reserve(1)[0] >> 32 == 1_800_000_000
    clock.calibrate(1_700_000_000 * SECOND, since_boot_ns())  # one that is behind takes nothing back
    assert clock.reserve(1)[0] >> 32 == 1_800_000_000


def test_a_holder_that_was_stopped_is_not_waited_for_for_ever(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    clock.reserve(1)
    with clock.path.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ClockUnusable, match="held the clock"):
            clock.reserve(1)
    assert clock.reserve(1)


def test_what_a_store_said_is_no_longer_believed_after_a_boot(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at(monkeypatch, 1_800_000_000)
    clock.calibrate(1_800_000_100 * SECOND, since_boot_ns())
    reboot(monkeypatch, tmp_path)
    at(monkeypatch, 1_850_000_000)
    assert clock.reserve(1)[0] >> 32 == 1_850_000_000


def test_a_clock_behind_2037_gives_none_instead_of_one_that_wins_for_ever(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 1 << 31)
    with pytest.raises(ClockUnusable, match="2037"):
        clock.reserve(1)
    at(monkeypatch, 1_800_000_000)
    assert clock.reserve(1)[0] >> 32 == 1_800_000_000


def test_a_damaged_file_gives_none(clock: Clock) -> None:
    clock.reserve(1)
    data = bytearray(clock.path.read_bytes())
    data[10] ^= 1
    clock.path.write_bytes(data)
    with pytest.raises(ClockUnusable, match="damaged") as error:
        clock.reserve(1)
    assert error.value.hint


def test_two_hosts_never_give_the_same_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 1_800_000_000)
    one, other = (set(Clock(tmp_path / f"clock{node}", node).reserve(5000)) for node in (1, 2))
    assert not one & other


@pytest.mark.parametrize("node", [-1, NODES])
def test_a_node_that_has_no_room_is_refused(tmp_path: Path, node: int) -> None:
    with pytest.raises(BadConfig):
        Clock(tmp_path / "clock", node)


def _take(path: Path, rounds: int, put: Callable[[list[tuple[int, int]]], None]) -> None:
    clock = Clock(path, 5)
    put([(ids[0], ids[-1]) for ids in (clock.reserve(7) for _ in range(rounds))])


def test_processes_share_one_clock_and_the_later_save_has_the_greater_ids(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_take, args=(tmp_path / "clock", 200, queue.put)) for _ in range(3)]
    for worker in workers:
        worker.start()
    taken = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert all(before[1] < after[0] for ids in taken for before, after in pairwise(ids))
    ranges = sorted(pair for ids in taken for pair in ids)
    assert len(ranges) == 600
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def test_an_id_of_today_is_greater_than_that_of_a_feed_that_began_before(clock: Clock) -> None:
    """Rows that older programs wrote have the second of their start in the upper half, and a count in the lower."""
    feed = (int(time.time()) - 1) << 32 | 0xFFFF_FFFF
    assert clock.reserve(1)[0] > feed
    assert FRACTION_BITS + (NODES - 1).bit_length() == 32


def test_a_file_that_was_moved_away_counts_for_nobody_any_more(tmp_path: Path) -> None:
    """Its hint says so; two processes with a file each would hand out the same ids."""
    one, other = Clock(tmp_path / "clock", 17), Clock(tmp_path / "clock", 17)
    one.reserve(1)
    (tmp_path / "clock").rename(tmp_path / "away")
    found = [event for _ in range(20) for clock in (one, other) for event in clock.reserve(5000)]
    assert len(set(found)) == len(found)
    assert found == sorted(found)
