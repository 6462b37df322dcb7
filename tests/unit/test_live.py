"""A drill while it runs: what it writes of itself, and what whoever follows makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drills.judging.result import NegativeTwin, Outcome
from drills.live import course, follow
from drills.live.course import FILE, Writer
from drills.live.expected import expected, of
from drills.live.follow import Follower
from drills.live.snapshot import snapshot
from inventories.errors import BadInput
from runbooks.engine.journal import Event, Journal
from runbooks.engine.process import started_at
from tests.unit import live_kit as kit

# ---- the writer


def told(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_a_drill_says_who_it_is_then_each_phase_and_sentence(tmp_path: Path) -> None:
    heard: list[str] = []
    writer = Writer(tmp_path, "primary-crash", "it crashes", "leaky-fence")
    writer.mark("normal", 5.0)
    writer.hearing(heard.append)("the feed writes")
    writer.close()
    head, mark, says = told(tmp_path)
    assert (head["run"], head["scenario"], head["twin"]) == (tmp_path.name, "primary-crash", "leaky-fence")
    assert mark == {"at": 5.0, "mark": "normal"} and says["says"] == "the feed writes"
    assert heard == ["the feed writes"] and writer.over and writer.marks == [("normal", 5.0)]


def test_a_full_disk_ends_no_drill_and_costs_only_what_did_not_fit(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to("/dev/full")
    heard: list[str] = []
    writer = Writer(tmp_path, "primary-crash", "it crashes")
    writer.mark("fault", 5.0)
    writer.hearing(heard.append)("it is broken")
    time.sleep(0.1)
    (tmp_path / FILE).unlink()
    writer.mark("detected", 6.0)
    writer.close()
    assert heard == ["it is broken"] and told(tmp_path) == [{"at": 6.0, "mark": "detected"}]


def test_a_folder_that_is_gone_ends_no_drill(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "gone", "primary-crash", "it crashes")
    writer.mark("fault", 5.0)
    writer.close()


def test_a_disk_that_hangs_holds_no_drill_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)  # opening it waits until somebody reads
    writer = Writer(tmp_path, "primary-crash", "it crashes")
    began = time.monotonic()
    for nr in range(1000):
        writer.mark("normal", float(nr))
    assert time.monotonic() - began < 0.5
    writer.close()
    assert 0.5 < time.monotonic() - began < 5, "the drill ends all the same"
    threading.Thread(target=(tmp_path / FILE).read_bytes, daemon=True).start()  # lets its thread go


def test_a_sentence_that_is_no_text_of_any_code_is_written_all_the_same(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "primary-crash", "it crashes")
    writer.hearing(lambda _: None)("a name of bytes: \udcff")
    writer.close()
    assert len(told(tmp_path)) == 2


# ---- how long it takes


def test_what_is_left_is_told_by_the_newest_drill_that_passed(tmp_path: Path) -> None:
    kit.past(tmp_path, "20261127T120000Z-drill-primary-power-loss", duration_s=600.0)
    kit.past(tmp_path)
    kit.past(tmp_path, "20261129T000000Z-drill-primary-power-loss", outcome=Outcome.FAILED, duration_s=7.0)
    kit.past(tmp_path, "20261129T000000Z-drill-primary-power-loss-leaky-fence", duration_s=8.0)
    (tmp_path / "20261129T010000Z-drill-primary-power-loss").mkdir()
    known = expected(tmp_path, kit.SCENARIO)
    assert known and known.whole_s == 60.0
    assert expected(tmp_path, "primary-crash") is None


def test_a_phase_that_goes_on_for_longer_takes_nothing_from_those_after_it(tmp_path: Path) -> None:
    known = of(kit.past(tmp_path))
    begun = [("normal", 100.0)]
    at = {0.0: 60.0, 5.0: 55.0, 10.0: 50.0, 30.0: 50.0}
    for since, left in at.items():
        found = known.left(begun, 100.0 + since)
        assert found and found.seconds == left and found.share == pytest.approx(since / (since + left))
    later = known.left([*begun, ("fault", 130.0), ("power is back", 130.5)], 131.0)
    assert later and later.seconds == 49.0, "the fault came late, and what follows takes what it took"
    over = known.left([*begun, ("restore", 140.0)], 999.0)
    assert over and over.seconds == 0
    assert known.left([], 100.0) is None


# ---- who follows


def test_a_running_drill_is_found_alone_and_among_rounds(tmp_path: Path) -> None:
    assert follow.running(tmp_path) is None
    (tmp_path / "20261129T031600Z-drill-disk-full").mkdir()  # one of before, without a course
    alone = kit.running(tmp_path)
    assert follow.running(tmp_path) == alone.folder
    within = kit.running(tmp_path / "20261129T031700Z-rounds", "20261129T031800Z-drill-primary-crash")
    assert follow.running(tmp_path) == within.folder
    within.end()
    assert follow.running(tmp_path) == within.folder, "its process lives, and may begin the next round"


def test_a_drill_whose_process_is_gone_does_not_run(tmp_path: Path) -> None:
    gone = subprocess.Popen(["sleep", "60"])
    born = started_at(gone.pid)
    gone.kill()
    gone.wait()
    drill = kit.running(tmp_path)
    path = drill.folder / FILE
    for pid, when in ((gone.pid, born), (os.getpid(), "1")):  # dead; and another that has its number now
        head = replace(drill.writer.head, pid=pid, born=when)
        path.write_text(json.dumps(head.__dict__) + "\n")
        assert follow.running(tmp_path) is None
        seen = Follower(drill.folder, tmp_path).look()
        assert seen.outcome == "interrupted" and "its process is gone" in seen.reasons[0]


def test_a_follower_tells_phase_rows_and_time_as_they_come(tmp_path: Path) -> None:
    kit.past(tmp_path)
    drill = kit.running(tmp_path)
    follower = Follower(drill.folder, tmp_path)
    seen = follower.look()
    assert (seen.phase, seen.rows, seen.since_fault_s, seen.step) == ("the feed writes", (), None, "")
    assert seen.left_s == pytest.approx(60, abs=2)
    calm, out = kit.ledger()
    drill.rows(calm)
    drill.writer.mark("fault", time.monotonic() - 3)
    drill.said()
    seen = follower.look()
    (rows,) = seen.rows
    assert (rows.store, rows.by_outbox, rows.writing) == ("PostgreSQL", 0, "store") and rows.by_store > 100_000
    assert seen.since_fault_s == pytest.approx(3, abs=1) and seen.phase == "broken, and not noticed yet"
    drill.rows(out)
    with (drill.folder / "ledger.jsonl").open("a") as file:
        file.write('{"kind": "ack", "by": "out')  # the half of a line that is still being written
    (after,) = follower.look().rows
    assert after.by_store == rows.by_store and after.by_outbox == after.waiting > 0 and after.writing == "outbox"
    drill.end()
    seen = follower.look()
    assert (seen.outcome, seen.left_s, seen.share) == ("passed", None, 1.0)


def test_the_step_of_the_runbook_that_runs_is_told(tmp_path: Path) -> None:
    drill = kit.running(tmp_path)
    follower = Follower(drill.folder, tmp_path)
    folder = drill.folder / "runbooks" / "20261129T031520Z-failover"
    folder.mkdir(parents=True)
    with Journal(folder) as journal:
        journal.write(Event.OPENED, procedure="failover", steps=["assess", "fence", "promote"])
        assert follower.look().step == "failover: gate"
        journal.write(Event.STEP_STARTED, "fence")
        assert follower.look().step == "failover 2 of 3: fence"
        journal.write(Event.FINISHED)
        assert follower.look().step == ""


def test_a_twin_that_failed_as_it_should_is_no_failure(tmp_path: Path) -> None:
    drill = kit.running(tmp_path)
    held = NegativeTwin(name="leaky-fence", held=True, reason="two primaries")
    kit.past(tmp_path, drill.folder.name + "-2", outcome=Outcome.FAILED, negative_twin=held)
    (tmp_path / (drill.folder.name + "-2") / "result.json").rename(drill.folder / "result.json")
    assert Follower(drill.folder, tmp_path).look().outcome == "twin held"


def test_what_cannot_be_read_is_said_or_passed_over(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no drill can be followed"):
        Follower(tmp_path, tmp_path)
    drill = kit.running(tmp_path)
    with (drill.folder / FILE).open("a") as file:
        file.write('{"at": 1, "mark": "fau{"at": 2, "mark": "detected"}\n[]\n')  # torn where the disk was full
    follower = Follower(drill.folder, tmp_path)
    assert follower.look().phase == "the feed writes"
    (drill.folder / "result.json").write_text("{")
    assert follower.look().outcome == "failed"


def test_nothing_is_told_before_it_is_known() -> None:
    head = course.Header(1.0, "run", "primary-crash", "it crashes", "", 1, "1")
    seen = snapshot(head, (), (), None, 2.0)
    assert (seen.phase, seen.elapsed_s) == ("it begins", 1.0)
    assert seen.since_fault_s is seen.left_s is seen.share is None
