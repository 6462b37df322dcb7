"""One procedure at a time per estate."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, Refused, TargetFailed, Unreachable
from runbooks.engine import lock
from runbooks.engine.lock import LockLost, Owner, break_local, held, lock_path, takeover, this_process


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))


def owner(run_dir: str = "/runs/1", *, resumes: bool = False, **changes: Any) -> Owner:
    return this_process("failover", Path(run_dir), resumes=resumes).model_copy(update=changes)


def silent(_sentence: str) -> None:
    pass


class Remote:
    """A lock on a backup host that behaves as told."""

    taken = False

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    def acquire(self, owner: Owner) -> None:
        self.calls.append(f"acquire {owner.procedure}")
        if self.error:
            raise self.error

    def heartbeat(self, owner: Owner) -> None:
        self.calls.append("heartbeat")
        if self.error or owner.procedure == "rejoin":
            raise Unreachable("backup1 does not answer")

    def release(self, owner: Owner) -> None:
        self.calls.append("release")


def test_a_live_lock_refuses_with_owner_procedure_and_age() -> None:
    since = datetime.now(UTC) - timedelta(minutes=7)
    with held("toy", owner(since=since), silent):
        with pytest.raises(Refused) as refusal, held("toy", owner("/runs/2"), silent):
            pass
        assert owner().owner in str(refusal.value)
        assert "failover" in str(refusal.value)
        assert "7 min" in str(refusal.value)
        assert "/runs/1" in refusal.value.hint
        assert lock_path("toy").exists(), "the refused one must not remove the lock"


def test_even_a_resume_of_the_same_run_waits_for_a_live_owner() -> None:
    with (
        held("toy", owner(), silent),
        pytest.raises(Refused),
        held("toy", owner(resumes=True), silent),
    ):
        pass


def test_the_lock_of_a_dead_process_is_taken_over_and_it_is_said() -> None:
    pid = os.fork()
    if pid == 0:
        lock = held("toy", owner(), silent)  # kept: a forgotten one would let go
        lock.__enter__()
        os._exit(9)
    os.waitpid(pid, 0)
    heard: list[str] = []
    with held("toy", owner("/runs/2"), heard.append) as locks:
        assert locks.owner.pid == os.getpid()
    assert f"its process {pid} died" in heard[0]


def test_a_process_that_is_dead_but_not_yet_reaped_does_not_hold() -> None:
    pid = os.fork()
    if pid == 0:
        lock = held("toy", owner(), silent)  # kept: a forgotten one would let go
        lock.__enter__()
        os._exit(9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    heard: list[str] = []
    with held("toy", owner("/runs/2"), heard.append):
        assert f"its process {pid} died" in heard[0]
    os.waitpid(pid, 0)


def test_another_process_under_the_same_pid_does_not_hold() -> None:
    assert "died" in takeover(owner(process_started="1"), owner())


@pytest.mark.parametrize("changes", [{"boot": "another boot"}, {"pid_space": "pid:[1]"}, {"machine": "another"}])
def test_a_process_that_cannot_be_asked_is_not_called_dead(changes: dict[str, Any]) -> None:
    """Another machine of this name, a clone, a container beside this one: the process table here says nothing of it."""
    with pytest.raises(Refused, match=r"lock\.break|has been running"):
        takeover(owner(process_started="1", **changes), owner())


def test_an_owner_on_another_machine_is_believed_alive() -> None:
    elsewhere = owner(owner="ann@elsewhere", boot="theirs", pid=2**22 + 1, process_started="7")
    with pytest.raises(Refused, match="ann@elsewhere"):
        takeover(elsewhere, owner())


def test_a_resume_of_the_same_run_follows_it_after_a_boot_of_its_machine() -> None:
    before = owner(boot="the boot before")
    assert "taken over" in takeover(before, owner(resumes=True))
    for newcomer in (owner(), owner("/runs/2", resumes=True)):
        with pytest.raises(Refused):
            takeover(before, newcomer)
    with pytest.raises(Refused):
        takeover(owner(machine="another", boot="theirs"), owner(resumes=True))


def test_the_lock_is_gone_after_the_run_and_two_estates_do_not_meet() -> None:
    with held("toy", owner(), silent), held("a/../b", owner(), silent):
        assert lock_path("a/../b").parent == lock_path("toy").parent
    assert not lock_path("toy").exists()


def test_a_lock_taken_over_meanwhile_is_not_removed() -> None:
    with held("toy", owner(), silent):
        lock_path("toy").write_text(owner(pid=1).model_dump_json())
    assert lock_path("toy").exists()


def test_a_lock_that_cannot_be_read_is_a_refusal() -> None:
    lock_path("toy").parent.mkdir(parents=True)
    lock_path("toy").write_text("{")
    with pytest.raises(Refused, match="cannot be read"), held("toy", owner(), silent):
        pass


def test_a_state_folder_that_cannot_be_written_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", "/proc/nowhere")
    with pytest.raises(BadInput, match="cannot take the lock"), held("toy", owner(), silent):
        pass


def test_the_remote_lock_is_held_too() -> None:
    remote = Remote()
    with held("toy", owner(), silent, remote) as locks:
        locks.require()
        assert remote.calls == ["acquire failover"]
    assert remote.calls == ["acquire failover", "release"]


@pytest.mark.parametrize("error", [Unreachable("backup1 does not answer"), TargetFailed("disk full")])
def test_a_remote_lock_that_fails_is_a_warning_only_and_is_released_all_the_same(error: Exception) -> None:
    """It may have been taken, and the answer lost."""
    heard: list[str] = []
    remote = Remote(error)
    with held("toy", owner(), heard.append, remote) as locks:
        locks.require()
        assert "WARNING" in heard[0]
    assert remote.calls == ["acquire failover", "release"]


def test_a_remote_refusal_refuses_before_anything_is_changed_and_releases_nobodys() -> None:
    remote = Remote(Refused("ann is at it"))
    with held("toy", owner(), silent, remote) as locks, pytest.raises(Refused, match="ann"):
        locks.require()
    assert remote.calls == ["acquire failover"]
    assert not lock_path("toy").exists()


def test_a_step_that_only_observes_does_not_wait_for_the_remote_lock() -> None:
    class Slow(Remote):
        def acquire(self, owner: Owner) -> None:
            assert go_on.wait(10)
            super().acquire(owner)

    go_on, remote = threading.Event(), Slow()
    with held("toy", owner(), silent, remote) as locks:
        locks.require(observes=True)
        assert remote.calls == []
        go_on.set()
        locks.require()
        assert remote.calls == ["acquire failover"]


def test_a_heartbeat_is_written_here_and_there() -> None:
    remote = Remote()
    with held("toy", owner(), silent, remote) as locks:
        locks.require()
        locks.owner = owner(heartbeat=datetime.now(UTC) - timedelta(minutes=1), token=locks.owner.token)
        locks.beat()
        assert "heartbeat" in remote.calls
        written = Owner.model_validate_json(lock_path("toy").read_bytes())
    assert datetime.now(UTC) - written.heartbeat < timedelta(seconds=30)


class Broken(Remote):
    """A lock that somebody breaks on the backup host; `answers` is when a sign of life hears of it."""

    broken = False

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    def heartbeat(self, owner: Owner) -> None:
        assert self.answers.wait(10)
        super().heartbeat(owner)
        if self.broken:
            raise LockLost("the lock of this run was broken: ann acts now")


def test_a_lock_that_was_broken_a_moment_ago_stops_the_very_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the one after the next sign of life, ten seconds on."""
    monkeypatch.setattr(lock, "_SURE_S", 0.0)
    remote = Broken()
    with held("toy", owner(), silent, remote) as locks:
        locks.require()
        remote.broken = True
        locks.require(observes=True)
        with pytest.raises(LockLost, match="ann acts now") as lost:
            locks.require()
    assert "lock.status" in lost.value.hint and "--resume" in lost.value.hint


def test_no_step_asks_for_a_lock_that_was_seen_held_just_now() -> None:
    remote = Remote()
    with held("toy", owner(), silent, remote) as locks:
        for _ in range(3):
            locks.require()
        assert "heartbeat" not in remote.calls


def test_a_backup_host_that_hangs_holds_up_one_step_for_a_second_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "_SURE_S", 0.0)
    monkeypatch.setattr(lock, "_ANSWER_S", 0.2)
    remote = Broken()
    with held("toy", owner(), silent, remote) as locks:
        locks.require()
        remote.answers.clear()
        began = time.monotonic()
        for _ in range(50):
            locks.require()
        assert 0.2 <= time.monotonic() - began < 2
        remote.answers.set()


def test_a_remote_that_stops_answering_is_said_once() -> None:
    remote = Remote()
    heard: list[str] = []
    with held("toy", owner(), heard.append, remote) as locks:
        locks.require()
        locks.owner = locks.owner.model_copy(update={"procedure": "rejoin"})
        for _ in range(2):
            locks.beat()
        locks.require()
    assert remote.calls.count("heartbeat") == 2 and len(heard) == 1


def test_a_local_lock_that_was_broken_ends_the_run_before_its_next_step() -> None:
    with held("toy", owner(), silent) as locks:
        assert break_local("toy", "another token") is False
        assert break_local("toy", locks.owner.token) is True
        with pytest.raises(LockLost, match="was broken"):
            locks.require(observes=True)
