"""What backup.list puts together and shows, wide and at 80 columns."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from doors.backup_screen import listing as screen
from runbooks.backups.postgresql import Listing, listing
from runbooks.probes.postgresql.archive import Archive, Covered, Gap, Line, Reach
from runbooks.probes.postgresql.pgbackrest import Backup, Repository

FULL = "20261121-062140F"
INCR = "20261121-062140F_20261121-065123I"
GAP = Gap(1, "000000010000000000000007", "000000010000000000000008", 2)


def known(*, references: tuple[str, ...] = ()) -> Repository:
    one = Backup(
        label=FULL, type="full", stopped_at=1000, error=False, size_bytes=4 << 30, repository_bytes=1 << 30,
        wal_stop="000000010000000000000004", annotations={"key-id": "0123456789ab"}, taken_bytes=4 << 30,
    )  # fmt: skip
    two = replace(
        one, label=INCR, type="incr", stopped_at=4600, annotations={}, references=(FULL,), taken_bytes=1 << 20,
        repository_bytes=1 << 18,
    )  # fmt: skip
    return Repository(0, "ok", "aes-256-cbc", 1, "17", (two, one), "17-1", "", False)


def held(*gaps: Gap, twice: tuple[str, ...] = ()) -> Archive:
    reach = {1: Reach("000000010000000000000009", 0xA000000, 5000)}
    ended = ((FULL, 1000), (INCR, 4600))
    covered = [Covered(label, "full", 1, 0x4001068, at, False, (), reach, 0, at - 60) for label, at in ended]
    line = Line(1, 9, 9, "000000010000000000000001", "000000010000000000000009", 5000, twice)
    return Archive("17-1", 16 << 20, (line,), {}, tuple(covered), gaps)


def seen(**changes: object) -> Listing:
    given: dict[str, object] = {"proven": {FULL: 2000.0}, "failed": {}, "offsite": (3000.0, "offsite1")} | changes
    archive = given.pop("archive", held())
    return listing(known(), archive, given["proven"], given["failed"], given["offsite"], 8200.0)  # type: ignore[arg-type]


def test_backups_are_listed_oldest_first_with_what_is_known_of_each() -> None:
    full, incr = seen().backups
    assert (full.label, incr.label) == (FULL, INCR)
    assert (full.ratio, incr.ratio, full.age_s) == (4.0, 4.0, 7200.0)
    assert (full.copies, incr.copies) == (("repository 1", "offsite1"), ("repository 1",))
    assert (full.proven_at, incr.proven_at) == (2000.0, None)
    assert (full.key_id, incr.key_id) == ("0123456789ab", "")
    assert full.span is not None and (full.span.from_lsn, full.span.to_lsn) == ("0/4001068", "0/A000000")
    assert seen().sound


def test_damaged_full_backup_spoils_the_incremental_ones_that_need_it() -> None:
    full, incr = seen(failed={FULL: "its newest proof failed: checksum of base/5/16384"}).backups
    assert full.trouble == "its newest proof failed: checksum of base/5/16384"
    assert f"it needs {FULL}" in incr.trouble
    listed = seen(failed={FULL: "x"})
    assert not listed.sound
    assert listed.covered is None


@pytest.mark.parametrize("archive", [held(GAP), held(twice=("000000010000000000000005",))])
def test_gap_or_a_segment_with_two_contents_is_not_sound(archive: Archive) -> None:
    listed = seen(archive=archive)
    assert bool(listed.gaps) != bool(listed.troubles)
    assert not listed.sound


def test_nothing_at_all_is_not_sound() -> None:
    none = replace(known(), backups=())
    assert not listing(none, replace(held(), backups=()), {}, {}, (None, ""), 0.0).sound


def shown(listed: Listing, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in screen(listed, width):
        console.print(part, highlight=False)
    return out.getvalue()


def test_narrow_screen_breaks_no_line_of_a_backup() -> None:
    text = shown(seen(), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert f"{INCR}  incr, 60 min old, proven never" in text
    assert "on repository 1 + offsite1" in text
    assert "covers 1970-01-01 00:16 (0/4001068) to 1970-01-01 01:23 (0/A000000)" in text


def test_wide_screen_has_a_line_for_each_and_gaps_are_named_on_both() -> None:
    listed = seen(archive=held(GAP))
    assert len([line for line in shown(listed, 200).splitlines() if line.startswith("2026")]) == 2
    for width in (80, 200):
        assert "2 WAL segments of timeline 1 are missing" in " ".join(shown(listed, width).split())


def test_json_is_whole() -> None:
    said = json.loads(json.dumps(seen().as_json()))
    assert said["sound"] is True
    assert said["backups"][0]["ratio"] == 4.0
    assert said["covered"]["to_lsn"] == "0/A000000"
