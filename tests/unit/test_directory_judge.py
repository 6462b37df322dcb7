"""What may become of a data directory is told by its files, never by a mark; real clusters lie in it here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agents.guard import start_guard
from agents.postgresql.directory import change, facts
from agents.postgresql.directory.change import Place, Wanted
from agents.postgresql.directory.judge import Answer, Claim, Successor, read_claim, write_claim
from agents.postgresql.directory.moves import Refused
from tests.unit.directory_kit import Made, answer, claimed, recorded
from tests.unit.directory_kit import copy as copy
from tests.unit.directory_kit import folder as folder
from tests.unit.directory_kit import made as made
from tests.unit.directory_kit import place as place
from tests.unit.directory_kit import running as running
from tests.unit.directory_kit import unused as unused
from tests.unit.directory_kit import used as used
from tests.unit.postgres_server import Server

# ---- whether anybody works on it


def test_a_server_of_which_nobody_may_read_where_it_works_counts_as_one_that_works_here(
    place: Place, used: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is for a root without CAP_SYS_PTRACE; another program's secrets are nobody's business."""
    for number, name in (("7", "postgres"), ("8", "nginx")):
        process = tmp_path / "proc" / number
        process.mkdir(parents=True)
        (process / "comm").write_text(f"{name}\n")
        (process / "cmdline").write_bytes(b"x\0")

    def forbidden(path: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(facts, "PROC", tmp_path / "proc")
    monkeypatch.setattr(facts, "_tablespaces", lambda _: {})
    monkeypatch.setattr(Path, "readlink", forbidden)
    seen = facts.look(place.path, place.programs)
    assert seen.worker == "postgres runs, and nobody may read where (process 7)"
    (tmp_path / "proc" / "7" / "comm").write_text("postgres-exporte\n")
    assert facts.look(place.path, place.programs).worker == ""


def test_a_server_that_removes_a_segment_meanwhile_is_looked_at_all_the_same(
    place: Place, used: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = facts._names
    monkeypatch.setattr(facts, "_names", lambda folder: [*names(folder), "000000010000000000000000"])
    assert answer(place) is Answer.OTHER
    assert facts.look(place.path, place.programs).written > 0


# ---- empty


def test_nothing_and_an_empty_directory_are_empty(place: Place) -> None:
    assert answer(place) is Answer.EMPTY
    place.path.mkdir()
    assert answer(place) is Answer.EMPTY


def test_what_initdb_made_is_empty_until_a_server_was_asked_to_make_anything(place: Place, unused: Made) -> None:
    assert answer(place) is Answer.EMPTY
    unused.start()
    unused.stop("fast")
    assert answer(place) is Answer.EMPTY
    unused.start()
    unused.sql("CREATE ROLE somebody", database="postgres")
    unused.stop("fast")
    assert answer(place) is Answer.OTHER


def test_what_somebody_put_beside_what_initdb_made_is_not_deleted_with_it(place: Place, unused: Made) -> None:
    """Where the directory is a disk of its own, what was there before was perhaps kept in it."""
    (unused.data / "old").mkdir()
    (unused.data / "old/PG_VERSION").touch()
    assert answer(place) is Answer.OTHER
    with pytest.raises(Refused, match="since initdb, and beside it old"):
        change.clone(place, "host=x", "slot", lambda *_: None, 0)
    assert (unused.data / "old/PG_VERSION").exists()


def test_an_unused_cluster_that_was_killed_is_not_provably_empty(place: Place, unused: Made) -> None:
    unused.start()
    unused.stop("immediate")
    assert answer(place) is Answer.OTHER


def test_a_mark_that_outlived_the_first_start_is_believed_by_nobody(place: Place, used: Made) -> None:
    (used.data / "mystocks-blank").touch()
    (used.data.with_name("main.restore")).write_text('{"label": "LABEL", "state": "done"}')
    assert answer(place) is Answer.OTHER
    with pytest.raises(Refused, match="holds a cluster of system"):
        change.room(place, Wanted(label="LABEL"))
    used.start()
    assert used.sql("SELECT n FROM kept", database="postgres") == [(1,)]


def test_an_unused_cluster_that_the_record_names_is_not_called_empty(place: Place, unused: Made) -> None:
    recorded(place, system_identifier=change.seen_and_judged(place)[0].system)
    assert answer(place) is Answer.OTHER


# ---- an unfinished restore


def test_a_restore_that_never_started_is_ours_only_with_the_claim_to_this_very_directory(
    place: Place, used: Made, copy: Path
) -> None:
    there = Place(copy, place.programs, claims=place.claims, record=place.record)
    assert answer(there) is Answer.OTHER
    claimed(there, used.data)
    assert answer(there) is Answer.OTHER, "the claim is of another directory"
    claimed(there, copy)
    assert answer(there) is Answer.UNFINISHED
    claimed(there, copy, system="1")
    assert answer(there) is Answer.OTHER, "the claim is of another system"


def test_a_restore_without_a_control_file_is_ours_only_with_the_claim(place: Place, used: Made) -> None:
    (used.data / "global/pg_control").unlink()
    assert answer(place) is Answer.OTHER
    claimed(place, used.data)
    assert answer(place) is Answer.UNFINISHED


@pytest.mark.parametrize("since", ["done", "started", "label"])
def test_a_control_file_that_is_lost_after_the_restore_is_a_loss_and_no_beginning(
    place: Place, used: Made, since: str
) -> None:
    (used.data / "global/pg_control").unlink()
    claimed(place, used.data)
    assert answer(place) is Answer.UNFINISHED
    if since == "done":
        write_claim(place.claim, replace(read_claim(place.claim) or Claim("", 0), done=True))
    elif since == "started":
        guarded = place.record.with_name("root") / start_guard.CLAIM
        guarded.parent.mkdir(parents=True)
        shutil.copy(place.claim, guarded)
        start_guard.note_start(place.record.with_name("root"))
        shutil.copy(guarded, place.claim)
    else:
        (used.data / "backup_label.old").touch()
    assert answer(place) is Answer.OTHER


def test_a_restore_that_replays_is_ours_as_long_as_it_has_nothing_that_the_archive_lacks(
    place: Place, running: Made, copy: Path
) -> None:
    there = Place(copy, place.programs, claims=place.claims, record=place.record)
    standby = _following(running, copy)
    standby.start()
    try:
        running.sql("INSERT INTO kept VALUES (2)", "CHECKPOINT", "SELECT pg_switch_wal()", database="postgres")
        timeline, end = running.where()
        assert _caught_up(running, standby)
        standby.stop("fast")
        claimed(there, copy, timeline, end + (1 << 20))
        assert answer(there) is Answer.UNFINISHED
        claimed(there, copy, timeline, end - (1 << 20))
        assert answer(there) is Answer.OTHER, "it received what the archive had not"
        standby.start()
        standby.promote()
        standby.stop("fast")
        claimed(there, copy, timeline, 1 << 40)
        assert answer(there) is Answer.OTHER, "it was promoted: it may have rows that exist once"
    finally:
        standby.stop()


def test_a_standby_ahead_of_a_primary_that_came_back_from_a_snapshot_is_not_rebuilt_in_place(
    place: Place, running: Made, copy: Path
) -> None:
    """What was acknowledged since the snapshot is there alone."""
    there = Place(copy, place.programs, claims=place.claims, record=place.record)
    standby = _following(running, copy)
    _, snapshot = running.where()
    standby.start()
    try:
        running.sql("INSERT INTO kept VALUES (2)", "CHECKPOINT", database="postgres")
        assert _caught_up(running, standby)
        standby.stop("fast")
    finally:
        standby.stop()
    timeline, end = running.where()
    seen = change.seen_and_judged(there)[0]
    assert Successor(seen.system, timeline, end).has_left(seen)
    assert not Successor(seen.system, timeline, snapshot).has_left(seen)


def _following(primary: Made, copy: Path) -> Made:
    """The copy as a standby of the primary, down."""
    with (copy / "postgresql.auto.conf").open("a") as auto:
        auto.write(f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user=postgres'\n")
    return Made(copy.parent, copy.name)


def _caught_up(primary: Server, standby: Server) -> bool:
    lsn = primary.sql("select pg_current_wal_lsn()", database="postgres")[0][0]
    for _ in range(200):
        asked = ("select pg_sleep(0.05)", f"select pg_last_wal_replay_lsn() >= '{lsn}'")
        if standby.sql(*asked, database="postgres")[0][0]:
            return True
    return False


def test_a_primary_is_data_whatever_is_claimed_of_it(place: Place, used: Made) -> None:
    claimed(place, used.data, 9, 1 << 40)
    assert answer(place) is Answer.OTHER


def test_a_primary_that_was_restored_once_is_no_restore_that_never_started(place: Place, used: Made) -> None:
    """Its claim is there still, and whoever took an exclusive backup of it when it crashed has left a backup_label."""
    used.start()
    used.stop("immediate")
    claimed(place, used.data)
    (used.data / "backup_label").touch()
    assert answer(place) is Answer.UNFINISHED
    (used.data / "backup_label.old").touch()
    assert answer(place) is Answer.OTHER


def test_what_is_rewound_is_no_restore_any_more(place: Place, used: Made) -> None:
    """pg_rewind leaves a backup_label and the control file of a primary that may be lost next: nobody else has them."""
    lives = Wanted(successor=Successor(change.seen_and_judged(place)[0].system, 2))
    used.start()
    used.stop("immediate")
    claimed(place, used.data)

    def rewound(*_: object) -> None:
        (used.data / "backup_label").touch()

    change.rewind(place, lives, "host=x", place.path, rewound, 0)
    assert answer(place) is Answer.OTHER


def test_a_control_file_that_cannot_be_read_is_no_restore_of_ours(place: Place, used: Made) -> None:
    claimed(place, used.data, 9, 1 << 40)
    (used.data / "global/pg_control").write_bytes(b"x" * 8192)
    assert answer(place) is Answer.OTHER
    (used.data / "global/pg_control").write_bytes(b"")
    assert answer(place) is Answer.OTHER
