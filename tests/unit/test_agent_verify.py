"""What pgbackrest verify says is judged, since it ends with 0 whatever it finds; a segment is known by its content."""

from __future__ import annotations

import hashlib
import struct
import time
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.jobs import proofs, verification
from agents.jobs.config import Retention
from agents.jobs.proofs import Proof
from agents.jobs.retention import Backup as Base
from agents.jobs.retention import plan
from agents.postgresql import check
from agents.postgresql.check import Forced
from agents.postgresql.pgbackrest import Backup
from agents.postgresql.verify import judge, note
from agents.postgresql.wal.segment import header, holds
from tests.unit.jobs_kit import backup_host

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


# Both of its manifests are gone: pgBackRest 2.55.1 calls the repository ok all the same.
NO_MANIFEST = f"""{SOUND}\
  backup: 20261122-062736F, status: manifest missing, total files checked: 0, total valid files: 0
"""


def test_a_backup_without_its_manifest_is_damaged_whatever_the_status_says() -> None:
    found = judge(NO_MANIFEST, "")
    assert found.wrong == ("backup 20261122-062736F is manifest missing",)
    assert found.labels == {"20261122-062736F": "pgBackRest calls it manifest missing"}


def backup(label: str, start: str, stop: str, timeline: int = 1) -> Backup:
    name = f"{timeline:08X}{0:08X}"
    return Backup(label, "full", 1, 2, "0/0", "0/0", f"{name}{start:>08}", f"{name}{stop:>08}", 1, False, 17, "")


def test_what_a_verification_finds_is_noted_for_each_backup_and_taken_back_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "proofs.jsonl"
    label, other = "20261121-062736F", "20261122-062736F"
    there = (backup(label, "1", "2"), backup(other, "3", "4"), backup("20261123-062736F", "3", "4", timeline=2))
    proofs.append(Proof(label, 1.0, True), path)
    proofs.append(Proof(other, 1.0, True), path)
    note(path, judge(DAMAGED, LOG), there)
    known = proofs.verdicts(proofs.read(path))
    assert known[label].damaged == ("20261121-062736F/bundle/1",)
    assert known[other].damaged[0].startswith("17-1/0000000100000000/000000010000000000000003-"), "its own WAL"
    assert "20261123-062736F" not in known, "of another timeline"
    assert [one.label for one in proofs.spoilt(proofs.read(path)) if len(one.label) == 24] == [
        "000000010000000000000003"
    ], "a restore that needs it has a gap there"  # fmt: skip
    note(path, judge(SOUND, ""), there)
    assert [(one.label, one.passed) for one in proofs.verdicts(proofs.read(path)).values()] == [
        (label, True), (other, True)
    ]  # fmt: skip


def test_while_a_verification_failed_only_what_was_proven_since_counts(tmp_path: Path) -> None:
    path = tmp_path / "proofs.jsonl"
    proofs.append(Proof("1F", 1.0, True), path)
    verification.ended(path, "the archive lacks a segment")
    assert proofs.verdicts(proofs.read(path)) == {}
    proofs.append(Proof("2F", 2.0, True), path)
    assert list(proofs.verdicts(proofs.read(path))) == ["2F"]
    verification.ended(path, "")
    assert sorted(proofs.verdicts(proofs.read(path))) == ["1F", "2F"]


def test_nothing_expires_while_a_verification_is_late_or_came_to_no_end(tmp_path: Path) -> None:
    host = backup_host(tmp_path)
    now, path = time.time(), host.settings.proofs

    def holds() -> str:
        return " ".join(verification.holds(host.settings, "verify", path, now))

    host.note("verify", armed_at=now)
    assert holds() == "", "it had no time to be late yet"
    host.note("verify", armed_at=now - 3 * 86400)
    assert "the verification is late: verify has not succeeded" in holds()
    host.note("verify", last_success_at=now, outcome="timeout", sentence="it was ended after its limit")
    assert "came to no end: it was ended after its limit" in holds()
    verification.ended(path, "F1 is damaged")
    assert holds() == "", "it did come to its end, and is in the records"
    host.change(jobs={"td-verify": {}})
    assert "no job offsite-verify" in " ".join(verification.holds(host.settings, "offsite-verify", path, now))


def test_five_rotten_backups_keep_the_sixth_that_nobody_would_need(tmp_path: Path) -> None:
    """Each was proven once, on the night it was taken; the night after the verification nothing may go."""
    path, now = tmp_path / "proofs.jsonl", 100 * 86400.0
    there = [Base(f"{day:02d}F", "full", day * 86400.0, day * 86400.0, 1) for day in range(60, 100, 7)]
    for one in there:
        proofs.append(Proof(one.label, one.stopped_at, True), path)
    keep = Retention(full_copies=2, days=28)
    before = plan(there, proofs.verdicts(proofs.read(path)), (), keep, now)
    assert [one.label for one in before.goes] == ["60F"]
    verification.note(path, {one.label: "rotten" for one in there[1:]}, [one.label for one in there])
    verification.ended(path, "five are rotten")
    proofs.append(Proof("95F", now, True), path)
    assert plan(there, proofs.verdicts(proofs.read(path)), (), keep, now).goes == ()
