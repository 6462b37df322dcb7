"""A data directory is restored, rewound, cloned and swapped by one program, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.postgresql.directory import change, facts, main
from agents.postgresql.directory.change import Place, Wanted
from agents.postgresql.directory.facts import Seen
from agents.postgresql.directory.judge import Answer, Successor, judge
from agents.postgresql.directory.moves import Refused
from tests.unit.directory_kit import ASIDE, Made, Ran, answer, copied, recorded, wal_elsewhere
from tests.unit.directory_kit import copy as copy
from tests.unit.directory_kit import folder as folder
from tests.unit.directory_kit import made as made
from tests.unit.directory_kit import place as place
from tests.unit.directory_kit import running as running
from tests.unit.directory_kit import unused as unused
from tests.unit.directory_kit import used as used
from tests.unit.postgres_server import programs

# ---- restore and rewind


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
    copied(made / "unused", folder / "main")
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


def test_what_came_to_be_used_while_it_was_cloned_is_not_deleted(running: Made, elsewhere: Place) -> None:
    """A clone takes hours; somebody who touched allow-start may have begun to write there meanwhile."""
    meanwhile = Made(elsewhere.path.parent)

    def run(command: Sequence[str | Path], lock: int) -> None:
        cloning(running)(command, lock)
        meanwhile.start()
        meanwhile.sql("CREATE TABLE new (n int)", "INSERT INTO new VALUES (7)", database="postgres")

    source = f"host=127.0.0.1 port={running.port} user=postgres"
    try:
        with pytest.raises(Refused, match="PostgreSQL runs in it"):
            change.clone(elsewhere, source, "slot", run, 0)
        assert meanwhile.sql("SELECT n FROM new", database="postgres") == [(7,)]
    finally:
        meanwhile.stop("fast")
    with pytest.raises(Refused, match="nothing is cloned over it"):
        change.clone(elsewhere, source, "slot", cloning(running), 0)


def test_a_clone_that_was_killed_while_it_was_put_in_place_is_begun_anew(
    running: Made, elsewhere: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == elsewhere.path)
    source = f"host=127.0.0.1 port={running.port} user=postgres"

    def killed(partial: Path, real: Path) -> None:
        for name in ("PG_VERSION", "backup_label", "backup_manifest"):
            (partial / name).rename(real / name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(change, "_raise_up", killed)
        change.clone(elsewhere, source, "slot", cloning(running), 0)
    change.clone(elsewhere, source, "slot", cloning(running), 0)
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
    copied(made / "side", side.data)
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


def test_another_file_system_below_is_not_emptied_with_what_is_deleted(
    pair: tuple[Place, Made], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, side = pair
    change.swap(place, "side-pitr", "S1", 2)
    gone = place.path.with_name("main.replaced-S1")
    side.data.mkdir()
    side.data.with_name("side-pitr.d").mkdir()
    mounts = tmp_path / "mountinfo"
    mounts.write_text("".join(f"1 2 0:1 / {one}/base rw - ext4 x rw\n" for one in (gone, side.data)))
    monkeypatch.setattr(facts, "MOUNTS", mounts)
    with pytest.raises(Refused, match="is a file system of its own"):
        change.drop_replaced(place, gone.name)
    with pytest.raises(Refused, match="is a file system of its own"):
        change.discard_side(side.data, side.data.with_name("side-pitr.tablespaces"), place.programs)
    assert gone.exists() and side.data.exists()


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
