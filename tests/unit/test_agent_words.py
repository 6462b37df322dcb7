"""What keeps pgBackRest from working is named by its own words, with what lifts it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.postgresql.check import Forced, require_known_timelines, require_no_gap
from agents.postgresql.words import OtherCluster, Stopped, refused, require_same_cluster, require_started, start, stops

# As pgBackRest 2.55.1 writes them.
AHEAD = """P00  ERROR: [106]: new backup label '20261127-222830F' is not later than latest backup \
label '20271127-000000F'
                                    HINT: has the timezone changed?
                                    HINT: is there clock skew?
"""
STOPPED = "2026-11-27 22:27:13.887 P00  ERROR: [062]: stop file exists for stanza main\n"
LATE = """2026-11-27 22:28:15.072 P00  ERROR: [082]: WAL segment 000000010000000000000007 was not archived before the \
60000ms timeout
                                    HINT: check the archive_command to ensure that all options are correct.
"""
MISMATCH = """P00  ERROR: [051]: PostgreSQL version 17, system-id 7 do not match repo1 stanza version 17, system-id 8
                HINT: are you backing up to the correct stanza?
"""
BOTH_MANIFESTS = "P00  ERROR: [026]: unable to load backup manifest file '/x/backup.manifest' or '/x/y.copy':"


@pytest.mark.parametrize(
    ("said", "sentence", "hint"),
    [
        (AHEAD, "new backup label '20261127-222830F' is not later than", "--set=20271127-000000F expire` lets it"),
        (STOPPED, "stop file exists for stanza main", "./dr mend-archive lifts the stop"),
        (LATE, "was not archived before the 60000ms timeout", "./dr backup.check says why"),
        (MISMATCH, "system-id 7 do not match repo1 stanza", "./dr backup.check names both clusters"),
        (BOTH_MANIFESTS, "unable to load backup manifest file", "--type verify names what is damaged"),
        ("P00  ERROR: [056]: unable to find primary cluster", "unable to find primary cluster", "The lines above"),
        ("", "it ended with 7", "The lines above"),
    ],
)
def test_its_words_become_a_sentence_and_a_hint(said: str, sentence: str, hint: str) -> None:
    error = refused(7, said, "full backup")
    assert sentence in str(error)
    assert str(error).startswith("pgBackRest took no full backup: ")
    assert hint in error.hint


def test_who_holds_a_lock_is_named_and_a_stale_one_has_no_holder(tmp_path: Path) -> None:
    lock = tmp_path / "main-backup-1.lock"
    said = f"P00  ERROR: [050]: unable to acquire lock on file '{lock}': Resource temporarily unavailable\n"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    assert "Nobody holds" in refused(50, said, "full backup").hint
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert f"process {os.getpid()} (" in refused(50, said, "full backup").hint
    os.close(handle)
    lock.unlink()
    assert "Nobody holds" in refused(50, said, "full backup").hint


def test_a_forgotten_stop_is_named_before_anything_waits_for_it(tmp_path: Path) -> None:
    require_started("main", tmp_path)
    (tmp_path / "other.stop").touch()
    require_started("main", tmp_path)
    (tmp_path / "main.stop").touch()
    with pytest.raises(Stopped, match=r"stopped on this host and not started again: .*main.stop is there") as error:
        require_started("main", tmp_path)
    assert "./dr mend-archive lifts it" in error.value.hint
    (tmp_path / "all.stop").touch()
    assert [start(path) for path in stops("main", tmp_path)] == [
        "pgbackrest --stanza=main start", "pgbackrest start"
    ]  # fmt: skip


def test_a_repository_of_another_system_identifier_is_named_with_both() -> None:
    said = [{"db": [{"id": 1, "system-id": 7}, {"id": 2, "system-id": 8}]}]
    require_same_cluster(said, "pg1", 8, "main")
    with pytest.raises(OtherCluster, match="system identifier 8, and pg1 is of another one, 7") as error:
        require_same_cluster(said, "pg1", 7, "main")
    assert "stanza-upgrade" in error.value.hint


FOUND = {
    "archive_id": "17-1", "histories": {"2": []}, "timelines": [{"timeline": 1}, {"timeline": 2}],
    "backups": [
        {"start": "000000010000000000000003", "error": False}, {"start": "000000020000000000000009", "error": False}
    ],
    "gaps": [],
}  # fmt: skip


def gap(first: str, last: str, segments: int) -> dict[str, object]:
    return {"timeline": 1, "first": f"00000001{first:>016}", "last": f"00000001{last:>016}", "segments": segments}


def test_an_expired_range_before_the_newest_backup_is_told_and_fails_nothing() -> None:
    """It fails as long as the newest backup needs it, and not until the last older one has expired."""
    assert require_no_gap(FOUND) == ""
    told = require_no_gap({**FOUND, "gaps": [gap("5", "7", 3)]})
    assert "before the newest backup it lacks 000000010000000000000005 to 000000010000000000000007 (3), up to" in told
    with pytest.raises(AgentError, match="a gap: missing 00000001000000000000000A"):
        require_no_gap({**FOUND, "gaps": [gap("5", "7", 3), gap("A", "A", 1)]})
    with pytest.raises(AgentError, match="a gap"):
        require_no_gap({**FOUND, "backups": [], "gaps": [gap("5", "7", 3)]})


def test_a_history_file_that_nobody_knows_is_named() -> None:
    forced = Forced("pg1", "000000020000000000000009", 8, "x")
    require_known_timelines(FOUND, forced, "main")
    strange = {**FOUND, "histories": {"2": [], "9": []}}
    with pytest.raises(AgentError, match=r"holds 00000009\.history, and pg1 is on timeline 2") as error:
        require_known_timelines(strange, forced, "main")
    assert "folders 00000009* out of /var/lib/pgbackrest/archive/main/17-1" in error.value.hint
