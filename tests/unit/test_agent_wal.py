"""Commits, restore points and segments: what pg_waldump and pgBackRest say is read right, without a server."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import AgentError
from agents.postgresql.wal import files, records
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


def test_restore_point_and_the_end_of_a_transaction_are_found(archive: records.Wal) -> None:
    found = records.find(archive, restore_point="before it")["found"]
    assert (found["lsn"], found["segment"], found["what"]) == ("0/5000200", name(1, 5), "RESTORE_POINT")
    assert records.find(archive, restore_point="before") == {"found": None, "searched": 2}


def test_segments_that_were_looked_at_are_thrown_away(archive: records.Wal) -> None:
    records.find(archive, restore_point="nothing of the kind")
    assert len(list(archive.scratch.iterdir())) <= 2


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
