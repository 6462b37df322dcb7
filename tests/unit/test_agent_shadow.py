"""The shadow gives back what was acknowledged: in order, since a time, bounded, whatever became of its files."""

from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.base import clock
from agents.base.config import ShadowSettings, load_config
from agents.writing import outbox_cli, shadow
from agents.writing.outbox import Outbox
from agents.writing.shadow import REQUEUE_ROWS, Shadow
from tests.unit.agent_fixtures import config_file, orders, tables


@pytest.fixture
def settings(tmp_path: Path) -> ShadowSettings:
    return ShadowSettings(tmp_path / "shadow")


def kept(settings: ShadowSettings, *ranges: tuple[int, int], tmp_path: Path) -> None:
    known = tables(tmp_path)
    writer = Shadow(settings, 7)
    for first, last in ranges:
        writer.keep(orders(known, first, last))
    writer.close()


def requeued(settings: ShadowSettings, tmp_path: Path, since: float = 0, only: tuple[str, ...] = ()) -> list[int]:
    """The event ids that then wait in the outbox, in order."""
    outbox = Outbox(tmp_path / "outbox.db")
    shadow.requeue(settings, outbox, tables(tmp_path), since, only)
    found = [
        int(line.split("\t")[0])
        for record in outbox.pending(10**6) for part in record.parts for line in part.text.splitlines()
    ]  # fmt: skip
    outbox.close()
    return found


def test_every_acknowledged_row_waits_again_in_order(settings: ShadowSettings, tmp_path: Path) -> None:
    kept(settings, (1, 3), (4, 4), (5, 9), tmp_path=tmp_path)
    assert requeued(settings, tmp_path) == list(range(1, 10))


def test_rows_before_the_time_stay_out(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(settings, (1, 5), tmp_path=tmp_path)
    later, booted = time.time() + 100, clock.since_boot()
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(clock, "since_boot", lambda: booted + 100)
    kept(settings, (6, 8), tmp_path=tmp_path)
    os.utime(shadow.segments(settings.path)[-1], (later, later))
    assert requeued(settings, tmp_path, since=later - 1) == [6, 7, 8]


def test_only_the_named_tables_are_given_back(settings: ShadowSettings, tmp_path: Path) -> None:
    kept(settings, (1, 3), tmp_path=tmp_path)
    assert requeued(settings, tmp_path, only=("daily_kline",)) == []
    assert requeued(settings, tmp_path, only=("order_records",)) == [1, 2, 3]


def test_a_torn_end_costs_only_the_torn_batch(settings: ShadowSettings, tmp_path: Path) -> None:
    kept(settings, (1, 3), (4, 6), tmp_path=tmp_path)
    segment = shadow.segments(settings.path)[0]
    segment.write_bytes(segment.read_bytes()[:-5])
    outbox = Outbox(tmp_path / "outbox.db")
    done = shadow.requeue(settings, outbox, tables(tmp_path), 0)
    outbox.close()
    assert (done.rows, done.damaged_segments) == (3, 1)


def test_a_flipped_byte_is_never_given_back(settings: ShadowSettings, tmp_path: Path) -> None:
    kept(settings, (1, 3), tmp_path=tmp_path)
    segment = shadow.segments(settings.path)[0]
    content = bytearray(segment.read_bytes())
    content[shadow.FRAME.size + 10] ^= 1
    segment.write_bytes(content)
    assert requeued(settings, tmp_path) == []


def test_old_segments_go_and_the_newest_stays(settings: ShadowSettings, tmp_path: Path) -> None:
    for number in range(3):
        kept(settings, (number * 10 + 1, number * 10 + 2), tmp_path=tmp_path)
        time.sleep(0.002)
    files = shadow.segments(settings.path)
    assert len(files) == 3
    os.utime(files[0], (0, 0))
    shadow.trim(settings, time.time())
    assert shadow.segments(settings.path) == files[1:]
    shadow.trim(replace(settings, max_bytes=1), time.time())
    assert shadow.segments(settings.path) == files[2:]


@pytest.mark.parametrize("days", [60, -60])
def test_no_jump_of_the_clock_makes_segments_old(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    for first in (1, 2, 3):
        kept(settings, (first, first), tmp_path=tmp_path)
    real, booted = time.time, clock.since_boot
    shadow.trim(settings, real())
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    shadow.trim(settings, time.time())
    assert shadow.trim_covered(settings, time.time() + 86400) == 0
    assert len(shadow.segments(settings.path)) == 3
    monkeypatch.setattr(clock, "since_boot", lambda: booted() + settings.keep_s + 5)
    monkeypatch.setattr(time, "time", lambda: real() + settings.keep_s + 5 + days * 86400)
    shadow.trim(settings, real() + settings.keep_s + 5)
    assert len(shadow.segments(settings.path)) == 1, "they have grown old meanwhile, whatever the clock says"


@pytest.mark.parametrize("days", [60, -60])
def test_what_was_acknowledged_by_a_wrong_clock_is_queued_again(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """By a clock that was behind each of its rows seemed older than the backup, and nobody else has them."""
    real = time.time
    kept(settings, (1, 2), tmp_path=tmp_path)
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    kept(settings, (3, 4), tmp_path=tmp_path)
    for file in shadow.segments(settings.path):
        stamp = int(file.name[:15]) / 1000
        os.utime(file, (stamp, stamp))
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(tables(tmp_path), 5, 6), tables(tmp_path), 7)
    outbox.mark_applied(outbox.pending(10), "pg1", 1)
    outbox.close()
    monkeypatch.setattr(time, "time", real)
    shadow.trim(settings, real())
    assert len(shadow.segments(settings.path)) == 2, "set right, it makes nothing old either"
    assert sorted(requeued(settings, tmp_path, since=real() - 60)) == [1, 2, 3, 4, 5, 6]


def test_a_segment_ends_in_time_also_where_the_clock_was_set_back(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the disk then, and what is too old goes; otherwise it would stay open for sixty days."""
    writer, real, passed = Shadow(settings, 7), time.time, time.monotonic
    writer.keep(orders(tables(tmp_path), 1, 2))
    monkeypatch.setattr(time, "time", lambda: real() - 60 * 86400)
    monkeypatch.setattr(time, "monotonic", lambda: passed() + shadow.SEGMENT_S + 1)
    writer.keep(orders(tables(tmp_path), 3, 4))
    writer.close()
    assert len(shadow.segments(settings.path)) == 2


def test_a_segment_that_another_writer_let_go_of_costs_no_row(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some processes with some writers each let go of the same old segments at the same time."""
    kept(settings, (1, 3), tmp_path=tmp_path)
    real = shadow.segments
    gone = settings.path / "000000000000001-7-1.shadow"
    monkeypatch.setattr(shadow, "segments", lambda folder: [gone, *real(folder)])
    monkeypatch.setattr(shadow, "SEGMENT_S", -1.0)  # a new segment, and a look at the old ones, for every batch
    writer = Shadow(settings, 7)
    for first in (4, 6, 8):
        writer.keep(orders(tables(tmp_path), first, first + 1))
    writer.close()
    assert capsys.readouterr().err == ""
    assert shadow.look(settings).since is not None
    assert shadow.trim_covered(settings, 0.0) == 1
    monkeypatch.setattr(shadow, "segments", real)
    assert sorted(requeued(settings, tmp_path)) == [*range(1, 10)]


def test_a_frame_of_another_version_is_told_and_those_behind_it_are_read(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = shadow.data_of
    monkeypatch.setattr(shadow, "data_of", lambda parts: plain(parts).replace('"n":', '"rows":'))
    kept(settings, (1, 3), tmp_path=tmp_path)
    monkeypatch.setattr(shadow, "data_of", plain)
    time.sleep(0.002)
    kept(settings, (4, 6), tmp_path=tmp_path)
    outbox = Outbox(tmp_path / "outbox.db")
    done = shadow.requeue(settings, outbox, tables(tmp_path), 0)
    outbox.close()
    assert (done.rows, done.damaged_segments) == (3, 1)


def test_a_disk_that_takes_no_more_never_stops_the_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shadow").write_text("in the way")
    writer = Shadow(ShadowSettings(tmp_path / "shadow"), 7)
    for _ in range(3):
        writer.keep(orders(tables(tmp_path), 1, 2))
    assert capsys.readouterr().err.count("takes no more") == 1


def test_what_the_replayer_applied_is_queued_again_too(settings: ShadowSettings, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(tables(tmp_path), 1, 4), tables(tmp_path), 7)
    outbox.mark_applied(outbox.pending(10), "pg1", 1)
    outbox.close()
    assert requeued(settings, tmp_path) == [1, 2, 3, 4]


def test_records_are_large_and_bounded(settings: ShadowSettings, tmp_path: Path) -> None:
    kept(settings, *((n * 500 + 1, n * 500 + 500) for n in range(9)), tmp_path=tmp_path)
    outbox = Outbox(tmp_path / "outbox.db")
    done = shadow.requeue(settings, outbox, tables(tmp_path), 0)
    outbox.close()
    assert (done.rows, done.records) == (4500, 3)
    assert REQUEUE_ROWS == 2000


def test_command_line_requeues_and_says_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file(tmp_path, shadow={"path": str(tmp_path / "shadow")})
    settings = load_config(path).shadow
    assert settings is not None
    kept(settings, (1, 3), tmp_path=tmp_path)
    assert outbox_cli.main(["--config", str(path), "requeue", "--since", "0"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 3, "records": 1, "damaged_segments": 0}
    outbox_cli.main(["--config", str(path), "status"])
    said = json.loads(capsys.readouterr().out)
    assert said["pending_rows"] == 3
    assert said["shadow_bytes"] > 0
    assert said["shadow_since"] <= time.time()


def test_what_a_backup_covers_goes_and_the_newest_segment_stays(settings: ShadowSettings, tmp_path: Path) -> None:
    for number in range(3):
        kept(settings, (number * 10 + 1, number * 10 + 2), tmp_path=tmp_path)
        time.sleep(0.002)
    files = shadow.segments(settings.path)
    for at, file in enumerate(files):
        os.utime(file, (1000 + at, 1000 + at))
    assert shadow.trim_covered(settings, 1000) == 0
    assert shadow.trim_covered(settings, 1000.5) == 1
    assert shadow.segments(settings.path) == files[1:]
    assert shadow.trim_covered(settings, time.time()) == 1
    assert shadow.segments(settings.path) == files[2:], "the writer may have it open"


def test_a_disk_that_fills_up_in_the_middle_of_a_segment_never_stops_the_writer(
    settings: ShadowSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bytes that found no room are tried again when the file is closed, and fail again there."""
    writer, known = Shadow(settings, 7), tables(tmp_path)
    writer.keep(orders(known, 1, 2))
    size = sum(file.stat().st_size for file in shadow.segments(settings.path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        for first in range(10, 400, 10):
            writer.keep(orders(known, first, first + 9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.keep(orders(known, 900, 901))
    writer.close()
    assert "takes no more" in capsys.readouterr().err
    newest = shadow.segments(settings.path)[-1]
    assert [part.first for _, parts in shadow.frames(newest) for part in parts][-1] == 900


def test_the_shadow_leaves_the_disk_to_the_outbox(
    settings: ShadowSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        kept(settings, (number * 10 + 1, number * 10 + 2), tmp_path=tmp_path)
        time.sleep(0.002)
    free = iter([shadow.FREE_BYTES - 1, shadow.FREE_BYTES - 1, shadow.FREE_BYTES])
    monkeypatch.setattr(shadow, "free_bytes", lambda folder: next(free, 0))
    kept(settings, (51, 52), tmp_path=tmp_path)
    assert len(shadow.segments(settings.path)) == 2, "two old ones made room"
    kept(settings, (61, 62), tmp_path=tmp_path)
    assert "which are the outbox's" in capsys.readouterr().err
