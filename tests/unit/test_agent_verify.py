"""What pgbackrest verify says is judged, since it ends with 0 whatever it finds; a segment is known by its content."""

from __future__ import annotations

import hashlib
import struct

import pytest

from agents.base.errors import AgentError
from agents.postgresql import check
from agents.postgresql.check import Forced
from agents.postgresql.verify import judge
from agents.postgresql.wal.segment import header, holds

# As pgBackRest 2.55.1 writes it.
SOUND = """stanza: main
status: ok
  archiveId: 17-1, total WAL checked: 7, total valid WAL: 7
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261121-062736F, status: valid, total files checked: 1431, total valid files: 1431
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""
DAMAGED = """stanza: main
status: error
  archiveId: 17-1, total WAL checked: 7, total valid WAL: 6
    missing: 0, checksum invalid: 1, size invalid: 0, other: 0
  backup: 20261121-062736F, status: invalid, total files checked: 1431, total valid files: 1430
    missing: 0, checksum invalid: 1, size invalid: 0, other: 0
"""
LOG = """INFO: verify command begin 2.55.1: --exec-id=3599-6b004a86 --stanza=main
INFO: invalid checksum '17-1/0000000100000000/000000010000000000000003-b5a95606fd133dc8afcc996f4c756a73b89c9446.zst'
INFO: invalid checksum '20261121-062736F/bundle/1'
INFO: verify command end: completed successfully (336ms)
"""
EMPTY = "stanza: main\nstatus: ok\n    no archives or backups exist in the repo\n"
NO_WAL = """stanza: main
status: error
  archiveId: none found
  backup: 20261121-062736F, status: valid, total files checked: 1431, total valid files: 1431
"""


def test_a_sound_repository_is_judged_sound_and_counted() -> None:
    found = judge(SOUND, "")
    assert (found.backups, found.files, found.segments, found.damaged, found.wrong) == (1, 1431, 7, (), ())


def test_damage_is_named() -> None:
    found = judge(DAMAGED, LOG)
    assert found.wrong == ("backup 20261121-062736F is invalid", "1 of 7 WAL segments of 17-1 are damaged")
    assert [name.partition("-b5")[0] for name in found.damaged] == [
        "17-1/0000000100000000/000000010000000000000003", "20261121-062736F/bundle/1",
    ]  # fmt: skip


def test_an_empty_repository_which_pgbackrest_calls_well_is_wrong() -> None:
    assert judge(EMPTY, "").wrong == ("no file of any backup was looked at", "no WAL segment was looked at")


def test_an_archive_without_wal_is_wrong() -> None:
    assert judge(NO_WAL, "").wrong == ("no WAL segment was looked at",)


def test_a_report_in_another_form_is_wrong() -> None:
    said = judge(SOUND.replace("status: ok", "status: well"), "")
    assert said.wrong == ("pgBackRest does not call the repository ok",)
    assert judge("", "").wrong


SEGMENT = "00000002000000000000000B"
FORCED = Forced("pg1", SEGMENT, 7_000_000_000_000_000_001, "mystocks-check-0123456789abcdef")


def segment(*, timeline: int = 2, system: int = FORCED.system_id, at: int = 5000, marker: str = FORCED.marker) -> bytes:
    """16 MiB with a marker `at` bytes into its records, page headers in between as PostgreSQL writes them."""
    size = 16 << 20
    first = struct.pack("<HHIQI4xQII", 0xD116, 2, timeline, 0xB000000, 0, system, size, 8192)
    records = bytearray(size)
    records[at : at + len(marker)] = marker.encode()
    pages, taken = [first + bytes(records[: 8192 - 40])], 8192 - 40
    while len(pages) < size // 8192:
        pages.append(b"\xd1" * 24 + bytes(records[taken : taken + 8192 - 24]))
        taken += 8192 - 24
    return b"".join(pages)


def test_the_header_tells_whose_segment_it_is() -> None:
    found = header(segment())
    assert (found.timeline, found.system_id, found.segment_bytes) == (2, FORCED.system_id, 16 << 20)
    with pytest.raises(AgentError, match="is none"):
        header(b"short")


@pytest.mark.parametrize("at", [0, 5000, 8192 - 40 - 10, 8192 - 40, 3 * 8168 + 8152 - 5])
def test_the_marker_is_found_also_across_pages(at: int) -> None:
    assert holds(segment(at=at), FORCED.marker.encode())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_right_segment_is_judged_right() -> None:
    check.judge(segment(), FORCED, sha256(segment()), "pgbackrest archive-push %p")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (segment(timeline=1), "timeline 1"),
        (segment(system=5), "cluster 5"),
        (segment(marker="another-restore-point"), "is not in it"),
        (segment()[:-1] + b"x", "its SHA-256 is"),
    ],
)
def test_another_segment_of_that_name_is_judged_wrong(content: bytes, words: str) -> None:
    with pytest.raises(AgentError, match=words) as wrong:
        check.judge(content, FORCED, sha256(segment()), "cp %p /elsewhere")
    assert SEGMENT in str(wrong.value)
    assert "In force is archive_command 'cp %p /elsewhere'" in str(wrong.value)
    assert wrong.value.hint
