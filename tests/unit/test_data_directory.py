"""One program judges a data directory by its files and deletes, fills or moves it; real clusters lie in it here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.postgresql.directory import change, facts, main, moves
from agents.postgresql.directory.change import Place, Wanted
from agents.postgresql.directory.facts import Seen
from agents.postgresql.directory.judge import Answer, Claim, Successor, judge, read_claim, write_claim
from agents.postgresql.directory.moves import Refused
from tests.unit.postgres_server import Server, folder_for_server, programs

ASIDE = ".replaced-20260101T000000Z"


class Made(Server):
    """A server whose data directory is called as the main cluster's is."""

    def __init__(self, folder: Path, name: str = "main") -> None:
        super().__init__(folder)
        self.data = folder / name

    def start(self) -> None:
        """Its files are a copy's own from now on."""
        own = self.data.with_name(f"{self.data.name}.own")
        subprocess.run(["cp", "-a", self.data, own], check=True)
        shutil.rmtree(self.data)
        own.rename(self.data)
        super().start()

    def initdb(self, *more: str) -> None:
        words = ("-A", "trust", "-U", "postgres", "-N", "--locale=C.UTF-8", "--wal-segsize=1", *more)
        self._run("initdb", "-D", self.data, *words)

    def copied(self, name: str, *more: str) -> Made:
        """As a restore brings it: whole, never started, a standby."""
        copy = Made(self.folder, name)
        source = f"host=127.0.0.1 port={self.port} user=postgres"
        self._run("pg_basebackup", "-d", source, "-D", copy.data, "-R", "-c", "fast", *more)
        return copy

    def where(self) -> tuple[int, int]:
        """Its timeline, and where its WAL ends."""
        rows = self.sql("select timeline_id from pg_control_checkpoint()", database="postgres")
        lsn = self.sql("select pg_current_wal_insert_lsn()", database="postgres")
        return int(str(rows[0][0])), facts.position(str(lsn[0][0]))


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Directories to be copied: `unused` as initdb leaves it, `used` with a table and a row, `copy` a backup of it, and
    `side` the same promoted; all of them down.
    """
    with folder_for_server() as folder:
        Made(folder, "unused").initdb()
        server = Made(folder, "used")
        _copy(folder / "unused", server.data)
        server.start()
        try:
            server.sql("CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)", "CHECKPOINT", database="postgres")
            server.copied("copy")
        finally:
            server.stop("fast")
        side = Made(folder, "side")
        _copy(folder / "copy", side.data)
        side.start()
        side.promote()
        side.sql("CHECKPOINT", database="postgres")
        side.stop("fast")
        yield folder


def _copy(source: Path, target: Path) -> None:
    """By links, but for the files that tests write into."""
    subprocess.run(["cp", "-al", source, target], check=True)
    for name in ("global/pg_control", "postgresql.auto.conf"):
        subprocess.run(["cp", "-a", "--remove-destination", source / name, target / name], check=True)


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    with folder_for_server() as one:
        yield one


@pytest.fixture
def place(folder: Path) -> Place:
    notes = folder / "notes"
    return Place(folder / "main", programs(), claims=notes, record=notes / "estate.json", patience_s=0)


@pytest.fixture
def unused(folder: Path, made: Path) -> Made:
    server = Made(folder)
    _copy(made / "unused", server.data)
    return server


@pytest.fixture
def used(folder: Path, made: Path) -> Iterator[Made]:
    """A primary that has a table with a row, down."""
    server = Made(folder)
    _copy(made / "used", server.data)
    yield server
    server.stop()


@pytest.fixture
def running(used: Made) -> Made:
    used.start()
    return used


@pytest.fixture
def copy(used: Made, made: Path) -> Path:
    """A backup of the primary, as a restore brings it, beside it."""
    _copy(made / "copy", used.folder / "copy")
    return used.folder / "copy"


def answer(place: Place) -> Answer:
    return change.seen_and_judged(place)[1].answer


def claimed(place: Place, path: Path, timeline: int = 0, end: int = 0, system: str = "") -> None:
    write_claim(place.claim, Claim(str(place.path), path.stat().st_ino, "LABEL", system, timeline, end))


def everything(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*")}


def recorded(place: Place, **said: object) -> None:
    place.record.parent.mkdir(exist_ok=True)
    place.record.write_text(json.dumps({"record": said}))


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


def test_a_restore_that_replays_is_ours_as_long_as_it_has_nothing_that_the_archive_lacks(
    place: Place, running: Made, copy: Path
) -> None:
    there = Place(copy, place.programs, claims=place.claims, record=place.record)
    standby = Made(copy.parent, copy.name)
    with (copy / "postgresql.auto.conf").open("a") as auto:
        auto.write(f"primary_conninfo = 'host=127.0.0.1 port={running.port} user=postgres'\n")
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


def test_a_control_file_that_cannot_be_read_is_no_restore_of_ours(place: Place, used: Made) -> None:
    claimed(place, used.data, 9, 1 << 40)
    (used.data / "global/pg_control").write_bytes(b"x" * 8192)
    assert answer(place) is Answer.OTHER
    (used.data / "global/pg_control").write_bytes(b"")
    assert answer(place) is Answer.OTHER


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


def wal_elsewhere(server: Made) -> Path:
    """Its pg_wal, moved to where a link leads."""
    wal = server.folder / "wal"
    (server.data / "pg_wal").rename(wal)
    (server.data / "pg_wal").symlink_to(wal)
    return wal


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
    _copy(used.data, used.folder / "side-pitr")
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


# ---- restore and rewind


class Ran:
    """What would have been run; as a restore it leaves `files` of the place."""

    def __init__(self, left: Path | None = None, fails: str = "") -> None:
        self.commands: list[list[str]] = []
        self._left, self._fails = left, fails

    def __call__(self, command: Sequence[str | Path], lock: int) -> None:
        self.commands.append([str(word) for word in command])
        if self._left is not None:
            shutil.copytree(self._left, self.commands[-1][2].partition("=")[2], dirs_exist_ok=True, symlinks=True)
        if self._fails:
            raise AgentError(self._fails)


def test_a_restore_is_gone_on_with_and_once_whole_not_begun_again(place: Place, copy: Path) -> None:
    with (copy / "postgresql.auto.conf").open("a") as auto:
        auto.write("restore_command = 'x'\nrecovery_target_timeline = '1'\nwork_mem = '8MB'\n")
    wanted = Wanted(label="LABEL", aside=ASIDE)
    cut = Ran(fails="pgbackrest ended with 49")
    with pytest.raises(AgentError, match="49"):
        change.restore(place, wanted, 2, cut, 0)
    (place.path / "PG_VERSION").write_text("15\n")
    assert answer(place) is Answer.UNFINISHED
    run = Ran(copy)
    change.restore(place, Wanted(label="LABEL"), 2, run, 0)
    assert run.commands[0][:5] == ["pgbackrest", "--stanza=main", f"--pg1-path={place.path}", "--set=LABEL", "--delta"]
    auto_conf = (place.path / "postgresql.auto.conf").read_text()
    assert "work_mem" in auto_conf and "restore_command" not in auto_conf and "recovery_target" not in auto_conf
    again = Ran()
    change.restore(place, Wanted(label="LABEL"), 2, again, 0)
    assert again.commands == []
    change.restore(place, Wanted(label="OTHER"), 2, again, 0)
    assert again.commands != []


def test_pg_wal_stays_where_the_host_has_it(place: Place, unused: Made) -> None:
    wal = wal_elsewhere(unused)
    run = Ran()
    change.restore(place, Wanted(), 0, run, 0)
    assert f"--link-map=pg_wal={wal}" in run.commands[0]
    assert (place.path / "pg_wal").is_symlink() and wal.is_dir()


def test_an_older_copy_of_what_lives_on_is_rebuilt_in_place(place: Place, used: Made) -> None:
    system = change.seen_and_judged(place)[0].system
    lives = Wanted(successor=Successor(system, 2), host="pg1")
    room = change.room(place, lives)
    assert room.in_place and (place.path / "PG_VERSION").exists()
    run = Ran()
    change.rewind(place, lives, "host=x", Path("/etc/p.conf"), run, 0)
    assert run.commands[0][1:3] == ["-D", str(place.path)]


@pytest.mark.parametrize("told", ["other system", "same timeline", "record"])
def test_what_may_be_newer_than_what_lives_on_is_not_rebuilt_in_place(place: Place, used: Made, told: str) -> None:
    system = change.seen_and_judged(place)[0].system
    lives = Successor("1" if told == "other system" else system, 1 if told == "same timeline" else 2)
    if told == "record":
        recorded(place, system_identifier=system, primary="pg1", timeline=2)
    wanted = Wanted(successor=lives, host="pg1")
    with pytest.raises(Refused):
        change.room(place, wanted)
    with pytest.raises(Refused, match="nothing to work from"):
        change.rewind(place, wanted, "x", place.path, Ran(), 0)


# ---- clone


def cloning(server: Made) -> change.Run:
    def run(command: Sequence[str | Path], lock: int) -> None:
        words = [word for word in map(str, command) if word not in ("-S", "slot")]
        server._run(Path(words[0]).name, *words[1:])

    return run


@pytest.fixture
def elsewhere(used: Made, made: Path) -> Place:
    """Where a clone of the primary is to come, on the same machine: nobody has used what is there."""
    folder = used.folder / "host2"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    _copy(made / "unused", folder / "main")
    return Place(folder / "main", programs(), claims=folder / "notes", record=folder / "none")


def test_a_clone_takes_the_place_of_what_nobody_used(running: Made, elsewhere: Place) -> None:
    (elsewhere.path.with_name("main.clone")).mkdir()  # of one that was killed
    change.clone(elsewhere, f"host=127.0.0.1 port={running.port} user=postgres", "slot", cloning(running), 0)
    assert (elsewhere.path / "standby.signal").exists()
    assert not elsewhere.path.with_name("main.clone").exists()
    assert change.look(elsewhere.path, elsewhere.programs).system == change.look(running.data, programs()).system


def test_a_mount_point_is_cloned_into_and_nothing_starts_before_it_is_whole(
    running: Made, elsewhere: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == elsewhere.path)
    inode, source = elsewhere.path.stat().st_ino, f"host=127.0.0.1 port={running.port} user=postgres"
    raising = change._raise_up

    def killed(partial: Path, real: Path) -> None:
        (partial / "PG_VERSION").rename(real / "PG_VERSION")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(change, "_raise_up", killed)
        change.clone(elsewhere, source, "slot", cloning(running), 0)
    assert answer(elsewhere) is Answer.UNFINISHED
    assert not (elsewhere.path / "global").exists()
    assert change._raise_up is raising
    change.clone(elsewhere, source, "slot", cloning(running), 0)
    assert elsewhere.path.stat().st_ino == inode
    assert (elsewhere.path / "global/pg_control").exists() and not (elsewhere.path / ".clone").exists()


def test_nothing_is_cloned_over_data(place: Place, used: Made) -> None:
    run = Ran()
    with pytest.raises(Refused, match="nothing is cloned over it"):
        change.clone(place, "x", "slot", run, 0)
    assert run.commands == []


def test_a_clone_that_somebody_started_is_no_leftover(elsewhere: Place, copy: Path) -> None:
    partial = copy.rename(elsewhere.path.with_name("main.clone"))
    (partial / "backup_label").unlink()
    with pytest.raises(Refused, match="no broken-off clone"):
        change.clone(elsewhere, "x", "slot", Ran(), 0)
    assert (partial / "PG_VERSION").exists()


# ---- swap


@pytest.fixture
def pair(place: Place, used: Made, made: Path) -> tuple[Place, Made]:
    """The main cluster, down, and beside it a side cluster that was promoted, down."""
    side = Made(used.folder, "side-pitr")
    _copy(made / "side", side.data)
    return place, side


def test_a_side_cluster_takes_the_place_and_gives_it_back(pair: tuple[Place, Made]) -> None:
    place, _ = pair
    kept = change.swap(place, "side-pitr", "S1", 2)
    assert change.look(place.path, place.programs).timeline == 2
    assert change.look(Path(kept), place.programs).timeline == 1
    assert change.swap(place, "side-pitr", "S1", 2) == kept, "a repetition finds it done"
    assert change.put_back(place, "side-pitr", "S1")
    assert change.look(place.path, place.programs).timeline == 1
    assert not change.put_back(place, "side-pitr", "S1")


def test_a_swap_that_was_killed_between_its_renames_goes_on(pair: tuple[Place, Made]) -> None:
    place, _ = pair
    place.path.rename(place.path.with_name("main.replaced-S1"))
    change.swap(place, "side-pitr", "S1", 2)
    assert change.look(place.path, place.programs).timeline == 2
    change.put_back(place, "side-pitr", "S1")
    place.path.rename(place.path.with_name("main.replaced-S1"))
    change.put_back(place, "side-pitr", "S1")
    assert change.look(place.path, place.programs).timeline == 1


def test_a_side_cluster_of_another_timeline_is_not_put_into_the_place(pair: tuple[Place, Made]) -> None:
    place, _ = pair
    with pytest.raises(Refused, match="not the one that was promoted"):
        change.swap(place, "side-pitr", "S1", 3)
    assert change.look(place.path, place.programs).timeline == 1


def test_tablespaces_links_and_mounts_refuse_a_swap_before_anything_is_stopped(
    pair: tuple[Place, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, side = pair
    change.require_swap(place, "side-pitr")
    space = side.data / "pg_tblspc/16999"
    space.symlink_to("/somewhere")
    with pytest.raises(Refused, match="tablespaces in /somewhere"):
        change.require_swap(place, "side-pitr")
    space.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "ismount", lambda path: Path(path) == place.path)
        with pytest.raises(Refused, match="not on one file system"):
            change.require_swap(place, "side-pitr")
    (place.path / "pg_wal").rename(place.path.with_name("wal"))
    (place.path / "pg_wal").symlink_to(place.path.with_name("wal"))
    with pytest.raises(Refused, match="symbolic link"):
        change.require_swap(place, "side-pitr")


def test_what_an_undone_swap_left_is_moved_aside_and_never_deleted(pair: tuple[Place, Made]) -> None:
    place, side = pair
    with pytest.raises(Refused, match="no side cluster left") as refused:
        change.left_over(place, "side-pitr", "")
    assert "--replace" in refused.value.hint
    away = change.left_over(place, "side-pitr", ".replaced-S2")
    assert Path(away, "PG_VERSION").exists()
    assert change.left_over(place, "side-pitr", "") == ""
    side.data.with_name("side-other.d").mkdir()
    side.data.with_name("side-other").mkdir()
    assert change.left_over(place, "side-other", "") == "", "a side cluster's own program removes it"


def test_only_what_was_put_aside_is_dropped(pair: tuple[Place, Made]) -> None:
    place, _ = pair
    change.swap(place, "side-pitr", "S1", 2)
    for name in ("main", "../main", "side-pitr", "main.replaced-", "main.replaced-a/../../main"):
        with pytest.raises(Refused):
            change.drop_replaced(place, name)
    change.drop_replaced(place, "main.replaced-S1")
    assert not place.path.with_name("main.replaced-S1").exists()
    assert place.path.exists()


def test_only_a_side_cluster_with_its_folder_is_discarded(pair: tuple[Place, Made]) -> None:
    place, side = pair
    for path in (place.path, side.data):
        with pytest.raises(Refused, match="no side cluster's directory"):
            change.discard_side(path, path.with_name("x"), place.programs)
    side.data.with_name("side-pitr.d").mkdir()
    change.discard_side(side.data, side.data.with_name("side-pitr.tablespaces"), place.programs)
    assert not side.data.exists() and place.path.exists()
    change.discard_side(side.data, side.data.with_name("side-pitr.tablespaces"), place.programs)


# ---- the program


def test_a_second_one_does_not_begin_while_what_the_first_started_lives(place: Place, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with change.only_one(place, lock=lock) as handle:
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=(handle,))
    try:
        with pytest.raises(AgentError, match="has not ended"), change.only_one(place, lock=lock):
            pass
    finally:
        orphan.kill()
        orphan.wait()
    with change.only_one(place, lock=lock):
        pass


@pytest.mark.parametrize(
    "argv",
    [[], ["look"], ["erase", "{}"], ["look", "{"], ["look", "[]"], ["look", "{}"], ["look", '{"version": "17"}'],
     ["look", '{"version": 17, "path": "/"}'], ["room", '{"version": true}']],
)  # fmt: skip
def test_a_bad_request_ends_with_2_and_touches_nothing(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(argv) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_looking_answers_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(Path("/d/main"), Path("/d/main"), inode=7, names=("PG_VERSION",), control={})
    monkeypatch.setattr(change, "seen_and_judged", lambda _: (seen, judge(seen, None)))
    assert main.main(["look", '{"version": 17}']) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "other"
