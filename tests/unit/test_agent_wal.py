"""Commits, restore points and segments: what pg_waldump and pgBackRest say is read right, without a server."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import AgentError
from agents.postgresql.wal import files, places, records, segment
from agents.postgresql.wal.archive import Repository
from agents.postgresql.wal.archive_map import as_lsn, name
from agents.postgresql.wal.files import SegmentDamaged, SegmentMissing

LINES = """\
rmgr: Transaction len (rec/tot):     34/    34, tx:        742, lsn: 0/05000028, prev 0/04FFFFE0, desc: COMMIT 2026-11-21 06:22:03.123456 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/05000100, prev 0/05000028, desc: ABORT 2026-11-21 06:22:04 UTC
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/05000200, prev 0/05000100, desc: RESTORE_POINT before it
rmgr: Transaction len (rec/tot):   1234/  1234, tx:        744, lsn: 0/06000028, prev 0/05FFFFE0, desc: COMMIT 2026-11-21 06:22:05.5 UTC; inval msgs: catcache 7
"""  # noqa: E501 - as pg_waldump writes them


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> records.Wal:
    """Segments 5 and 6 of timeline 1, without a repository: pg_waldump always says the same lines."""
    program = tmp_path / "pg_waldump"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{LINES}E\necho 'error: where the WAL ends' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    seen: dict[str, Any] = {
        "archive_id": "17-1", "segment_bytes": 16 << 20, "histories": {}, "backups": [{"start": name(1, 5)}],
        "timelines": [{"timeline": 1, "runs": [{"first": name(1, 5), "last": name(1, 6)}]}],
    }  # fmt: skip
    there = os.path.exists
    monkeypatch.setattr(records.Path, "exists", lambda path: "postgresql" in str(path) or there(path))

    def fetched(_repository: Repository, _archive: str, _segment: str, target: Path) -> Path:
        target.touch()
        return target

    monkeypatch.setattr(records, "fetch", fetched)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = records.Wal(Repository(), 1, scratch, seen)
    found.program = str(program)
    return found


def test_commits_around_a_position_leave_out_what_was_rolled_back(archive: records.Wal) -> None:
    said = records.around(archive, 0x5000100, 3, 3)
    assert said == {
        "before": [{"lsn": "0/5000028", "xid": 742, "at": "2026-11-21T06:22:03.123456+00:00"}],
        "after": [{"lsn": "0/6000028", "xid": 744, "at": "2026-11-21T06:22:05.500000+00:00"}],
    }
    assert records.around(archive, 0x6000028, 1, 0)["before"][0]["xid"] == 742
    assert records.around(archive, 0x6000029, 1, 0)["before"][0]["xid"] == 744


def test_a_segment_without_the_name_is_not_read_by_pg_waldump(archive: records.Wal) -> None:
    archive.program = "/nonexistent"
    assert places.named(archive, "nothing of the kind", 60) == {"found": [], "alike": [], "searched": 2, "left": 0}
    assert len(list(archive.scratch.iterdir())) <= 2, "segments that were looked at are thrown away"


def point(text: str, micros: int) -> bytes:
    """A restore point's record as PostgreSQL writes it: header, its only block, time, name."""
    return bytes(24) + bytes([255, 72]) + micros.to_bytes(8, "little") + text.encode().ljust(64, b"\0")


def wal_of(records_at: dict[int, bytes]) -> bytes:
    """A segment with these records, broken at pages as PostgreSQL breaks them."""
    content = bytearray(16 << 20)
    for page in range(0, len(content), segment.PAGE):
        content[page + 2] = 2 if page == 0 else 0
    for begin, record in records_at.items():
        at = begin
        for byte in record:
            at += 24 if at % segment.PAGE == 0 else 0
            content[at] = byte
            at += 1
    return bytes(content)


TWICE = """\
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/05000100, prev 0/05000028, desc: RESTORE_POINT before it
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/05001FF0, prev 0/05000100, desc: RESTORE_POINT before it
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/05003000, prev 0/05001FF0, desc: RESTORE_POINT before it\x20
"""  # noqa: E501 - as pg_waldump writes them


def says(archive: records.Wal, lines: str) -> None:
    Path(archive.program).write_text(f"#!/bin/sh\ncat <<'E'\n{lines}E\n")


def filled(archive: records.Wal, number: int, content: bytes) -> None:
    (archive.scratch / name(1, number)).write_bytes(content)


def test_every_restore_point_of_a_name_is_told_with_its_own_moment(archive: records.Wal) -> None:
    second = 1_000_000
    says(archive, TWICE)
    filled(archive, 5, wal_of({
        0x100: point("before it", 0), 0x1FF0: point("before it", 3600 * second), 0x3000: point("before it ", second),
    }))  # fmt: skip
    found = places.named(archive, "before it", 60)["found"]
    assert [(one["lsn"], one["at"]) for one in found] == [
        ("0/5001FF0", "2000-01-01T01:00:00.000000+00:00"), ("0/5000100", "2000-01-01T00:00:00.000000+00:00"),
    ], "the newest first, also across a page; a blank at its end is another name"  # fmt: skip
    assert {(one["segment"], one["what"], one["timeline"]) for one in found} == {(name(1, 5), "RESTORE_POINT", 1)}


def test_a_second_restore_point_is_looked_for_as_long_as_there_is_patience(archive: records.Wal) -> None:
    says(archive, TWICE.replace("0/05", "0/06"))
    filled(archive, 6, wal_of({0x100: point("before it", 0)}))
    said = places.named(archive, "before it", -1)
    assert (len(said["found"]), said["searched"], said["left"]) == (1, 1, 1)


def test_a_damaged_segment_hides_no_place_in_another_and_is_counted(
    archive: records.Wal, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = records.fetch

    def fetched(repository: Repository, archive_id: str, stored: str, target: Path) -> Path:
        if stored == name(1, 6):
            raise SegmentDamaged(f"WAL segment {stored} is damaged.", "Another backup.")
        return whole(repository, archive_id, stored, target)

    monkeypatch.setattr(records, "fetch", fetched)
    says(archive, TWICE.splitlines()[0] + "\n")
    filled(archive, 5, wal_of({0x100: point("before it", 0)}))
    said = places.named(archive, "before it", 60)
    assert ([one["lsn"] for one in said["found"]], said["left"]) == (["0/5000100"], 1)
    says(archive, CHECKPOINTS)
    said = places.ended(archive, EPOCH + 743)
    assert ([one["lsn"] for one in said["found"]], said["left"]) == (["0/5000100"], 1)


def test_a_name_across_two_segments_is_found(archive: records.Wal) -> None:
    begin = (16 << 20) - 48
    says(archive, TWICE.splitlines()[0].replace("0/05000100", "0/05FFFFD0") + "\n")
    whole = point("before it", 7)
    after = bytearray(16 << 20)
    after[2], after[40 : 40 + len(whole) - 48] = 2, whole[48:]
    filled(archive, 5, wal_of({begin: whole[:48]}))
    filled(archive, 6, bytes(after))
    assert [one["lsn"] for one in places.named(archive, "before it", 60)["found"]] == ["0/5FFFFD0"]


CHECKPOINTS = """\
rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/05000100, prev 0/05000028, desc: COMMIT 2026-11-21 06:22:04 UTC
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/05000300, prev 0/05000200, desc: CHECKPOINT_ONLINE redo 0/5000028; tli 1; prev tli 1; fpw true; wal_level replica; xid 1:744; oid 24576
rmgr: Transaction len (rec/tot):     84/    84, tx:        746, lsn: 0/05000400, prev 0/05000300, desc: COMMIT 2026-11-21 06:22:05 UTC; subxacts: 747 748; inval msgs: catcache 7
rmgr: Transaction len (rec/tot):     84/    84, tx:          0, lsn: 0/05000500, prev 0/05000400, desc: COMMIT_PREPARED 745: 2026-11-21 06:22:06 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx: 4294967295, lsn: 0/05000600, prev 0/05000500, desc: COMMIT 2026-11-21 06:22:07 UTC
"""  # noqa: E501 - as pg_waldump writes them
EPOCH = 1 << 32


@pytest.mark.parametrize(
    ("xid", "lsn"),
    [(EPOCH + 743, "0/5000100"), (EPOCH + 745, "0/5000500"), (EPOCH + 748, "0/5000400"), (EPOCH - 1, "0/5000600")],
)
def test_a_transaction_is_known_by_all_64_bits_prepared_and_parts_of_one_too(
    archive: records.Wal, xid: int, lsn: str
) -> None:
    says(archive, CHECKPOINTS)
    said = places.ended(archive, xid)
    assert ([one["lsn"] for one in said["found"]], said["found"][0]["xid"], said["alike"]) == ([lsn], xid, [])


def test_a_transaction_of_another_epoch_is_none_and_told_as_alike(archive: records.Wal) -> None:
    says(archive, CHECKPOINTS)
    said = places.ended(archive, 743)
    assert (said["found"], [one["xid"] for one in said["alike"]]) == ([], [EPOCH + 743])


def test_without_a_checkpoint_nobody_can_say_which_transaction_it_is(archive: records.Wal) -> None:
    with pytest.raises(AgentError, match="no checkpoint"):
        places.ended(archive, 742)


def test_ancestor_owns_the_segments_before_its_fork(archive: records.Wal) -> None:
    archive.seen["histories"] = {"2": [[1, as_lsn(6 * (16 << 20) + 100)]]}
    child = records.Wal(Repository(), 2, archive.scratch, archive.seen)
    assert [child.owner(segment) for segment in (5, 6)] == [1, 2]
    assert child.last == 5, "of a timeline without segments everything up to the fork"


CONTENT = b"WAL" * 1000


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pgbackrest that lists what is in a folder and gives it out."""
    folder = tmp_path / "repository"
    folder.mkdir()
    program = tmp_path / "pgbackrest"
    program.write_text(f"""#!{os.sys.executable}
import json, pathlib, sys
folder = pathlib.Path({str(folder)!r})
if "repo-get" in sys.argv:
    sys.stdout.buffer.write((folder / sys.argv[-1].rpartition("/")[2]).read_bytes())
else:
    print(json.dumps({{".": {{"type": "path"}}, **{{path.name: {{"type": "file"}} for path in folder.iterdir()}}}}))
""")  # type: ignore[attr-defined]
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return folder


def put(folder: Path, content: bytes, pushed: bytes = CONTENT) -> None:
    (folder / f"{name(1, 5)}-{hashlib.sha1(pushed, usedforsecurity=False).hexdigest()}").write_bytes(content)


def test_segment_is_fetched_and_its_name_is_held_against_its_content(repository: Path, tmp_path: Path) -> None:
    put(repository, CONTENT)
    assert files.fetch(Repository(), "17-1", name(1, 5), tmp_path / "out").read_bytes() == CONTENT
    put(repository, CONTENT[:-1] + b"x")
    with pytest.raises(SegmentDamaged, match="is damaged: its content has SHA-1"):
        files.fetch(Repository(), "17-1", name(1, 5), tmp_path / "out")


def test_segment_that_is_not_there_or_there_twice_is_told(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SegmentMissing, match=name(1, 5)):
        files.fetch(Repository(), "17-1", name(1, 5), tmp_path / "out")
    put(repository, CONTENT)
    put(repository, b"other", b"other")
    with pytest.raises(AgentError, match="2 times"):
        files.fetch(Repository(), "17-1", name(1, 5), tmp_path / "out")
