from __future__ import annotations

import pytest

from runbooks.probes.postgresql.pgbackrest import _open_bytes, _repository

SAID = {
    "archive": [{"id": "17-1", "max": "000000010000000000000007", "min": "000000010000000000000001"}],
    "backup": [
        {
            "archive": {"start": "000000010000000000000003", "stop": "000000010000000000000004"}, "error": False,
            "info": {"size": 33278893, "repository": {"delta": 3945536}}, "label": label, "type": kind,
            "timestamp": {"start": stop - 1, "stop": stop},
        }
        for label, kind, stop in (("20260101-000000F", "full", 200), ("20260101-000000F_20260101-010000I", "incr", 300))
    ],
    "cipher": "aes-256-cbc",
    "db": [{"id": 1, "system-id": 7710460313310159332, "version": "17"}],
    "status": {"code": 0, "lock": {"backup": {"held": False}}, "message": "ok"},
}  # fmt: skip


def test_newest_backup_is_the_one_that_ended_last() -> None:
    found = _repository(SAID)
    assert found.newest is not None
    assert (found.newest.type, found.newest.timeline) == ("incr", 1)
    assert (found.archive_id, found.archive_max) == ("17-1", "000000010000000000000007")


def test_stanza_without_backups_and_archive_is_read() -> None:
    found = _repository({"backup": [], "archive": [], "db": [], "status": {"code": 2, "message": "no valid backups"}})
    assert found.newest is None
    assert (found.status, found.archive_max, found.cipher) == (2, "", "none")


@pytest.mark.parametrize(
    ("archived", "written", "count"),
    [
        ("000000010000000000000007", "0/8000000", 0),
        ("000000010000000000000007", "0/8000100", 256),
        ("0000000100000000000000FF", "1/10", 16),
        ("000000020000000100000000", "1/1000000", 0),
        ("000000010000000000000007", "0/7000000", 0),  # the archive is ahead of a position read a moment before
        ("00000002.history", "0/8000000", None),
        ("000000010000000000000007.partial", "0/8000000", None),
        (None, "0/8000000", None),
        ("000000010000000000000007", None, None),
    ],
)
def test_open_bytes_start_where_the_archive_ends(archived: str | None, written: str | None, count: int | None) -> None:
    assert _open_bytes(archived, written, 16 << 20) == count
