"""The outbox keeps what it acknowledged: order, crash safety, poison, cap, checksum, lease."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agents.base import clock
from agents.base.errors import OutboxDamaged, OutboxFull
from agents.writing import outbox_cli
from agents.writing.lease import Lease
from agents.writing.letters import Letters
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import config_file, orders, tables

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from pathlib import Path
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import orders, tables
folder = Path(sys.argv[1])
outbox, known = Outbox(folder / "outbox.db"), tables(folder)
for k in range(1, 100000):
    print(outbox.enqueue(orders(known, 10 * k, 10 * k + 9), known, 7), flush=True)
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.db")


def fill(outbox: Outbox, folder: Path, records: int, origin: int = 7) -> None:
    known = tables(folder)
    for k in range(1, records + 1):
        outbox.enqueue(orders(known, 10 * k, 10 * k + 9), known, origin)


def test_records_come_back_in_order_and_whole(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 5)
    records = outbox.pending(max_rows=30)
    assert [record.parts[0].first for record in records] == [10, 20, 30]
    assert records[0].parts == orders(tables(tmp_path), 10, 19).parts
    assert (records[0].classification, records[0].target_database) == ("transaction_data", "quant_research")


def test_a_record_larger_than_asked_for_still_comes_out(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 2)
    assert len(outbox.pending(max_rows=1)) == 1


def test_what_was_acknowledged_survives_a_kill_in_mid_enqueue(tmp_path: Path) -> None:
    tables(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    child.wait()
    found = [record.id for record in Outbox(tmp_path / "outbox.db").pending(10**9)]
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1  # one may be stored but not yet acknowledged


def test_every_commit_is_synced(outbox: Outbox) -> None:
    assert outbox._one("PRAGMA journal_mode")[0] == "wal"
    assert outbox._one("PRAGMA synchronous")[0] == 2


def test_applied_records_are_reported_once_in_order_and_only_to_their_origin(
    outbox: Outbox, tmp_path: Path
) -> None:
    fill(outbox, tmp_path, 3)
    fill(outbox, tmp_path, 1, origin=8)
    outbox.mark_applied(outbox.pending(20), "pg2", 2)
    first = outbox.applied_since(0, origin=7, up_to_id=99)
    assert [(a.tables["order_records"], a.host, a.timeline) for a in first] == [
        ([10, 19, 10], "pg2", 2),
        ([20, 29, 10], "pg2", 2),
    ]
    outbox.mark_applied(outbox.pending(20), "pg2", 2)
    assert [a.tables["order_records"][0] for a in outbox.applied_since(first[-1].no, 7, 99)] == [30]
    assert len(outbox.applied_since(0, origin=8, up_to_id=99)) == 1
    assert outbox.applied_since(0, origin=8, up_to_id=3) == []


def test_marking_twice_counts_once(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 1)
    records = outbox.pending(10)
    outbox.mark_applied(records, "pg1", 1)
    outbox.mark_applied(records, "pg2", 2)
    assert [a.host for a in outbox.applied_since(0, 7, 99)] == ["pg1"]


def test_a_poison_row_stands_alone_and_can_be_tried_again(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 2)
    record = outbox.pending(10)[0]
    left, right = record.parts[0].halves()
    poison = right.halves()[0].halves()[0]
    outbox.mark_separated(record, [left], [(poison, "value too long")], "pg1", 1)
    status = outbox.status()
    assert (status.pending_rows, status.dead_rows, status.applied_rows) == (10, 1, 5)
    letters = Letters(tmp_path / "outbox.db")
    (letter,) = letters.every()
    assert letter.tables == {"order_records": [15, 15, 1]}
    assert letter.last_error == "value too long"
    assert letters.rows(letter.id)[0][1]["order_id"] == "O15"
    assert letters.retry([letter.id + 99], tables(tmp_path), "", range) == (0, [letter.id + 99])
    assert letters.retry([letter.id], tables(tmp_path), "", range) == (1, [])
    assert outbox.status().dead_rows == 0


def test_a_full_outbox_does_not_acknowledge_and_can_still_be_drained(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=200_000)
    with pytest.raises(OutboxFull) as error:
        fill(outbox, tmp_path, 1000)
    assert "takes no more" in str(error.value)
    stored = outbox.status().pending_records
    assert 0 < stored < 1000
    outbox.mark_applied(outbox.pending(10**9), "pg1", 1)
    assert outbox.purge(keep_s=-1, at_most=10**6) == stored - 1
    fill(outbox, tmp_path, 1)
    assert outbox.status().pending_records == 1


def test_applied_records_make_room_before_a_row_is_turned_away(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=200_000)
    with pytest.raises(OutboxFull):
        fill(outbox, tmp_path, 1000)
    outbox.mark_applied(outbox.pending(10**9), "pg1", 1)
    fill(outbox, tmp_path, 100)
    assert outbox.status().pending_records == 100


def test_a_changed_record_is_found_by_its_checksum_and_does_not_stop_the_others(
    outbox: Outbox, tmp_path: Path
) -> None:
    fill(outbox, tmp_path, 3)
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("UPDATE outbox_queue SET data = replace(data, 'O2', 'O9') WHERE id = 2")
    assert [record.id for record in outbox.pending(100)] == [1, 3]
    (letter,) = Letters(tmp_path / "outbox.db").every()
    assert "checksum" in (letter.last_error or "")


@pytest.mark.parametrize("damage", [b"this is no database" * 500, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_damaged_file_is_one_sentence_and_stays_where_it_is(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(damage)
    with pytest.raises(OutboxDamaged) as error:
        Outbox(path)
    assert str(path) in str(error.value)
    assert error.value.hint
    assert path.read_bytes() == damage


def test_damage_inside_the_file_is_found_when_it_is_opened(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 200)
    outbox.close()
    path = tmp_path / "outbox.db"
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 9 * 4096] = b"\x5a" * (4 * 4096)
    path.write_bytes(content)
    with pytest.raises(OutboxDamaged):
        Outbox(path)


def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutboxDamaged):
        Outbox(tmp_path / "none" / "outbox.db")


def test_purging_keeps_young_records_and_numbers_never_start_again(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 4)
    outbox.mark_applied(outbox.pending(40), "pg1", 1)
    assert outbox.purge(keep_s=60) == 0
    assert outbox.purge(keep_s=-1) == 3
    assert outbox.last_applied_no() == 4


@pytest.mark.parametrize("days", [60, -60])
def test_no_jump_of_the_clock_makes_what_was_applied_old(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """It is part of the shadow: what neither archive nor backup has yet. A jump ahead let go of all of it at once."""
    real, booted = time.time, clock.since_boot
    fill(outbox, tmp_path, 2)
    outbox.mark_applied(outbox.pending(20), "pg1", 1)
    assert outbox.purge(60) == 0
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    assert outbox.purge(60) == 0
    fill(outbox, tmp_path, 2)
    outbox.mark_applied(outbox.pending(20), "pg1", 1)
    monkeypatch.setattr(time, "time", real)
    assert outbox.purge(60) == 0, "what was stamped meanwhile is not old because the clock was set right"
    monkeypatch.setattr(clock, "since_boot", lambda: booted() + 65)
    monkeypatch.setattr(time, "time", lambda: real() + 65)
    assert outbox.purge(60) == 3, "older than that by now, whatever its stamps say"


def test_the_lease_has_one_holder_and_ends_with_the_holder_however_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    program = (
        "import sys, time; from pathlib import Path; from agents.writing.lease import Lease;"
        "lease = Lease(Path(sys.argv[1])); print(lease.take(), flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    lease = Lease(path)
    assert not lease.take()
    child.kill()
    child.wait()
    assert lease.take()
    lease.release()
    assert Lease(path).take()


def test_the_command_line_shows_an_outbox_that_nobody_used_yet_without_making_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_file(tmp_path)
    for command in ("status", "dead", "retry-dead"):
        assert outbox_cli.main(["--config", str(path), command]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["pending_rows"], first["replayer_running"]) == (0, False)
    assert not (tmp_path / "outbox.db").exists()


def test_the_command_line_counts_rows_and_age(
    outbox: Outbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(outbox, tmp_path, 3)
    lease = Lease(tmp_path / "outbox.db")
    lease.take()
    outbox_cli.main(["--config", str(config_file(tmp_path)), "status"])
    status = json.loads(capsys.readouterr().out)
    assert (status["pending_records"], status["pending_rows"]) == (3, 30)
    assert 0 <= status["oldest_age_s"] < 60
    assert status["replayer_running"] is True
    assert 0 < status["size_bytes"] < status["max_bytes"]


def test_looking_for_pending_records_stays_quick_with_many_of_them(outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, tmp_path, 50)
    plan = outbox._db.execute(
        "EXPLAIN QUERY PLAN SELECT 1 FROM outbox_queue WHERE status = 'pending' LIMIT 1"
    ).fetchall()
    assert "outbox_pending" in str(plan)
    assert outbox.waiting(4) == 4
    assert outbox.last_applied_at() == 0.0 < time.time()


def test_several_may_make_the_file_at_once(tmp_path: Path) -> None:
    """SQLite answers a change of the journal mode at once with "locked" and does not wait as it does elsewhere."""

    def open_it(path: Path) -> int:
        together.wait()
        outbox = Outbox(path)
        try:
            return outbox.waiting()
        finally:
            outbox.close()

    together = threading.Barrier(4)
    with ThreadPoolExecutor(4) as four:
        for number in range(25):
            assert list(four.map(open_it, [tmp_path / f"{number}.db"] * 4)) == [0, 0, 0, 0]
