"""Room for a restore: emptied, gone on with, moved aside with all that belongs to it, or refused untouched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agents.postgresql.directory import change, facts, moves
from agents.postgresql.directory.change import Place, Wanted
from agents.postgresql.directory.judge import Answer, Successor, read_claim
from agents.postgresql.directory.moves import Refused
from tests.unit.directory_kit import ASIDE, Made, Ran, answer, claimed, copied, everything, wal_elsewhere
from tests.unit.directory_kit import copy as copy
from tests.unit.directory_kit import folder as folder
from tests.unit.directory_kit import made as made
from tests.unit.directory_kit import place as place
from tests.unit.directory_kit import running as running
from tests.unit.directory_kit import unused as unused
from tests.unit.directory_kit import used as used

# ---- room


def test_data_are_refused_without_consent_and_nothing_is_touched(place: Place, used: Made) -> None:
    before = everything(used.data)
    with pytest.raises(Refused) as refused:
        change.room(place, Wanted(label="LABEL"))
    assert refused.value.exit_code == 3
    assert "--replace" in refused.value.hint
    assert everything(used.data) == before
    assert read_claim(place.claim) is None


def test_with_consent_data_are_moved_aside_whole_and_start_there(place: Place, used: Made) -> None:
    found = change.room(place, Wanted(label="LABEL", aside=ASIDE))
    assert found.aside == f"{place.path}{ASIDE}"
    assert list(place.path.iterdir()) == []
    assert answer(place) is Answer.EMPTY
    used.data = Path(found.aside)
    used.start()
    assert used.sql("SELECT n FROM kept", database="postgres") == [(1,)]


def test_pg_wal_and_tablespaces_that_lie_elsewhere_go_along(place: Place, unused: Made) -> None:
    server, wal, space = unused, wal_elsewhere(unused), unused.folder / "space"
    space.mkdir()
    if os.geteuid() == 0:
        shutil.chown(space, "postgres")
    server.start()
    server.sql(f"CREATE TABLESPACE far LOCATION '{space}'", "CREATE TABLE kept (n int) TABLESPACE far",
               "INSERT INTO kept VALUES (1)", database="postgres")  # fmt: skip
    server.stop("fast")
    room = change.room(place, Wanted(label="LABEL", aside=ASIDE, links=(str(space),)))
    assert not wal.exists() or list(wal.iterdir()) == []
    claim = read_claim(place.claim)
    assert claim is not None and claim.wal == str(wal)
    server.data = Path(room.aside)
    server.start()
    try:
        assert server.sql("SELECT n FROM kept", database="postgres") == [(1,)]
        assert str(server.data.joinpath("pg_wal").readlink()) == f"{wal}{ASIDE}"
    finally:
        server.stop()


def test_whoever_is_killed_while_moving_goes_on_there(
    place: Place, used: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_elsewhere(used)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(moves, "_point", killed)
        change.room(place, Wanted(aside=ASIDE))
    assert place.path.exists()
    room = change.room(place, Wanted(aside=ASIDE))
    used.data = Path(room.aside)
    used.start()


def test_a_running_server_is_touched_by_nothing(place: Place, running: Made) -> None:
    (running.data / "postmaster.pid").rename(running.data / "hidden")  # whoever removes it does not make it stop
    run = Ran()
    for attempt in (
        lambda: change.room(place, Wanted(aside=ASIDE)),
        lambda: change.restore(place, Wanted(aside=ASIDE), 1, run, 0),
        lambda: change.rewind(place, Wanted(), "x", place.path, run, 0),
        lambda: change.clone(place, "x", "slot", run, 0),
    ):
        with pytest.raises(Refused, match="PostgreSQL runs in it"):
            attempt()
    assert run.commands == []
    (running.data / "hidden").rename(running.data / "postmaster.pid")
    assert running.sql("SELECT n FROM kept", database="postgres") == [(1,)]


def test_a_number_that_a_power_cut_left_stops_nobody(place: Place, used: Made) -> None:
    (used.data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    change.room(place, Wanted(aside=ASIDE))


def test_a_rewind_that_still_works_keeps_a_restore_away(place: Place, used: Made, tmp_path: Path) -> None:
    program = tmp_path / "pg_rewind"
    program.write_text("#!/bin/sh\nread never\n")
    program.chmod(0o755)
    orphan = subprocess.Popen([program, "-D", place.path], stdin=subprocess.PIPE)
    try:
        with pytest.raises(Refused, match=f"pg_rewind works on it .process {orphan.pid}"):
            change.room(place, Wanted(aside=ASIDE))
    finally:
        orphan.kill()
        orphan.communicate()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["pg_rewind", "-D", "/d/main", "--source-server=x"], ["/d/main"]),
        (["pgbackrest", "--stanza=main", "--pg1-path=/d/main", "restore"], ["/d/main"]),
        (["pg_basebackup", "-d", "x", "-D", "/d/main.clone"], ["/d/main.clone"]),
        (["pgbackrest", "archive-push", "pg_wal/1"], []),
    ],
)
def test_what_a_program_works_on_is_read_from_its_words(words: list[str], named: list[str]) -> None:
    assert list(facts._targets(words)) == named


def test_a_mount_point_is_filled_in_place_and_never_renamed(
    place: Place, used: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(used.data)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == place.path.resolve())
    with pytest.raises(Refused, match="file system of its own") as refused:
        change.room(place, Wanted(aside=ASIDE))
    assert "by hand" in refused.value.hint
    assert everything(used.data) == before
    (used.data / "global/pg_control").unlink()
    (used.data / "PG_VERSION").unlink()
    claimed(place, used.data)
    inode = used.data.stat().st_ino
    change.room(place, Wanted(label="LABEL"))
    assert list(place.path.iterdir()) == [] and place.path.stat().st_ino == inode


def test_a_file_system_below_it_is_written_into_and_keeps_the_directory_where_it_is(
    place: Place, used: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 2 0:1 / / rw - ext4 x rw\n3 1 0:2 / {place.path.resolve()}/pg_wal rw - ext4 y rw\n")
    monkeypatch.setattr(facts, "MOUNTS", table)
    system = change.seen_and_judged(place)[0].system
    copied(used.data, used.folder / "side-pitr")
    for attempt in (
        lambda: change.room(place, Wanted(aside=ASIDE)),
        lambda: change.require_swap(place, "side-pitr"),
    ):
        with pytest.raises(Refused, match=r"pg_wal below .* is a file system of its own"):
            attempt()
    assert change.room(place, Wanted(successor=Successor(system, 2))).in_place
    (used.data / "global/pg_control").unlink()
    assert change.room(place, Wanted()).judged.answer is Answer.UNFINISHED


def test_a_file_system_that_is_not_mounted_is_no_empty_directory(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = folder / "fstab"
    others = "# a comment\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n"
    table.write_text(f"{others}UUID=3 {place.path} xfs x 0 0\n")
    monkeypatch.setattr(facts, "FSTAB", table)
    place.path.mkdir()
    for attempt in (lambda: change.room(place, Wanted()), lambda: change.clone(place, "x", "s", Ran(), 0)):
        with pytest.raises(Refused, match="declared in /etc/fstab and not mounted"):
            attempt()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == place.path)
    change.room(place, Wanted())


@pytest.mark.parametrize("what", ["pg_wal", "pg_tblspc/16400"])
def test_a_link_into_a_file_system_that_is_not_mounted_is_not_followed(
    place: Place, used: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    """What is restored there would lie below the mount point, and be gone when the right one is mounted."""
    (place.path / "global/pg_control").unlink()
    claimed(place, place.path)
    if what == "pg_wal":
        shutil.rmtree(place.path / what)
    (place.path / what).symlink_to(tmp_path / "disk" / "main")
    table = tmp_path / "fstab"
    table.write_text(f"UUID=1 {tmp_path}/disk ext4 defaults 0 2\n")
    monkeypatch.setattr(facts, "FSTAB", table)
    with pytest.raises(Refused, match=f"{tmp_path}/disk is declared in /etc/fstab and not mounted"):
        change.room(place, Wanted(label="LABEL"))


def test_lost_and_found_is_told_before_anything_is_touched(place: Place) -> None:
    (place.path / "lost+found").mkdir(parents=True)
    assert answer(place) is Answer.EMPTY
    with pytest.raises(Refused, match=r"lost\+found") as refused:
        change.room(place, Wanted())
    assert "rmdir" in refused.value.hint


def test_a_link_to_another_directory_stays_and_what_it_leads_to_is_moved(place: Place, used: Made) -> None:
    far = used.data.rename(used.folder / "far")
    place.path.symlink_to(far)
    room = change.room(place, Wanted(aside=ASIDE))
    assert room.aside == f"{far}{ASIDE}"
    assert place.path.is_symlink() and list(place.path.iterdir()) == []


def test_room_for_both_is_asked_for_before_anything_is_moved(place: Place, used: Made) -> None:
    with pytest.raises(Refused, match="GiB free"):
        change.room(place, Wanted(aside=ASIDE, needs=1 << 60))
    assert not place.path.with_name(f"main{ASIDE}").exists()


@pytest.mark.parametrize(("there", "why"), [("full", "something lies already"), ("foreign", "may not write")])
def test_where_the_backups_tablespaces_go_is_asked_first(place: Place, folder: Path, there: str, why: str) -> None:
    space = folder / "there"
    space.mkdir()
    if there == "full":
        (space / "somebody's").touch()
    wanted = Wanted(links=(str(space),))
    place = Place(place.path, place.programs, user=space.owner() if there == "full" else "nobody", claims=place.claims)
    with pytest.raises(Refused, match=why):
        change.room(place, wanted)


def test_looking_changes_nothing(place: Place, running: Made) -> None:
    room = change.room(place, Wanted(aside=ASIDE, only_look=True))  # while it runs: it will be stopped
    assert room.aside.endswith(ASIDE)
    assert running.sql("SELECT n FROM kept", database="postgres") == [(1,)]
    assert read_claim(place.claim) is None


@pytest.mark.parametrize(("size", "end"), [(1, 6 << 20), (16, 96 << 20), (1024, 6 << 30)])
def test_how_far_the_archive_reached_is_told_in_segments_of_the_clusters_own_size(
    place: Place, used: Made, monkeypatch: pytest.MonkeyPatch, size: int, end: int
) -> None:
    """Or what a standby of a cluster with small ones received would be deleted as if the archive had it."""
    said = {"Bytes per WAL segment": str(size << 20), "Database system identifier": "7"}
    change.restore(place, Wanted(label="LABEL", aside=ASIDE, end="000000010000000000000005"), 0, Ran(used.data), 0)
    claim = read_claim(place.claim)
    assert claim is not None and claim.end == 6 << 20, "as it is with this server"
    monkeypatch.setattr(facts, "_control", lambda *_: (said, ""))
    shutil.rmtree(place.path)
    place.path.mkdir()
    change.restore(place, Wanted(label="OTHER", aside=ASIDE, end="000000010000000000000005"), 0, Ran(), 0)
    claim = read_claim(place.claim)
    assert claim is not None and claim.end == end
