"""Side clusters without a server: targets, choices, and the words of PostgreSQL and pgBackRest told apart."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.base.errors import AgentError
from agents.postgresql import pgbackrest
from agents.postgresql.pgbackrest import Backup, Damaged, KeyFailed, Missing, NoSpace, Repository, RepositoryAway
from agents.postgresql.side import recovery, settings
from agents.postgresql.side.place import BadRequest, Place, Unanswered, every, find
from agents.postgresql.side.recovery import NeedsMore, NotReached
from agents.postgresql.side.release import _NOT_KEPT
from agents.postgresql.side.settings import demanded
from agents.postgresql.side.target import BadTarget, Target, moment
from agents.postgresql.wal.archive_map import lsn as position

FULL = Backup(
    label="20261121-062046F", kind="full", started_at=1000, stopped_at=1010, lsn_start="0/3000028",
    lsn_stop="0/4001068", wal_start="000000010000000000000003", wal_stop="000000010000000000000004", size=1 << 20,
    error=False, version=17, archive_max="00000001000000000000000B",
)  # fmt: skip
INCR = replace(FULL, label="20261121-062046F_20261121-070008I", kind="incr", stopped_at=2000, lsn_stop="0/11000120")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place("t", 17, tmp_path)
    made.folder.mkdir(parents=True)
    return made


# ---- places ----


def test_a_name_that_another_begins_with_is_found_and_dropped_alone(tmp_path: Path) -> None:
    for name in ("a", "a-b"):
        made = Place(name, 17, tmp_path)
        for folder in (made.data, made.folder, made.tablespaces):
            folder.mkdir(parents=True)
    one, other = Place("a", 17, tmp_path), Place("a-b", 17, tmp_path)
    assert (find("a", tmp_path), find("a-b", tmp_path)) == (one, other)
    assert set(every(tmp_path)) == {one, other}
    one.remove()
    assert every(tmp_path) == (other,)
    assert other.data.is_dir()
    assert other.tablespaces.is_dir()


# ---- targets ----


@pytest.mark.parametrize(
    "text",
    ["2026-11-21 10:00:00+08", "2026-11-21T10:00:00+08:00", "2026-11-21 02:00Z", "2026-11-21 02:00:00.000000 UTC",
     "2026-11-20 18:00:00-0800"],
)  # fmt: skip
def test_one_moment_may_be_written_in_every_zone(text: str) -> None:
    assert moment(text) == datetime(2026, 11, 21, 2, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["2026-11-21 10:00:00", "yesterday", "2026-13-01 00:00:00Z", "", "now", "1795242041"])
def test_a_time_without_a_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(BadTarget) as raised:
        Target("time", text)
    assert raised.value.exit_code == 2
    assert raised.value.hint


def test_a_time_reaches_postgresql_in_utc_digits_because_it_knows_no_zone_names_yet() -> None:
    settings = Target("time", "2026-11-21 10:00:00.25+08").settings()
    assert settings["recovery_target_time"] == "2026-11-21 02:00:00.250000+00"


@pytest.mark.parametrize(("kind", "value"), [("time", "2026-11-21 10:00:00Z"), ("lsn", "0/3000060"), ("xid", "768")])
def test_targets_exclude_what_they_name_unless_told_otherwise(kind: str, value: str) -> None:
    assert Target(kind, value).settings()["recovery_target_inclusive"] == "off"
    assert Target(kind, value, inclusive=True).settings()["recovery_target_inclusive"] == "on"


def test_every_target_pauses_and_says_its_timeline() -> None:
    for target in (Target("immediate"), Target("name", "before-migration", timeline="3"), Target("latest")):
        settings = target.settings()
        assert settings["recovery_target_action"] == "pause"
        assert settings["recovery_target_timeline"] == target.timeline


@pytest.mark.parametrize(
    ("kind", "value", "timeline"),
    [("lsn", "3000060", "latest"), ("xid", "12x", "latest"), ("name", "a'b", "latest"), ("name", "", "latest"),
     ("name", "x" * 64, "latest"), ("immediate", "0/1", "latest"), ("latest", "now", "latest"), ("date", "1", "latest"),
     ("xid", "5", "0"), ("xid", "5", "newest"), ("lsn", "0/3\nport = 1", "latest")],
)  # fmt: skip
def test_what_is_no_target_is_refused_before_anything_is_touched(kind: str, value: str, timeline: str) -> None:
    with pytest.raises(BadTarget):
        Target(kind, value, timeline=timeline)


def test_the_newest_backup_that_ended_before_the_target_is_chosen() -> None:
    at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=1500)
    assert Target("time", f"{at:%Y-%m-%d %H:%M:%S}Z").starts_from((FULL, INCR)) == FULL
    assert Target("lsn", "0/4001068").starts_from((FULL, INCR)) == FULL
    assert Target("lsn", "0/4001067").starts_from((FULL, INCR)) is None
    assert Target("xid", "1").starts_from((FULL, INCR)) == INCR
    assert Target("latest").starts_from((FULL, replace(INCR, error=True))) == FULL
    assert Target("latest").starts_from(()) is None


def test_a_position_is_compared_as_a_number() -> None:
    assert position("0/FFFFFFFF") < position("1/0")


# ---- places ----


@pytest.mark.parametrize("name", ["", "Main", "../main", "a b", "-x", "x" * 40])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        Place(name, 17)


def test_side_clusters_are_found_by_name_and_a_torn_state_is_a_failed_one(place: Place, tmp_path: Path) -> None:
    assert find("t", tmp_path) == place
    assert [one.name for one in every(tmp_path)] == ["t"]
    assert place.state() == {}
    place.note(phase="ready", set="x")
    assert place.note(promoted=True)["set"] == "x"
    (place.folder / "state.json").write_text('{"phase": "rea')
    assert place.state() == {"phase": "failed"}


# ---- settings ----

CONTROL = {"max_connections setting": "100", "max_locks_per_xact setting": "64", "max_prepared_xacts setting": "5"}


def written(place: Place, monkeypatch: pytest.MonkeyPatch, control: dict[str, str]) -> dict[str, str]:
    """What the side cluster's postgresql.conf says."""
    monkeypatch.setattr(settings, "controldata", lambda _: control)
    settings.write(place, {}, None, {"max_connections": 120})
    lines = (place.folder / "postgresql.conf").read_text().splitlines()
    return dict(line.replace("'", "").split(" = ", 1) for line in lines)


def test_a_side_cluster_has_locks_for_years_of_chunks_whatever_production_had(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6: with production's 64 the copy of 3,000 days could not be counted."""
    said = written(place, monkeypatch, CONTROL)
    assert int(said["max_locks_per_transaction"]) * int(said["max_connections"]) > 150_000
    assert (said["max_connections"], said["max_prepared_transactions"]) == ("120", "5")
    assert written(place, monkeypatch, CONTROL | {"max_locks_per_xact setting": "9999"})[
        "max_locks_per_transaction"
    ] == "9999", "recovery wants at least what the primary had"


def test_a_side_cluster_is_subject_to_none_of_productions_event_triggers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7: one at login that inserts a row ended every session with a read-only transaction."""
    assert written(place, monkeypatch, CONTROL)["event_triggers"] == "off"
    older = Place("o", 16, place.root)
    older.folder.mkdir(parents=True)
    assert "event_triggers" not in written(older, monkeypatch, CONTROL)


def test_what_production_set_for_a_database_or_a_role_does_not_count_in_a_side_cluster(place: Place) -> None:
    options = place.environment["PGOPTIONS"]
    for name in ("session_preload_libraries=", "local_preload_libraries=", "default_transaction_read_only=off",
                 r"default_transaction_isolation=read\ committed", "statement_timeout=0", "role=none"):  # fmt: skip
        assert f"-c {name}" in options


def test_what_a_server_refuses_is_told_with_its_state(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "ERROR:  53200: out of shared memory\nHINT:  More?\nLOCATION:  LockAcquireExtended, lock.c:1064"
    program = tmp_path / "psql"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Unanswered, match=r"refused a statement: out of shared memory HINT: +More\?$") as raised:
        place.query("select 1")
    assert raised.value.state == "53200"


# ---- pgBackRest's words ----

_WORDS = "error restoring '/d/side-t/base/4/2673': actual checksum 'aa' does not match expected checksum 'bb'"
_BITFLIP = f"""ERROR: [026]: raised from local-2 protocol: {_WORDS}
           [ChecksumError] on retry at 2032ms: {_WORDS}"""
_DATA = Path("/d/side-t")


@pytest.mark.parametrize(
    ("code", "text", "family", "part"),
    [
        (26, _BITFLIP, Damaged, "error restoring 'base/4/2673': actual checksum 'aa' does not match"),
        (95, "ERROR: [095]: raised from local-2 protocol: cipher header missing\n", Damaged, "cipher header missing"),
        (55, "ERROR: [055]: unable to open missing file '/r/backup/main/1F/bundle/1' for read", Damaged, "bundle/1"),
        (64, "ERROR: [064]: unable to write '/d/side-t/base/1': [28] No space left on device", NoSpace, "disk became"),
        (49, "ERROR: [049]: unable to connect to 'backup1:8432': refused", RepositoryAway, "went away"),
    ],
)
def test_a_restore_that_fails_says_whose_fault_it_is(code: int, text: str, family: type[Exception], part: str) -> None:
    error = pgbackrest.restore_failure(code, text, "1F", _DATA)
    assert type(error) is family
    assert part in str(error)
    assert "retry" not in str(error)
    assert error.hint


@pytest.mark.parametrize(("free", "family"), [(4096, NoSpace), (1 << 30, AgentError)])
def test_a_restore_whose_words_found_no_room_either_filled_the_disk(
    free: int, family: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pgBackRest 2.55 ended with 124 and an empty log, which lies on the same disk."""
    monkeypatch.setattr(pgbackrest.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert type(pgbackrest.restore_failure(124, "", "1F", _DATA)) is family


def test_damaged_files_are_named_relative_to_the_cluster() -> None:
    error = pgbackrest.restore_failure(26, _BITFLIP, "1F", _DATA)
    assert isinstance(error, Damaged)
    assert error.files == ("base/4/2673",)


def test_what_is_not_text_never_reaches_the_terminal() -> None:
    assert pgbackrest.first_error("ERROR: [029]: invalid \x1b[31m\x00 value") == "invalid ?[31m? value"


@pytest.mark.parametrize(
    ("code", "text", "family"),
    [(95, "ERROR: [095]: cipher header invalid", KeyFailed), (49, "ERROR: [049]: x", RepositoryAway),
     (55, "ERROR: [055]: missing", Missing), (29, "ERROR: [029]: garbage", Damaged)],
)  # fmt: skip
def test_a_question_that_fails_is_of_the_family_that_must_act(code: int, text: str, family: type[Exception]) -> None:
    assert type(pgbackrest.failure(code, text, "x")) is family


def test_a_wrong_key_is_seen_in_what_info_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    garbage = '[{"name":"main","status":{"code":99,"message":"[FormatError] unable to load info file \'/r\' \x01'
    done = subprocess.CompletedProcess([], 0, garbage, "")
    monkeypatch.setattr(pgbackrest, "run", lambda command: done)
    with pytest.raises(KeyFailed, match="does not open repository 1"):
        Repository(Path("/c")).backups()


# ---- PostgreSQL's words ----

_ENDED = "FATAL:  recovery ended before configured recovery target was reached\n"
_LAST = "LOG:  last completed transaction was at log time 2026-11-21 06:33:18.498314+00\n"


def why(place: Place, log: str, target: Target, asked: str = "") -> Exception:
    place.wal_log.write_text(asked)
    return recovery._why(place, log, target, "1F", None)


@pytest.mark.parametrize("days", [60, -60])
def test_a_recovery_that_stands_is_given_up_whatever_the_clock_says(
    place: Place, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Set back, the archive seemed to have been asked just now, for sixty days."""
    real = time.time
    place.wal_log.write_text("000000010000000000000009 0\n")
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    monkeypatch.setattr(Place, "launch", lambda _: SimpleNamespace(poll=lambda: None))
    with pytest.raises(AgentError, match="made no progress"):
        recovery.recover(place, Target("xid", "9"), "1F", None, 0.3)


def test_a_target_that_was_not_reached_names_the_last_commit(place: Place) -> None:
    error = why(place, _LAST + _ENDED, Target("xid", "9"), "000000010000000000000009 1\n")
    assert isinstance(error, NotReached)
    assert error.last_commit_at == "2026-11-21 06:33:18.498314+00"
    assert "2026-11-21 06:33:18.498314+00" in str(error)


def test_a_segment_is_absent_when_no_timeline_has_it() -> None:
    asked = "000000020000000000000009 1\n000000010000000000000009 1\n00000003.history 1\n"
    assert recovery._absent(asked) == "000000020000000000000009"
    assert recovery._absent("000000020000000000000005 1\n000000010000000000000005 0\n") is None
    assert recovery._absent("") is None


def test_a_client_that_comes_too_early_is_no_failure_of_recovery() -> None:
    assert recovery._fatal("FATAL:  the database system is starting up\n") == []


def test_a_gap_is_not_the_end_of_the_archive(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_later", lambda repository, absent: "00000001000000000000000B")
    error = why(place, _LAST + _ENDED, Target("xid", "9"), "000000010000000000000005 1\n")
    assert isinstance(error, Missing)
    assert "000000010000000000000005 is missing" in str(error)


def test_a_broken_record_names_its_segment(place: Place) -> None:
    log = "LOG:  incorrect resource manager data checksum in record at 0/502B068\n" + _LAST + _ENDED
    error = why(place, log, Target("xid", "9"), "000000010000000000000004 0\n000000010000000000000005 0\n")
    assert isinstance(error, Damaged)
    assert error.files == ("000000010000000000000005",)


def test_zeros_after_the_last_record_are_no_damage(place: Place) -> None:
    log = "LOG:  invalid record length at 0/502B068: expected at least 24, got 0\n" + _LAST + _ENDED
    assert isinstance(why(place, log, Target("xid", "9"), "000000010000000000000005 0\n"), NotReached)


def test_wal_of_the_backup_itself_that_is_missing_makes_it_useless(place: Place) -> None:
    log = "FATAL:  WAL ends before end of online backup\n"
    error = why(place, log, Target("xid", "9"), "000000010000000000000004 1\n")
    assert isinstance(error, Missing)
    assert "000000010000000000000004" in str(error)


def test_an_archive_that_does_not_answer_is_not_taken_for_its_end(place: Place) -> None:
    (place.folder / "wal.err").write_text("ERROR: [049]: unable to connect to 'backup1:8432'")
    log = 'FATAL:  could not restore file "000000010000000000000005" from archive: command not found\n'
    assert isinstance(why(place, log, Target("latest"), "000000010000000000000005 49\n"), RepositoryAway)


def test_settings_that_are_too_small_are_asked_for(place: Place) -> None:
    log = (
        "FATAL:  recovery aborted because of insufficient parameter settings\n"
        "DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its value was 250.\n"
    )
    error = why(place, log, Target("latest"))
    assert isinstance(error, NeedsMore)
    assert error.settings == {"max_connections": 250} == demanded(log)


@pytest.mark.parametrize(
    "line",
    ["restore_command = 'pgbackrest archive-get'", "recovery_target_time = 'x'", "archive_mode = 'off'",
     "primary_conninfo = ''", "  Port = 5433"],
)  # fmt: skip
def test_no_recovery_setting_is_kept_by_what_becomes_the_main_cluster(line: str) -> None:
    assert _NOT_KEPT.match(line)


def test_other_settings_of_the_operator_are_kept() -> None:
    assert not _NOT_KEPT.match("work_mem = '64MB'")
