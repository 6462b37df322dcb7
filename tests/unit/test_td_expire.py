"""TDengine's backups expire with what builds on them, by proof, and never what nothing else has."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.jobs import config, in_step, leases, runner
from agents.jobs import state as jobs_state
from agents.jobs.config import Retention
from agents.jobs.in_step import Reading
from agents.jobs.retention import Plan
from agents.jobs.state import State
from agents.tdengine import spans
from agents.tdengine.backup import expire, manifest, take
from agents.tdengine.backup import missing as td_missing
from agents.tdengine.backup.manifest import Window
from agents.tdengine.backup.missing import missing
from agents.tdengine.backup.rows import Busy, locked
from agents.tdengine.backup.settings import Settings
from inventories.catalog.tdengine.shape import keep_days
from tests.unit.jobs_kit import backup_host
from tests.unit.td_kit import began, holds, place

OLD, OLD_I = "20260901-190000F", "20260901-190000F_20260902-090000I"
MID = "20260908-190000F"
NEW, NEW_I = "20260915-190000F", "20260915-190000F_20260916-090000I"
HOUR = int(began(OLD) // 3600) - 5


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return place(tmp_path)


@pytest.fixture(autouse=True)
def clocks_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_step, "ask", lambda database: [Reading("pg1", 0.0, True)])


@pytest.fixture
def jobs(tmp_path: Path) -> config.Settings:
    (tmp_path / "host").mkdir()
    host = backup_host(tmp_path / "host")
    host.change(jobs={"td-verify": {}})
    host.note("td-verify", armed_at=time.time(), last_success_at=time.time(), outcome="passed")
    return replace(host.settings, td_retention=Retention(full_copies=1, days=0))


@pytest.fixture
def chains(settings: Settings) -> None:
    """Three full backups of the same hour, the first and the last with an incremental one each."""
    for label in (OLD, MID, NEW):
        holds(settings, label, {"tick_data": {HOUR: label}})
    for label in (OLD_I, NEW_I):
        full = label.partition("_")[0]
        holds(settings, label, {"tick_data": {HOUR: full, HOUR + 1: label}})


def proven(settings: Settings, label: str, outcome: str = "passed") -> None:
    line = {"label": label, "proven_at": time.time(), "outcome": outcome}
    with settings.proofs.open("a") as out:
        out.write(json.dumps(line) + "\n")


def goes(found: tuple[Plan, list[str]]) -> list[str]:
    return [one.label for one in found[0].goes]


def test_nothing_goes_before_a_backup_was_restored_and_found_whole(
    settings: Settings, jobs: config.Settings, chains: None
) -> None:
    found, _ = expire.look(jobs, settings)
    assert found.held
    assert "no backup was ever restored" in found.why
    expire.apply(jobs, settings)
    assert len(manifest.labels(settings)) == 5


def test_a_full_one_goes_with_what_builds_on_it(
    settings: Settings, jobs: config.Settings, chains: None
) -> None:
    proven(settings, NEW_I)
    assert goes(expire.look(jobs, settings)) == [OLD, OLD_I, MID]
    expire.apply(jobs, settings)
    assert manifest.labels(settings) == (NEW, NEW_I)
    assert [path.name for path in settings.folder.iterdir() if path.name.startswith(".gone")] == []


def test_a_proof_of_an_older_one_protects_it_and_what_is_newer(
    settings: Settings, jobs: config.Settings, chains: None
) -> None:
    proven(settings, MID)
    assert goes(expire.look(jobs, settings)) == [OLD, OLD_I]


def test_a_backup_that_was_found_damaged_is_not_counted(
    settings: Settings, jobs: config.Settings, chains: None
) -> None:
    proven(settings, MID)
    proven(settings, NEW, "failed")
    assert goes(expire.look(jobs, settings, uncovered=True)) == [OLD, OLD_I], "the newest full one is of no use"
    found, _ = expire.look(jobs, settings)
    assert found.held, "what only needs the damaged one is none that could stand for them"
    assert [one.label for one in found.stays if one.damaged] == [NEW, NEW_I]


def test_an_edited_manifest_counts_as_damaged(
    settings: Settings, jobs: config.Settings, chains: None
) -> None:
    proven(settings, MID)
    path = settings.folder / NEW / "manifest.json"
    path.write_text(path.read_text().replace("tick_data", "tick_dat4"))
    found, _ = expire.look(jobs, settings)
    assert [one.label for one in found.stays if one.damaged] == [NEW]
    assert MID in [one.label for one in found.stays]


def test_a_lease_holds_everything(settings: Settings, jobs: config.Settings, chains: None) -> None:
    proven(settings, NEW_I)
    leases.hold(leases.Lease("x", "a test", "tdengine-restore runs", None, 60.0), jobs.leases)
    found, _ = expire.look(jobs, settings)
    assert found.held
    assert "tdengine-restore runs" in found.why


def test_what_another_one_needs_never_goes(settings: Settings, jobs: config.Settings, chains: None) -> None:
    """An incremental that refers to rows in another chain: none is made so, and none is made useless."""
    later = "20260915-190000F_20260917-090000I"
    holds(settings, later, {"tick_data": {HOUR: OLD}})
    proven(settings, later)
    found, _ = expire.look(jobs, settings)
    assert found.held
    assert f"{later}, which stays, holds rows in {OLD}" in found.why


def test_hours_that_only_an_old_backup_has_hold_it(settings: Settings, jobs: config.Settings) -> None:
    """A supertable that was dropped between two full backups."""
    holds(settings, OLD, {"tick_data": {HOUR: OLD}, "depth_data": {HOUR: OLD, HOUR + 1: OLD}})
    holds(settings, NEW, {"tick_data": {HOUR: NEW}})
    proven(settings, NEW)
    found, lost = expire.look(jobs, settings)
    assert found.held
    assert "no backup that stays has 20 rows of depth_data in 2 hours, the first 2026-09-01 14:00 UTC" in found.why
    assert len(lost) == 1
    assert goes(expire.look(jobs, settings, uncovered=True)) == [OLD]
    expire.apply(jobs, settings)
    assert manifest.labels(settings) == (OLD, NEW)


def test_hours_that_the_database_keeps_no_longer_hold_nothing(settings: Settings, jobs: config.Settings) -> None:
    short = {"keep": "13d"}
    holds(settings, OLD, {"tick_data": {HOUR: OLD, HOUR + 24: OLD}}, options=short)
    holds(settings, NEW, {"tick_data": {HOUR + 24: NEW}}, options=short)
    proven(settings, NEW)
    assert goes(expire.look(jobs, settings)) == [OLD]


def test_rows_that_went_missing_between_two_backups_are_told(settings: Settings) -> None:
    """By hour and supertable; a window that grew or that is new is none of it."""
    old = holds(settings, OLD, {"tick_data": {HOUR: OLD, HOUR + 1: OLD}, "depth_data": {HOUR: OLD}})
    shrunk = {HOUR: Window(4, "", NEW), HOUR + 1: Window(12, "", NEW), HOUR + 2: Window(9, "", NEW)}
    windows = {"tick_data": shrunk, "depth_data": old.windows["depth_data"]}
    new = replace(old, label=NEW, started_at=began(NEW), windows=windows)
    assert list(missing([old], [new])) == ["6 rows of tick_data in 1 hour, the first 2026-09-01 14:00 UTC"]
    assert list(missing([old], [new, old])) == []
    assert take.lost_since(settings, new, OLD) == list(missing([old], [new]))
    assert take.lost_since(settings, new, None) == []
    assert take.lost_since(settings, new, "20250101-000000F") == [], "gone itself, nothing is known of it"


@pytest.mark.parametrize(
    ("keep", "days"),
    [("3650d,3650d,3650d", 3650), ("5256000m", 3650), ("48h", 2), ("30d,60d,90d", 90), ("90d, 60d", 90), ("10,20", 20)],
)
def test_the_longest_tier_decides_what_is_kept(keep: str, days: int) -> None:
    assert td_missing.keep_s({"keep": keep}) == days * 86400
    assert keep_days(keep) == days, "the catalogue says so too"


@pytest.mark.parametrize("span", ["", "d", "ten days", "-1d", "1.5d", "3w"])
def test_what_is_no_span_is_said(span: str) -> None:
    with pytest.raises(AgentError, match="no span of time"):
        spans.seconds(span)


def test_one_hour_is_one_hour() -> None:
    assert [spans.in_hours(n) for n in (0, 1, 2)] == ["0 hours", "1 hour", "2 hours"]


def test_a_backup_that_does_not_say_what_is_kept_misses_every_row(settings: Settings) -> None:
    old = holds(settings, OLD, {"tick_data": {HOUR: OLD}}, options={})
    new = replace(old, label=NEW, started_at=began(NEW), windows={"tick_data": {}})
    assert len(list(missing([old], [new]))) == 1


def test_nothing_goes_while_a_backup_is_taken(settings: Settings, jobs: config.Settings, chains: None) -> None:
    proven(settings, NEW_I)
    with locked(settings), pytest.raises(Busy):
        expire.apply(jobs, settings)
    assert len(manifest.labels(settings)) == 5


@pytest.mark.parametrize("days", [60, -60])
def test_no_jump_of_the_clock_lets_a_backup_go(
    settings: Settings, jobs: config.Settings, chains: None, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    jobs = replace(jobs, td_retention=Retention(full_copies=1, days=40))
    real = began(NEW_I) + 3600
    monkeypatch.setattr(time, "time", lambda: real)
    jobs_state.write(State("td-verify", real, last_success_at=real, outcome="passed"), jobs.states)
    proven(settings, NEW_I)
    assert goes(expire.look(jobs, settings)) == [], "40 days were promised"
    monkeypatch.setattr(time, "time", lambda: real + days * 86400)
    assert goes(expire.look(jobs, settings)) == [], "what was counted since the boot tells the time"
    ahead = [Reading("pg1", -days * 86400.0, True), Reading("pg2", -days * 86400.0)]
    monkeypatch.setattr(in_step, "ask", lambda database: ahead)
    found, _ = expire.look(jobs, settings)
    assert goes((found, [])) == []
    monkeypatch.setattr(in_step, "ask", lambda database: [])
    monkeypatch.setattr(in_step, "disciplined", lambda: None)
    (jobs.states / "clock").unlink()
    found, _ = expire.look(jobs, settings)
    assert goes((found, [])) == []
    assert days < 0 or f"nobody can be asked whether the clock of {in_step.me()} is right" in found.why


def test_a_backup_covers_nothing_while_its_clock_is_in_doubt(
    settings: Settings, jobs: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning, noted ahead, would let the shadow go up to a moment that has not come."""
    told: list[str] = []
    monkeypatch.setattr(config, "load", lambda: jobs)
    monkeypatch.setattr(take, "held_before", lambda *_: None)
    monkeypatch.setattr(take, "publish", lambda settings, jobs, made: told.append(made.label))
    made = holds(settings, NEW)
    in_step.look(jobs)
    ahead = replace(made, started_at=time.time() + 60 * 86400)
    assert "its time is still to come, so it covers nothing yet" in take.cover(settings, ahead)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60 * 86400)
    assert f"the clock of {in_step.me()} is 60.0 d ahead of what it was" in take.cover(settings, ahead)
    assert told == []
    monkeypatch.setattr(time, "time", real)
    assert take.cover(settings, replace(made, started_at=real())) == ""
    assert told == [NEW]


def test_what_a_killed_run_left_half_removed_goes(
    settings: Settings, jobs: config.Settings, chains: None
) -> None:
    torn = settings.folder / f"{expire.GOING}{OLD}"
    torn.mkdir()
    (torn / "data-0001").write_bytes(b"x")
    expire.apply(jobs, settings)
    assert not torn.exists()


def test_what_a_backup_cannot_have_is_noted_for_status_until_it_can(settings: Settings, jobs: config.Settings) -> None:
    lacking = holds(settings, OLD, left_out={"odd": "no such type"})
    jobs.states.mkdir(parents=True, exist_ok=True)
    take.name_left_out(jobs, lacking)
    assert runner.status(jobs)["left_out"] == {"odd": "no such type"}
    take.name_left_out(jobs, holds(settings, NEW))
    assert runner.status(jobs)["left_out"] == {}
    jobs.td_left_out.write_text("{")
    assert "cannot be read" in str(runner.status(jobs)["left_out"])
