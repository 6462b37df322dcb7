"""One lock and one way to write a file: who holds it, how long, and what a power cut could leave."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents.base import files
from agents.base.errors import AgentError
from agents.base.locks import FileLock, held, is_held

AGENTS = Path(__file__).resolve().parents[2] / "agents"
BUSY = AgentError("Another one is at it.", "Wait for it.")


class Busy(AgentError):  # noqa: N818 - as the agents name theirs
    exit_code = 3


def _is_free_soon(path: Path) -> bool:
    ends = time.monotonic() + 5
    while is_held(path) and time.monotonic() < ends:
        time.sleep(0.01)  # the kernel closes a child's handles a moment after its parent goes on
    return not is_held(path)


def test_a_lock_keeps_everybody_else_out_until_it_is_released(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert first.take()
    assert not second.take()
    assert is_held(tmp_path / "l")
    first.release()
    first.release()
    assert not is_held(tmp_path / "l")
    assert second.take()
    second.release()


def test_patience_waits_for_whoever_is_inside_and_no_longer(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "l")
    assert lock.take()
    began = time.monotonic()
    assert not FileLock(tmp_path / "l").take(0.3)
    assert 0.3 <= time.monotonic() - began < 3
    threading.Timer(0.2, lock.release).start()
    with held(tmp_path / "l", BUSY, patience_s=10):
        pass


def test_each_holder_is_refused_in_its_own_words_and_with_its_own_code(tmp_path: Path) -> None:
    with held(tmp_path / "l", BUSY):
        with pytest.raises(Busy, match="A backup is being taken") as refused, held(
            tmp_path / "l", Busy("A backup is being taken.", "Wait for it.")
        ):
            pass
        assert (refused.value.exit_code, refused.value.hint) == (3, "Wait for it.")
        assert is_held(tmp_path / "l"), "who was refused takes nothing away"
    assert not is_held(tmp_path / "l")


def test_a_child_holds_the_lock_for_as_long_as_it_lives_if_it_was_given_the_handle(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with held(tmp_path / "l", BUSY) as handle:
        heir = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(handle,))
    assert is_held(tmp_path / "l")
    heir.communicate(b"")
    assert not is_held(tmp_path / "l")


def test_a_stranger_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """It is closed on exec: a daemon that a job starts must not hold the job's lock for ever."""
    with held(tmp_path / "l", BUSY):
        stranger = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
        )
    assert _is_free_soon(tmp_path / "l")
    stranger.communicate(b"")


def test_a_lock_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be used: No such file") as refused:
        FileLock(tmp_path / "none" / "l").take()
    assert refused.value.hint
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AgentError, match="cannot be used"):
        FileLock(tmp_path / "link").take()
    assert not (tmp_path / "elsewhere").exists(), "no link is followed: some locks lie where everybody may write"
    assert not is_held(tmp_path / "none" / "l")


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.replace(path, "old")
    files.replace(path, "new", mode=0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_and_no_half_of_the_new(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.replace(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.replace(path, "new\udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    files.new(tmp_path / "a", "1")
    with pytest.raises(FileExistsError):
        files.new(tmp_path / "a", "2")


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the disk, and which names change, in order."""
    seen: list[str] = []
    real_sync, real_rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(f"sync {_named(fd)}"), real_sync(fd))[1])
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, lambda a, b: (seen.append(f"name {Path(b).name}"), real_rename(a, b))[1])
    return seen


def _named(handle: int) -> str:
    return Path(f"/proc/self/fd/{handle}").readlink().name.partition(".new")[0]


def test_contents_reach_the_disk_before_the_name_and_the_folder_after_it(tmp_path: Path, order: list[str]) -> None:
    files.replace(tmp_path / "a", "1")
    assert order == [f"sync .a.{os.getpid()}", "name a", f"sync {tmp_path.name}"]


def test_a_finished_folder_is_synced_on_both_sides_of_its_name(tmp_path: Path, order: list[str]) -> None:
    (tmp_path / "partial").mkdir()
    files.publish(tmp_path / "partial", tmp_path / "done")
    assert order == ["sync partial", "name done", f"sync {tmp_path.name}"]


def test_a_line_is_appended_and_the_folder_of_a_new_file_is_synced(tmp_path: Path, order: list[str]) -> None:
    files.append(tmp_path / "a.jsonl", "1")
    files.append(tmp_path / "a.jsonl", "2")
    assert (tmp_path / "a.jsonl").read_text() == "1\n2\n"
    assert order == ["sync a.jsonl", f"sync {tmp_path.name}", "sync a.jsonl"]


def test_a_torn_line_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"torn')
    files.append(path, "2")
    assert path.read_text() == '{"torn\n2\n'


def test_no_agent_locks_or_replaces_a_file_in_a_way_of_its_own() -> None:
    found = {}
    for path in sorted(AGENTS.rglob("*.py")):
        text = path.read_text()
        locks = any(word in text for word in ("fcntl.flock", "fcntl.lockf", "LOCK_EX", "SETLK"))
        if locks or "O_DIRECTORY" in text:
            found[path.relative_to(AGENTS).as_posix()] = locks
    # The handle of a spool's segment, written to anyway, is held shared: no lock beside it could outlive the file.
    assert found == {"base/files.py": False, "base/locks.py": True, "monitor/spool.py": True}


def test_a_file_has_its_name_until_it_is_removed_replaced_or_its_folder_is(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_text("first")
    link = tmp_path / "link"
    link.symlink_to(path)
    with path.open() as opened:
        is_ = os.fstat(opened.fileno())
        assert files.is_named(is_, path)
        assert files.is_named(is_, link)
        assert not files.is_named(is_, link, follow_symlinks=False)
        files.replace(path, "second")
        assert not files.is_named(is_, path)
        path.unlink()
        assert not files.is_named(is_, path)
        path.parent.rmdir()
        assert not files.is_named(is_, path)
        path.parent.touch()
        assert not files.is_named(is_, path)


def test_only_one_function_asks_whether_a_file_still_has_its_name() -> None:
    asking = {path.relative_to(AGENTS).as_posix() for path in AGENTS.rglob("*.py") if "samestat(" in path.read_text()}
    assert asking == {"base/files.py"}
