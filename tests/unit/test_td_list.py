"""What is told of TDengine's backups: a chain that lacks a link or a file is said so, wherever it is shown."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.tdengine.backup import listing
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup.settings import Settings
from doors.tdengine import backups as backup_tdengine
from runbooks.backups import tdengine
from runbooks.backups.tdengine import Listing
from runbooks.judge.tdengine import backups as findings
from runbooks.judge.tdengine import left_out, taken_at
from runbooks.probes.jobs import Job, Jobs
from runbooks.probes.tdengine import backups as td_backups
from runbooks.probes.tdengine.backups import Backup, Known
from tests.unit.td_kit import began, holds, place

FULL, INCR = "20260915-190000F", "20260915-190000F_20260916-090000I"
NOW = began(INCR) + 3600


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = place(tmp_path)
    holds(found, FULL)
    holds(found, INCR, {"tick_data": {500000: FULL, 500001: INCR}})
    return found


def told(settings: Settings) -> dict[str, str]:
    return {one["label"]: one["why"] for one in listing.backups(settings)}


def test_a_whole_chain_is_told_with_what_it_needs(settings: Settings) -> None:
    full, incr = listing.backups(settings)
    assert (full["label"], full["ok"], full["chain"]) == (FULL, True, [FULL])
    assert (incr["label"], incr["ok"], incr["chain"]) == (INCR, True, [FULL, INCR])
    assert (incr["rows"], incr["bytes"]) == (20, 4)
    json.dumps([full, incr])


def test_a_missing_link_spoils_what_needs_it(settings: Settings) -> None:
    shutil.rmtree(settings.folder / FULL)
    assert told(settings) == {INCR: f"{FULL}, which it needs, is not there"}


def test_a_file_that_is_cut_off_or_gone_is_named(settings: Settings) -> None:
    data = settings.folder / FULL / "data-0001"
    data.write_bytes(b"row")
    assert told(settings)[INCR] == f"data-0001 of {FULL} has 3 bytes instead of 4"
    data.unlink()
    assert told(settings)[FULL] == f"data-0001 of {FULL} is missing"


def test_an_edited_manifest_is_told_and_spoils_what_needs_it(settings: Settings) -> None:
    path = settings.folder / FULL / "manifest.json"
    path.write_text(path.read_text().replace("500000", "500009"))
    found = told(settings)
    assert "edited" in found[FULL]
    assert "edited" in found[INCR]


def known(*, why: str = "") -> Known:
    full = Backup(FULL, "full", began(FULL), began(FULL) + 60, 10, 10, 4096, "0123456789ab", (FULL,), "")
    incr = Backup(INCR, "incr", began(INCR), began(INCR) + 60, 20, 10, 1024, "0123456789ab", (FULL, INCR), why)
    dump = td_backups.Dump("20260915-200000D", began("20260915-200000D"), 10, 2048, "")
    return Known((full, incr), (dump,))


def proof(label: str, outcome: str = "passed") -> str:
    return json.dumps({
        "label": label, "kind": "full", "repo": 1, "proven_at": 5000.0, "outcome": outcome, "seconds": 9.0,
        "restore_bytes": 4096, "restore_rows": 1000, "restore_s": 2.0, "checks": [],
        "damaged": [] if outcome == "passed" else ["data-0001 is damaged"], "sentence": "so it is",
    })  # fmt: skip


def listed(*proofs: str, why: str = "", copied_at: float | None = None) -> Listing:
    parsed = td_backups.parse("\n".join(("torn {", *proofs)))
    return tdengine.listing(known(why=why), parsed, (copied_at, "offsite1"), NOW)


def test_each_backup_says_what_it_holds_when_it_was_proven_and_where_it_is() -> None:
    full, incr = listed(proof(FULL), copied_at=began(FULL) + 61).backups
    assert (full.proven_at, incr.proven_at) == (5000.0, None)
    assert (full.copies, incr.copies) == (("backup host", "offsite1"), ("backup host",))
    assert (incr.rows, incr.own_rows, incr.age_s) == (20, 10, 3540.0)
    assert listed().sound


def test_a_failed_proof_spoils_what_needs_that_backup() -> None:
    found = listed(proof(FULL), proof(FULL, "failed"))
    full, incr = found.backups
    assert full.trouble == "its newest proof failed: data-0001 is damaged"
    assert incr.trouble == f"it needs {FULL}: its newest proof failed: data-0001 is damaged"
    assert not found.sound


def test_what_cannot_be_restored_is_not_sound_nor_is_nothing_at_all() -> None:
    assert not listed(why="it lacks a link").sound
    assert not tdengine.listing(Known((), ()), (), (None, ""), NOW).sound


def test_the_screen_is_80_columns_wide_and_tells_trouble() -> None:
    lines = [str(line) for line in backup_tdengine.listing(listed(why="it lacks a link"))]
    assert max(len(line) for line in lines) <= 80
    assert "  it lacks a link" in lines
    assert any("taosdump" in line for line in lines)
    (empty,) = backup_tdengine.listing(replace(listed(), backups=(), dumps=()))
    assert "--store tdengine --type full" in str(empty)


def test_a_restore_reads_its_whole_chain() -> None:
    assert known().chain_bytes(INCR) == 5120
    assert known().chain_bytes(FULL) == 4096


JOB = Job("td-full", "0 19 * * 6", NOW, "passed", NOW, None, "", "")


def test_status_tells_an_old_backup_and_one_that_is_gone() -> None:
    jobs = Jobs((JOB,), (), None)
    assert list(findings((FULL, INCR), jobs, NOW, 26)) == []
    (old,) = findings((FULL,), jobs, NOW, 2)
    assert (old.objective, old.measured, old.limit) == ("age of TDengine's newest backup", "15.0 h", "2 h")
    (gone,) = findings((), jobs, NOW, 26)
    assert "agents.offsite.copies restore" in gone.hint


def test_what_was_never_taken_is_missed_by_its_job_and_not_twice() -> None:
    never = Jobs((replace(JOB, last_success_at=None),), (), None)
    assert list(findings((), never, NOW, 26)) == []
    assert list(findings(None, Jobs((JOB,), (), None), NOW, 26)) == []


def test_a_label_tells_when_it_began() -> None:
    assert taken_at(INCR) == began(INCR) == taken_at(f"x_{INCR}")
    assert taken_at("nonsense") == 0.0
    assert time.gmtime(taken_at(FULL)).tm_hour == 19


def test_what_a_backup_has_nothing_of_is_named_wherever_backups_are_shown(settings: Settings) -> None:
    why = "its column v is of the type HYPERCUBE, another column type than this version of mystocks-dr knows"
    lacking = holds(settings, "20260917-190000F", left_out={"odd": why})
    told_ = {one["label"]: one["left_out"] for one in listing.backups(settings)}
    assert told_ == {FULL: {}, INCR: {}, lacking.label: {"odd": why}}
    full = replace(known().backups[0], left_out=(("odd", why),))
    found = tdengine.listing(Known((full,), ()), (), (None, ""), NOW)
    assert not found.sound
    lines = [str(line) for line in backup_tdengine.listing(found)]
    assert "  NOT in it: odd" in lines and max(map(len, lines)) <= 80
    assert not any("lacks anything" in line for line in lines)
    assert list(left_out(Jobs((), (), None, (("odd", why),)))) == [f"TDengine's odd is in no backup: {why}."]
    assert list(left_out(None)) == []


def test_subtables_that_are_gone_spoil_their_backup_and_what_needs_it(settings: Settings) -> None:
    (settings.folder / FULL / td_manifest.SUBTABLES).unlink()
    assert told(settings) == dict.fromkeys((FULL, INCR), f"subtables.json.gz of {FULL} is missing")
